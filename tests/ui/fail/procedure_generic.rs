use almanet::procedure;

#[procedure(uri = "net.example.greet")]
async fn greet<T: ToString>(name: T) -> String {
    name.to_string()
}

#[procedure(uri = "net.example.hello")]
async fn hello(name: impl ToString) -> String {
    name.to_string()
}

fn main() {}
