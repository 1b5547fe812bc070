use almanet::procedure;

#[procedure(uri = "net.example.greet", timout = "5s", retries = 3)]
async fn greet() {}

fn main() {
    // The procedure is there all the same, so that one mistake gives one message.
    let _ = greet::procedure();
}
