use almanet::service;

struct Greeter<T>(T);

#[service(prepath = "net.example")]
impl<T: Send + Sync + 'static> Greeter<T> {
    #[procedure]
    async fn greet(&self) {}
}

struct Borrowing<'a>(&'a str);

#[service(prepath = "net.example")]
impl Borrowing<'_> {
    #[procedure]
    async fn greet(&self) {}
}

fn main() {}
