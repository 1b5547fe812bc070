//! An auth server as nsqd asks it, whose answers the test gives.

use std::sync::Arc;

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::{Mutex, mpsc},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::certificates::Identity;

/// The server; it ends with this handle.
pub(crate) struct AuthServer {
    pub(crate) address: String,
    answer: Arc<Mutex<(u16, String)>>,
    questions: mpsc::UnboundedReceiver<String>,
    _task: JoinSet<()>,
}

impl AuthServer {
    pub(crate) async fn start(status: u16, body: &str) -> Self {
        Self::serve(None, status, body).await
    }

    /// One that is asked over https and shows `identity`.
    pub(crate) async fn secure(identity: &Identity, status: u16, body: &str) -> Self {
        Self::serve(Some(identity.acceptor()), status, body).await
    }

    async fn serve(tls: Option<TlsAcceptor>, status: u16, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer = Arc::new(Mutex::new((status, body.to_owned())));
        let (asked, questions) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        let answers = Arc::clone(&answer);
        task.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                match &tls {
                    None => answer_one(stream, &asked, &answers).await,
                    Some(tls) => {
                        // A client that does not believe the server says so and leaves.
                        if let Ok(stream) = tls.accept(stream).await {
                            answer_one(stream, &asked, &answers).await;
                        }
                    }
                }
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

    /// The first line of a request that has come already.
    pub(crate) fn next_question(&mut self) -> Option<String> {
        self.questions.try_recv().ok()
    }

    /// Whether it was not asked again.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.next_question().is_none()
    }
}

async fn answer_one(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    asked: &mpsc::UnboundedSender<String>,
    answers: &Mutex<(u16, String)>,
) {
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
    let _ = stream.flush().await;
}
