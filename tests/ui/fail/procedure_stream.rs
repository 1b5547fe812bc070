use almanet::procedure;

trait Stream {}

impl Stream for () {}

#[procedure(uri = "net.example.numbers")]
async fn numbers() -> impl Stream {}

fn main() {}
