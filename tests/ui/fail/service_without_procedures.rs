use almanet::service;

#[service(prepath = "net.example")]
mod greetings {
    pub async fn greet() {}
}

struct Greeter;

#[service(prepath = "net.example")]
impl Greeter {}

fn main() {}
