//! A peer that answers one HTTP request.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// Listens on a free port; also gives the address.
pub(super) async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

/// Reads the next request and answers with this status and this body.
pub(super) async fn answer(listener: &TcpListener, status: &str, body: &[u8]) {
    let (mut stream, _) = listener.accept().await.expect("a question");
    let mut question = Vec::new();
    while !question.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut question).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let answer = [head.as_bytes(), body].concat();
    let _ = stream.write_all(&answer).await;
}

/// Status and body: a good answer or an error by the first byte.
pub(super) fn status_and_body(data: &[u8]) -> Option<(&'static str, &[u8])> {
    match data.split_first()? {
        (0..=127, body) => Some(("200 OK", body)),
        (_, body) => Some(("404 Not Found", body)),
    }
}
