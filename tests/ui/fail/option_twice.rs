use almanet::procedure;

#[procedure(uri = "net.example.greet", hidden, uri = "net.example.hello", hidden)]
async fn greet() {}

fn main() {}
