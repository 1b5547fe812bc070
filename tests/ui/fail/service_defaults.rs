use almanet::service;

#[service(prepath = "net.example", uri = "net.example.greet", name = "greet", timout = "5s", version = 2)]
mod not_for_all {
    #[procedure]
    pub async fn greet() {}
}

#[service(prepath = "net.example", topic = "net.example.joined", retry = "1s", max_attempts = 5)]
mod of_consumers {
    #[procedure]
    pub async fn greet() {}
}

#[service(
    prepath = "net.example",
    timeout = 5,
    concurrency = 0,
    queue = "many",
    channel = "a channel",
    tags(1),
    hidden("yes"),
    idempotent = "yes"
)]
mod wrong {
    // What is wrong is said once, and not of each procedure.
    #[procedure]
    pub async fn greet() {}

    #[procedure]
    pub async fn leave() {}
}

#[service(prepath = "net.example", channel = "shared", broadcast)]
mod exclusive {
    #[procedure]
    pub async fn greet() {}
}

#[service(timeout = "5s", concurrency = 8)]
mod without_procedures {
    #[consumer(topic = "net.example.joined", channel = "mailer")]
    pub async fn joined(_name: String) {}
}

#[service(prepath = "net.example")]
trait Contract {
    #[procedure]
    async fn greet(&self);

    #[consumer(topic = "net.example.joined", channel = "mailer")]
    async fn joined(&self, name: String);
}

fn main() {}
