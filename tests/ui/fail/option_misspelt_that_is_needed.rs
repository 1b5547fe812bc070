use almanet::{procedure, service};

#[procedure(url = "net.example.greet")]
async fn greet() {}

#[service(prefix = "net.example")]
mod greetings {
    #[procedure]
    pub async fn hello() {}
}

fn main() {
    let _ = greetings::service().procedure(greet::procedure());
}
