//! An nsqlookupd that lists what a test tells it.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

pub(crate) struct Lookupd {
    pub(crate) address: String,
    lists: watch::Sender<Vec<String>>,
    /// How often it was asked.
    asked: watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

impl Lookupd {
    pub(crate) async fn listing(nodes: impl IntoIterator<Item = String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (lists, listed) = watch::channel(nodes.into_iter().collect::<Vec<_>>());
        let (ask, asked) = watch::channel(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let nodes: Vec<String> = listed.borrow().clone();
                ask.send_modify(|asked| *asked += 1);
                // A client that went away needs no answer.
                let _ = answer(stream, &nodes).await;
            }
        });
        Self {
            address,
            lists,
            asked,
            _tasks: tasks,
        }
    }

    pub(crate) fn lists(&self, nodes: impl IntoIterator<Item = String>) {
        self.lists.send_replace(nodes.into_iter().collect());
    }

    pub(crate) fn asked(&self) -> usize {
        *self.asked.borrow()
    }

    /// Waits until it was asked so many times more.
    pub(crate) async fn is_asked(&self, times: usize) {
        let mut asked = self.asked.clone();
        let enough = self.asked() + times;
        asked.wait_for(|asked| *asked >= enough).await.unwrap();
    }
}

async fn answer(mut stream: TcpStream, nodes: &[String]) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let producers = nodes.iter().map(|node| {
        let (host, port) = node.rsplit_once(':').unwrap();
        format!(r#"{{"broadcast_address":"{host}","tcp_port":{port}}}"#)
    });
    let text = format!(r#"{{"producers":[{}]}}"#, producers.collect::<Vec<_>>().join(","));
    let length = text.len();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}");
    stream.write_all(answer.as_bytes()).await
}
