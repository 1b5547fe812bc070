use almanet::procedure;

#[procedure(uri = "net.example.add")]
async fn add((left, right): (u8, u8)) -> u8 {
    left + right
}

#[procedure(uri = "net.example.forget")]
async fn forget(_: String) {}

fn main() {}
