use std::borrow::Cow;

use almanet::procedure;

#[procedure(uri = "net.example.greet")]
async fn greet(name: &str, titles: &[String]) -> String {
    format!("{} {name}", titles.join(" "))
}

#[procedure(uri = "net.example.hello")]
async fn hello(name: Cow<'_, str>) -> Vec<&'static str> {
    vec![if name.is_empty() { "nobody" } else { "somebody" }]
}

fn main() {}
