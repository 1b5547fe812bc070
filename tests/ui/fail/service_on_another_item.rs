use almanet::service;

#[service(prepath = "net.example")]
async fn greet() {}

/// Greets.
#[service(prepath = "net.example")]
#[derive(Clone)]
pub struct Greeter;

#[service(prepath = "net.example")]
const GREETING: &str = "Hello";

fn main() {}
