use almanet::service;

#[service(prepth = "net.example", client = "Not a name", client = "Again")]
mod greetings {
    #[procedure(uri = "net.example.greet")]
    pub async fn greet() {}
}

#[service(prepath = "net.example.")]
mod farewells {
    #[procedure]
    pub async fn goodbye() {}
}

fn main() {}
