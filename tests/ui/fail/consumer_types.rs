use almanet::consumer;

#[derive(serde::Deserialize)]
struct NoEvent;

#[consumer(channel = "mailer")]
async fn no_topic(_event: NoEvent) {}

#[consumer(channel = "mailer", topic = "net.example.joined")]
async fn returns_a_value(_name: String) -> u32 {
    7
}

fn main() {}
