use almanet::service;

#[service(prepath = "net.example")]
mod greetings {
    #[procedure(concurrency = 0)]
    pub async fn none() {}

    #[procedure(concurrency = -1)]
    pub async fn negative() {}

    #[procedure(concurrency = 1.5)]
    pub async fn fraction() {}
}

fn main() {}
