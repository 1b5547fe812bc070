//! An nsqlookupd that says what a test tells it, on a real socket.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use crate::peer::soon;

/// What it says to whoever asks.
#[derive(Debug, Clone)]
pub(crate) enum Says {
    /// These nodes, each `host:port`.
    Nodes(Vec<String>),
    /// A whole answer, with this status.
    Text(&'static str, String),
    /// These nodes, after this time.
    Late(Duration, Vec<String>),
    /// The beginning of an answer at once, and the rest a byte at a time for longer than anybody waits.
    Dribble,
    /// A list of nodes without an end.
    Endless,
    /// Nothing, but the connection stays open.
    Nothing,
    /// Nothing, and the connection is closed.
    HangUp,
    /// What is no HTTP.
    Noise,
}

pub(crate) struct Lookupd {
    pub(crate) address: String,
    says: watch::Sender<Says>,
    /// The paths that were asked for, in order.
    asked: watch::Receiver<Vec<String>>,
    hung_up: watch::Receiver<bool>,
    _tasks: JoinSet<()>,
}

impl Lookupd {
    pub(crate) async fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (says, said) = watch::channel(says);
        let (ask, asked) = watch::channel(Vec::new());
        let (hang_up, hung_up) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                open.spawn(answer(stream, said.clone(), ask.clone(), hang_up.clone()));
            }
        });
        Self {
            address,
            says,
            asked,
            hung_up,
            _tasks: tasks,
        }
    }

    pub(crate) async fn listing<'a>(nodes: impl IntoIterator<Item = &'a str>) -> Self {
        Self::start(nodes_of(nodes)).await
    }

    pub(crate) fn says(&self, says: Says) {
        self.says.send_replace(says);
    }

    pub(crate) fn lists<'a>(&self, nodes: impl IntoIterator<Item = &'a str>) {
        self.says(nodes_of(nodes));
    }

    pub(crate) fn was_asked(&self, path: &str) -> bool {
        self.asked.borrow().iter().any(|asked| asked == path)
    }

    /// Waits until it was asked so many times more. From the second on, what it says now has had its effect.
    pub(crate) async fn is_asked(&self, times: usize) {
        let mut asked = self.asked.clone();
        let enough = asked.borrow().len() + times;
        soon(asked.wait_for(|asked| asked.len() >= enough)).await.unwrap();
    }

    /// Whether a client has lost its patience with [`Says::Nothing`].
    pub(crate) fn is_hung_up(&self) -> bool {
        *self.hung_up.borrow()
    }

    pub(crate) async fn hung_up(&self) {
        let mut hung_up = self.hung_up.clone();
        soon(hung_up.wait_for(|hung_up| *hung_up)).await.unwrap();
    }
}

fn nodes_of<'a>(nodes: impl IntoIterator<Item = &'a str>) -> Says {
    Says::Nodes(nodes.into_iter().map(str::to_owned).collect())
}

async fn answer(
    mut stream: TcpStream,
    mut said: watch::Receiver<Says>,
    ask: watch::Sender<Vec<String>>,
    hang_up: watch::Sender<bool>,
) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut request).await, Ok(1..)) {
            return;
        }
    }
    let path = String::from_utf8_lossy(&request)
        .split(' ')
        .nth(1)
        .unwrap()
        .to_owned();
    let says = said.borrow_and_update().clone();
    ask.send_modify(|asked| asked.push(path));
    // Whether the client still hears it is the client's affair.
    let _ = match says {
        Says::Nodes(nodes) => respond(&mut stream, "200 OK", &producers(&nodes)).await,
        Says::Text(status, text) => respond(&mut stream, status, &text).await,
        Says::Late(time, nodes) => {
            sleep(time).await;
            respond(&mut stream, "200 OK", &producers(&nodes)).await
        }
        Says::Dribble => dribble(&mut stream).await,
        Says::Endless => endless(&mut stream).await,
        Says::Noise => stream.write_all(b"\0\0\0\x0a\0\0\0\x01NO HTTP").await,
        Says::HangUp => Ok(()),
        Says::Nothing => {
            tokio::select! {
                _ = said.changed() => {}
                _ = stream.read_u8() => { hang_up.send_replace(true); }
            }
            Ok(())
        }
    };
}

async fn respond(stream: &mut TcpStream, status: &str, text: &str) -> std::io::Result<()> {
    let length = text.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{text}");
    stream.write_all(head.as_bytes()).await
}

async fn dribble(stream: &mut TcpStream) -> std::io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{\"producers\":[";
    stream.write_all(head.as_bytes()).await?;
    loop {
        stream.write_all(b" ").await?;
        sleep(Duration::from_millis(10)).await;
    }
}

async fn endless(stream: &mut TcpStream) -> std::io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ne\r\n{\"producers\":[\r\n";
    stream.write_all(head.as_bytes()).await?;
    let entry = format!("{},", producer("127.0.0.1:1"));
    let chunk = format!("{:x}\r\n{entry}\r\n", entry.len());
    loop {
        stream.write_all(chunk.as_bytes()).await?;
    }
}

fn producers(nodes: &[String]) -> String {
    let entries: Vec<String> = nodes.iter().map(|node| producer(node)).collect();
    format!(r#"{{"channels":[],"producers":[{}]}}"#, entries.join(","))
}

fn producer(node: &str) -> String {
    let (host, port) = node.rsplit_once(':').unwrap();
    format!(
        r#"{{"remote_address":"{host}:1","hostname":"h","broadcast_address":"{host}","tcp_port":{port},"http_port":4151,"version":"1.3.0"}}"#
    )
}
