use almanet::procedure;

#[procedure(name = "hello")]
async fn greet() {}

fn main() {}
