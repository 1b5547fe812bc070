use almanet::service;

#[service(prepath = "net.example")]
pub trait Generic<T> {
    #[procedure]
    async fn greet(&self, name: String);
}

#[service(prepath = "net.example")]
pub unsafe trait Unsafe {
    #[procedure]
    async fn greet(&self, name: String);
}

#[service(prepath = "net.example", client = "Same")]
pub trait Same {
    #[procedure]
    async fn greet(&self, name: String);
}

#[service(prepath = "net.example")]
pub trait Added {
    #[procedure]
    async fn greet(&self, name: String);

    fn into_service(self);
}

#[service(prepath = "net.example")]
pub trait Empty {
    async fn greet(&self, name: String);
}

fn main() {}
