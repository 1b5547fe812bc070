use almanet::service;

#[service(prepath = "net.example")]
mod greetings {
    #[procedure(queue = 0)]
    pub async fn none_waits() {}

    #[procedure(queue = -1)]
    pub async fn negative() {}

    #[procedure(queue = "16")]
    pub async fn in_quotes() {}

    #[procedure(queue_time = 500ms)]
    pub async fn without_quotes() {}

    #[procedure(queue_time = "0s")]
    pub async fn no_time() {}

    #[procedure(remember = "for ever")]
    pub async fn unknown_unit() {}
}

fn main() {}
