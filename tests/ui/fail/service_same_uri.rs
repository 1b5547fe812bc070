use almanet::service;

#[service(prepath = "net.example")]
mod greetings {
    #[procedure]
    pub async fn greet() {}

    #[procedure(name = "greet")]
    pub async fn hello() {}

    #[procedure(uri = "net.example.greet")]
    pub async fn hey() {}
}

fn main() {}
