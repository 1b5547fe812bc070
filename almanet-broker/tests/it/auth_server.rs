//! An auth server as nsqd asks it, whose answers the test gives.

use std::sync::Arc;

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::{Mutex, mpsc},
    task::JoinSet,
};

/// The server; it ends with this handle.
pub(crate) struct AuthServer {
    pub(crate) address: String,
    answer: Arc<Mutex<(u16, String)>>,
    questions: mpsc::UnboundedReceiver<String>,
    _task: JoinSet<()>,
}

impl AuthServer {
    pub(crate) async fn start(status: u16, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer = Arc::new(Mutex::new((status, body.to_owned())));
        let (asked, questions) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        let answers = Arc::clone(&answer);
        task.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = BufReader::new(stream);
                let mut first = String::new();
                stream.read_line(&mut first).await.unwrap();
                let mut line = String::new();
                while stream.read_line(&mut line).await.unwrap() > 2 {
                    line.clear();
                }
                asked.send(first.trim().to_owned()).unwrap();
                let (status, body) = answers.lock().await.clone();
                let head = format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(&[head, body].concat().into_bytes()).await;
            }
        });
        Self {
            address,
            answer,
            questions,
            _task: task,
        }
    }

    /// What it says from now on.
    pub(crate) async fn say(&self, status: u16, body: &str) {
        *self.answer.lock().await = (status, body.to_owned());
    }

    /// The first line of the next request.
    pub(crate) async fn question(&mut self) -> String {
        self.questions.recv().await.unwrap()
    }

    /// Whether it was not asked again.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.questions.try_recv().is_err()
    }
}
