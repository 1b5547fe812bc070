use almanet::procedure;

#[procedure(uri = "net.example.greet", tags("one", 2, ""))]
async fn greet() {}

#[procedure(uri = "net.example.hello", tags)]
async fn hello() {}

fn main() {}
