use almanet::service;

trait Greet {
    async fn greet(&self);
}

struct Greeter;

#[service(prepath = "net.example")]
impl Greet for Greeter {
    #[procedure]
    async fn greet(&self) {}
}

fn main() {}
