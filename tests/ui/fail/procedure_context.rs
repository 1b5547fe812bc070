use almanet::{Context, procedure};

#[procedure(uri = "net.example.greet")]
async fn greet(name: String, context: Context) -> String {
    format!("{name} {}", context.attempt())
}

#[procedure(uri = "net.example.hello")]
async fn hello(context: &mut Context) -> u16 {
    context.attempt()
}

fn main() {}
