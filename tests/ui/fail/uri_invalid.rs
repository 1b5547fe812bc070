use almanet::procedure;

#[procedure(uri = "net.example.say-hello")]
async fn hyphen() {}

#[procedure(uri = "net..greet")]
async fn empty_segment() {}

#[procedure(uri = "net.2nd.greet")]
async fn digit() {}

#[procedure(uri = "_reply_.greet")]
async fn reserved() {}

#[procedure(uri = "net.example.a_uri_that_is_longer_than_all_that_nsq_can_carry")]
async fn long() {}

fn main() {}
