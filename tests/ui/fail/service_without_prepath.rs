use almanet::service;

#[service]
mod greetings {
    #[procedure(uri = "net.example.greet")]
    pub async fn greet() {}

    #[procedure]
    pub async fn hello() {}

    #[procedure]
    pub async fn goodbye() {}
}

fn main() {}
