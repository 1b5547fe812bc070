use almanet::procedure;

#[procedure(uri = "net.example.greet")]
async unsafe extern "C" fn greet() {}

fn main() {}
