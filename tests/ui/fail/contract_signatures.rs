use almanet::{Context, service};

#[service(prepth = "net.example")]
pub trait Greeter {
    type Name;

    #[procedure]
    async fn itself(&self, other: Self::Name) -> Result<Vec<Self::Name>, std::io::Error>;

    #[procedure]
    async fn by_value(self, name: &str);

    #[procedure]
    async fn by_mutable_reference(&mut self);

    #[procedure]
    fn not_async(&self) -> String;

    #[procedure(timout = "5s")]
    async fn context(&self, name: String, context: Context);
}

fn main() {}
