use almanet::{EventContext, consumer, service};

#[consumer(topic = "net.example.joined")]
async fn no_channel(_name: String) {}

#[consumer(chanel = "mailer", topic = "net.example.joined")]
async fn misspelt(_name: String) {}

#[consumer(channel = "mailer", topic = "net.example.joined", broadcast)]
async fn both(_name: String) {}

#[consumer(channel = "mailer", topic = "net.example.joined", pattern = "orders *", retry = "5m..1s", max_attempts = 70000)]
async fn options(_name: String) {}

#[consumer(channel = "mailer", topic = "net.example.joined")]
fn not_async(_name: &str) {}

#[consumer(channel = "mailer", topic = "net.example.joined")]
async fn no_event(_context: EventContext) {}

#[consumer(channel = "mailer", topic = "net.example.joined")]
async fn two_events(_name: String, _age: u8) {}

#[consumer(channel = "mailer", topic = "net.example.joined")]
async fn late_context(_name: String, _context: &EventContext) {}

#[consumer(channel = "mailer")]
struct NoFunction;

struct Mailer;

#[service]
impl Mailer {
    #[consumer(channel = "mailer", topic = "net.example.joined")]
    async fn exclusive(&mut self, _name: String) {}
}

fn main() {}
