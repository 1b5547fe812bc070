use almanet::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
struct Missing;

#[derive(Serialize, Deserialize, Event)]
#[event(topic = "net.example/joined")]
struct Slash;

#[derive(Serialize, Deserialize, Event)]
#[event(topc = "net.example.joined")]
struct Misspelt;

#[derive(Serialize, Deserialize, Event)]
#[event(topic = "net.example.a_topic_name_that_is_very_much_longer_than_all_that_nsq_allows")]
struct Long;

#[derive(Serialize, Deserialize, Event)]
#[event("net.example.joined")]
struct NoName;

#[derive(Serialize, Deserialize, Event)]
#[event(topic = "net.example.generic")]
struct Generic<T>(T);

fn main() {}
