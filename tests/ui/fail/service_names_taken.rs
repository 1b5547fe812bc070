use almanet::service;

#[service(prepath = "net.example")]
mod greetings {
    pub struct Client;

    #[procedure]
    pub async fn service() {}
}

#[service(prepath = "net.example", client = "Caller")]
mod farewells {
    use std::string::String as Caller;

    #[procedure]
    pub async fn new(name: Caller) -> Caller {
        name
    }
}

struct Greeter;

#[service(prepath = "net.example")]
impl Greeter {
    #[procedure]
    pub async fn greet(&self) {}

    pub fn into_service(self) {}
}

fn main() {}
