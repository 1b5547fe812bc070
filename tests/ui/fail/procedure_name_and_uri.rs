use almanet::service;

#[service(prepath = "net.example")]
mod greetings {
    #[procedure(name = "hello", uri = "net.example.hello")]
    pub async fn greet() {}
}

fn main() {}
