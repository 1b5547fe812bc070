use almanet::procedure;

#[procedure(uri = "net.example.greet" timeout = "5s")]
async fn greet() {}

#[procedure("net.example.hello")]
async fn hello() {}

fn main() {}
