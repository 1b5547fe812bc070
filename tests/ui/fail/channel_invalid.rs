use almanet::service;

#[service(prepath = "net.example")]
mod greetings {
    #[procedure(channel = "two words")]
    pub async fn greet() {}

    #[procedure(channel = "")]
    pub async fn hello() {}

    #[procedure(channel = "a_channel_name_that_is_much_longer_than_all_that_nsq_allows#ephemeral")]
    pub async fn goodbye() {}
}

fn main() {}
