//! An nsqlookupd that lists what a test tells it.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

/// Longer than anybody here waits before it asks again.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Lookupd {
    pub(crate) address: String,
    script: watch::Sender<Script>,
    /// What it was asked for, in order.
    asked: watch::Receiver<Vec<String>>,
    _tasks: JoinSet<()>,
}

/// What it says.
#[derive(Clone, Default)]
struct Script {
    nodes: Vec<String>,
    topics: Vec<String>,
    manner: Manner,
}

/// How it answers a question.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Manner {
    #[default]
    Answers,
    HangsUp,
    /// It keeps the connection, and says nothing.
    IsSilent,
}

impl Lookupd {
    pub(crate) async fn listing(nodes: impl IntoIterator<Item = String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (script, read) = watch::channel(Script {
            nodes: nodes.into_iter().collect(),
            ..Script::default()
        });
        let (ask, asked) = watch::channel(Vec::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut kept = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                // A client that went away needs no answer.
                let Ok(path) = question(&mut stream).await else {
                    continue;
                };
                let script: Script = read.borrow().clone();
                ask.send_modify(|asked| asked.push(path.clone()));
                match script.manner {
                    Manner::Answers => {
                        let _ = stream.write_all(script.answer(&path).as_bytes()).await;
                    }
                    Manner::HangsUp => {}
                    Manner::IsSilent => kept.push(stream),
                }
            }
        });
        Self {
            address,
            script,
            asked,
            _tasks: tasks,
        }
    }

    pub(crate) fn lists(&self, nodes: impl IntoIterator<Item = String>) {
        let nodes = nodes.into_iter().collect();
        self.script.send_modify(|script| script.nodes = nodes);
    }

    pub(crate) fn lists_topics(&self, topics: impl IntoIterator<Item = impl Into<String>>) {
        let topics = topics.into_iter().map(Into::into).collect();
        self.script.send_modify(|script| script.topics = topics);
    }

    pub(crate) fn behaves(&self, manner: Manner) {
        self.script.send_modify(|script| script.manner = manner);
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.borrow().len()
    }

    /// Waits until it was asked so many times more.
    pub(crate) async fn is_asked(&self, times: usize) {
        self.counts(times, |_| true).await;
    }

    /// Waits until it was asked for this path so many times more.
    pub(crate) async fn is_asked_for(&self, path: &str, times: usize) {
        self.counts(times, |asked| asked == path).await;
    }

    async fn counts(&self, more: usize, is_meant: impl Fn(&str) -> bool) {
        let count = |asked: &Vec<String>| asked.iter().filter(|path| is_meant(path)).count();
        let mut asked = self.asked.clone();
        let enough = count(&asked.borrow()) + more;
        let waiting = asked.wait_for(|asked| count(asked) >= enough);
        timeout(PATIENCE, waiting)
            .await
            .expect("it is not asked")
            .unwrap();
    }
}

/// The path of a request.
async fn question(stream: &mut TcpStream) -> io::Result<String> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.strip_prefix("GET ").and_then(|rest| rest.split_once(' '));
    Ok(path.expect("it is only ever read").0.to_owned())
}

impl Script {
    /// As nsqlookupd answers.
    fn answer(&self, path: &str) -> String {
        let body = match path {
            "/nodes" => {
                let producers = self.nodes.iter().map(|node| {
                    let (host, port) = node.rsplit_once(':').unwrap();
                    let port: u16 = port.parse().unwrap();
                    serde_json::json!({ "broadcast_address": host, "tcp_port": port })
                });
                serde_json::json!({ "producers": producers.collect::<Vec<_>>() })
            }
            "/topics" => serde_json::json!({ "topics": self.topics }),
            _ => serde_json::json!({ "message": "NOT_FOUND" }),
        };
        let status = match path {
            "/nodes" | "/topics" => "200 OK",
            _ => "404 Not Found",
        };
        let body = body.to_string();
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    }
}
