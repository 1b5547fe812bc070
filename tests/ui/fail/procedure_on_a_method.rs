use almanet::procedure;

struct Greeter;

impl Greeter {
    #[procedure(uri = "net.example.greet")]
    async fn greet(&self) {}
}

fn main() {
    let _ = Greeter.greet();
}
