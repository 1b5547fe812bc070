use almanet::procedure;

type Fallible<T> = Result<T, String>;

#[procedure(uri = "net.example.halve")]
async fn halve(number: u8) -> Fallible<u8> {
    if number % 2 == 0 { Ok(number / 2) } else { Err("odd".to_owned()) }
}

fn main() {}
