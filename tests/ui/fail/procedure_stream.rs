use almanet::procedure;

trait Stream {
    type Item;
}

struct Texts;

impl Stream for Texts {
    type Item = &'static str;
}

#[procedure(uri = "net.example.nothing")]
async fn nothing() -> impl Stream {
    Texts
}

#[procedure(uri = "net.example.borrowed")]
async fn borrowed() -> impl Stream<Item = &'static str> {
    Texts
}

#[procedure(uri = "net.example.several")]
async fn several() -> Vec<impl Stream<Item = &'static str>> {
    vec![Texts]
}

#[procedure(uri = "net.example.option")]
async fn perhaps() -> Result<Option<impl Stream<Item = &'static str>>, std::convert::Infallible> {
    Ok(Some(Texts))
}

fn main() {}
