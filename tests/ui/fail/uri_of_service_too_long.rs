use almanet::service;

#[service(prepath = "net.example.a_rather_long_prepath_of_a_service")]
mod greetings {
    #[procedure]
    pub async fn short() {}

    #[procedure]
    pub async fn a_much_longer_name() {}

    #[procedure(name = "another_long_name")]
    pub async fn another() {}
}

fn main() {}
