//! An nsqlookupd that is a script.

use std::{collections::BTreeSet, io, net::SocketAddr};

use almanet_broker::BrokerConfig;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::support::PATIENCE;

/// An nsqlookupd that waits for the broker.
pub(crate) struct Lookupd {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Lookupd {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    pub(crate) fn config(&self) -> BrokerConfig {
        BrokerConfig::default().lookupd_tcp_address(self.address.to_string())
    }

    /// The next connection of the broker, on which the magic was sent.
    pub(crate) async fn accept(&self) -> Registrant {
        let accepted = timeout(PATIENCE, self.listener.accept()).await;
        let (stream, _) = accepted.expect("the broker does not connect").unwrap();
        let mut stream = BufReader::new(stream);
        let mut magic = [0; 4];
        stream.read_exact(&mut magic).await.unwrap();
        assert_eq!(&magic, b"  V1");
        Registrant { stream }
    }

    /// The next connection, identified.
    pub(crate) async fn accept_identified(&self) -> Registrant {
        let mut registrant = self.accept().await;
        registrant.identify().await;
        registrant
    }
}

/// The broker, as nsqlookupd sees it.
pub(crate) struct Registrant {
    pub(crate) stream: BufReader<TcpStream>,
}

impl Registrant {
    pub(crate) async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.stream.read_line(&mut line)).await;
        match read.expect("no command comes") {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end_matches('\n').to_owned()),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                None
            }
        }
    }

    pub(crate) async fn answer(&mut self, answer: &[u8]) {
        let size = i32::try_from(answer.len()).unwrap();
        let frame = [&size.to_be_bytes(), answer].concat();
        self.stream.write_all(&frame).await.unwrap();
    }

    pub(crate) async fn identify(&mut self) -> Value {
        // Nobody listens there.
        self.identify_with_http(1).await
    }

    pub(crate) async fn identify_with_http(&mut self, http_port: u16) -> Value {
        assert_eq!(self.line().await.unwrap(), "IDENTIFY");
        let size = self.stream.read_u32().await.unwrap();
        let mut body = vec![0; size as usize];
        self.stream.read_exact(&mut body).await.unwrap();
        let info = json!({"tcp_port": 4160, "http_port": http_port, "version": "1.3.0", "hostname": "h",
            "broadcast_address": "127.0.0.1"});
        self.answer(info.to_string().as_bytes()).await;
        serde_json::from_slice(&body).unwrap()
    }

    /// The next command, confirmed.
    pub(crate) async fn command(&mut self) -> String {
        let line = self.line().await.expect("the broker closed the connection");
        self.answer(b"OK").await;
        line
    }

    pub(crate) async fn commands(&mut self, count: usize) -> BTreeSet<String> {
        let mut commands = BTreeSet::new();
        for _ in 0..count {
            commands.insert(self.command().await);
        }
        commands
    }
}

/// What is registered, in any order.
pub(crate) fn set<const N: usize>(lines: [&str; N]) -> BTreeSet<String> {
    lines.map(str::to_owned).into()
}
