//! What `#[service]` says holds for all procedures that do not say otherwise, on each of its three forms.
#![deny(warnings)]

use almanet::service;

#[service(
    prepath = "net.example.orders",
    channel = "orders",
    timeout = "2s",
    concurrency = 8,
    queue = 16,
    queue_time = "500ms",
    remember = "10m",
    idempotent,
    tags("shop"),
    hidden
)]
mod orders {
    #[procedure]
    pub async fn count() -> u64 {
        7
    }

    #[procedure(timeout = "5s", idempotent = false, tags("money"), hidden = false, broadcast)]
    pub async fn pay() {}

    #[consumer(topic = "net.example.paid", channel = "orders", concurrency = 2)]
    pub async fn paid(_number: u64) {}
}

struct Cache;

#[service(prepath = "net.example.cache", broadcast, concurrency = 1)]
impl Cache {
    #[procedure]
    async fn forget(&self) {}

    #[procedure(channel = "one", concurrency = 4)]
    async fn size(&self) -> u64 {
        0
    }

    #[procedure(broadcast = false)]
    async fn fill(&self) {}
}

#[service(prepath = "net.example.contract", timeout = "1s", tags = ["contract"])]
trait Contract {
    #[procedure]
    async fn keep(&self);
}

struct Kept;

impl Contract for Kept {
    async fn keep(&self) {}
}

fn main() {
    let _ = (orders::service(), Cache.into_service(), Kept.into_service());
}
