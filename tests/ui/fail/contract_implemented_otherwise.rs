use almanet::service;

#[service(prepath = "net.example")]
pub trait Greeter {
    #[procedure]
    async fn greet(&self, name: String) -> String;

    #[procedure]
    async fn part(&self);
}

struct English;

impl Greeter for English {
    async fn greet(&self, name: u8) -> String {
        name.to_string()
    }
}

fn main() {}
