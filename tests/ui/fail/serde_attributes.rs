use almanet::{Context, procedure};

#[procedure(uri = "net.example.only")]
async fn only(#[serde(default)] _name: String) {}

#[procedure(uri = "net.example.context")]
async fn context(#[serde(skip)] _context: Context, _left: u8, _right: u8) {}

#[procedure(uri = "net.example.misspelt")]
async fn misspelt(#[serde(defualt)] _left: u8, #[serde(rename = "r", colour)] _right: u8) {}

fn main() {}
