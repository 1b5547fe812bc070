use almanet::procedure;

#[procedure(uri = "net.example.first", channel = "shared", broadcast)]
async fn first() {}

#[procedure(uri = "net.example.second", broadcast = "all")]
async fn second() {}

fn main() {}
