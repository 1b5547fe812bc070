use almanet::service;

struct Greeter;

#[service(prepath = "net.example")]
impl Greeter {
    #[procedure]
    async fn by_value(self) {}

    #[procedure]
    async fn by_mutable_reference(&mut self) {}

    #[procedure]
    async fn by_arc(self: std::sync::Arc<Self>) {}
}

fn main() {}
