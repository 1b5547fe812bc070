use almanet::service;

#[service(prepath = "net.example")]
mod greetings {
    #[procedure(timeout = 5s)]
    pub async fn without_quotes() {}

    #[procedure(timeout = 5)]
    pub async fn without_unit() {}

    #[procedure(timeout = "5 seconds")]
    pub async fn unknown_unit() {}

    #[procedure(timeout = "1.5s")]
    pub async fn fraction() {}

    #[procedure(timeout = "0s")]
    pub async fn zero() {}
}

fn main() {}
