//! An auth server as nsqd asks it (`--auth-http-address`), whose answers the test gives.

use std::sync::Arc;

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// The server; it ends with this handle.
#[derive(Debug)]
pub struct AuthServer {
    address: String,
    answer: Arc<watch::Sender<String>>,
    _task: JoinSet<()>,
}

impl AuthServer {
    /// Starts one that answers every question with `answer`, a JSON object.
    pub async fn start(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens").to_string();
        let answer = Arc::new(watch::Sender::new(answer.to_owned()));
        let answers = Arc::clone(&answer);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answers.borrow().clone();
                // Whoever leaves before the answer asks again.
                let _ = answer_one(stream, &answer).await;
            }
        });
        Self {
            address,
            answer,
            _task: task,
        }
    }

    /// Where it listens, as `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it answers from now on.
    pub fn say(&self, answer: &str) {
        self.answer.send_replace(answer.to_owned());
    }
}

async fn answer_one(stream: TcpStream, answer: &str) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    // The head ends with an empty line.
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let length = answer.len();
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(answer.as_bytes()).await
}
