use almanet::{procedure, service};

#[procedure(uri = "net.example.str")]
async fn str() {}

#[service(prepath = "net.example")]
mod numbers {
    #[procedure]
    pub async fn u8(number: i64) -> Option<u8> {
        number.try_into().ok()
    }
}

struct Numbers;

#[service(prepath = "net.example.numbers")]
impl Numbers {
    #[procedure]
    async fn u8(&self, number: i64) -> Option<u8> {
        number.try_into().ok()
    }
}

fn main() {}
