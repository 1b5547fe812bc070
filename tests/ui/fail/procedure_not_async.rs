use almanet::procedure;

#[procedure(uri = "net.example.greet")]
fn greet(name: String) -> String {
    name
}

fn main() {}
