use almanet::service;

#[service(prepath = "net.example")]
mod greetings {
    #[procedure(name = "greet.people")]
    pub async fn dot() {}

    #[procedure(name = "greet-people")]
    pub async fn hyphen() {}

    #[procedure]
    pub async fn größe() {}
}

fn main() {}
