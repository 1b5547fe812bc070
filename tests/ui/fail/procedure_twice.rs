use almanet::service;

#[service(prepath = "net.example")]
mod greetings {
    #[procedure]
    #[procedure(hidden)]
    pub async fn greet() {}

    #[procedure = "greet"]
    pub async fn hello() {}
}

fn main() {}
