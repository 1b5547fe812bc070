use almanet::{Context, service};

#[service(prepath = "net.example", cleint = "Greetings")]
mod greetings {
    use super::Context;

    /// Fine, and there for those who use it.
    #[procedure]
    pub async fn fine() {}

    #[procedure(timeout = "5 s", idempotent = "no")]
    pub fn greet(name: &str, context: Context) -> String {
        format!("{name} {}", context.attempt())
    }

    #[procedure(concurency = 8, channel = "a/b")]
    pub async fn hello<T>(_: String) {}
}

fn main() {
    let _ = greetings::service().procedure(greetings::fine::procedure());
}
