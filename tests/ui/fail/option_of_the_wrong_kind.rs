use almanet::procedure;

#[procedure(
    uri = greet,
    channel("almanet"),
    timeout,
    concurrency = "8",
    idempotent = "yes",
    tags = "one",
    hidden(yes),
)]
async fn greet() {}

fn main() {}
