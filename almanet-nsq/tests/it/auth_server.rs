//! An auth server as nsqd asks it, which gives all rights for a second or none at all.

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// What is allowed, for the shortest time that can be said.
const ALL: &str = r#"{"ttl":1,"identity":"test","identity_url":"","authorizations":[
    {"permissions":["publish","subscribe"],"topic":".*","channels":[".*"]}]}"#;

pub(crate) struct AuthServer {
    pub(crate) address: String,
    allows: watch::Sender<bool>,
    /// How often it was asked.
    asked: watch::Receiver<usize>,
    _task: JoinSet<()>,
}

impl AuthServer {
    /// Starts one that knows this secret.
    pub(crate) async fn start(secret: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (allows, allowed) = watch::channel(true);
        let (ask, asked) = watch::channel(0);
        let question = format!("secret={}", secret.replace(' ', "+"));
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                ask.send_modify(|asked| *asked += 1);
                let is_allowed = *allowed.borrow();
                // Whether the broker still hears it is the broker's affair.
                let _ = answer(stream, &question, is_allowed).await;
            }
        });
        Self {
            address,
            allows,
            asked,
            _task: task,
        }
    }

    /// Whether it gives any rights from now on.
    pub(crate) fn allow(&self, allows: bool) {
        self.allows.send_replace(allows);
    }

    pub(crate) fn asked(&self) -> usize {
        *self.asked.borrow()
    }
}

async fn answer(stream: TcpStream, question: &str, is_allowed: bool) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if stream.read_line(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let is_known = request
        .split([' ', '?', '&'])
        .any(|parameter| parameter == question);
    let (status, body) = match is_known && is_allowed {
        true => ("200 OK", ALL),
        false => ("403 Forbidden", ""),
    };
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await
}
