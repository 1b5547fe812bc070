use almanet::procedure;

#[procedure(uri = "net.example.greet")]
pub struct Greet;

fn main() {}
