use almanet::procedure;

#[procedure]
async fn greet(name: String) -> String {
    name
}

fn main() {}
