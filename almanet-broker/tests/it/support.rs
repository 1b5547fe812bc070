//! A broker to test and a client that speaks in bytes.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use almanet_broker::{Broker, BrokerConfig};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::packing::Packing;

/// Longer than anything takes that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The broker under test.
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) http_addr: SocketAddr,
    broker: Option<Broker>,
}

impl Target {
    /// The nsqd that the environment names, or an embedded broker.
    pub(crate) async fn start() -> Self {
        match std::env::var("ALMANET_TEST_NSQD") {
            Ok(address) => {
                let addr: SocketAddr = address.parse().expect("ALMANET_TEST_NSQD is not host:port");
                let http = std::env::var("ALMANET_TEST_NSQD_HTTP")
                    .map(|address| address.parse().expect("ALMANET_TEST_NSQD_HTTP is not host:port"));
                Self {
                    addr,
                    http_addr: http.unwrap_or(SocketAddr::new(addr.ip(), addr.port() + 1)),
                    broker: None,
                }
            }
            Err(_) => Self::embedded(BrokerConfig::default()).await,
        }
    }

    /// An embedded broker, for what nsqd does not do.
    pub(crate) async fn embedded(config: BrokerConfig) -> Self {
        let config = config.http_address(([127, 0, 0, 1], 0).into());
        Self::of(Broker::start(config).await.unwrap())
    }

    /// A broker that was started otherwise.
    pub(crate) fn of(broker: Broker) -> Self {
        Self {
            addr: broker.tcp_addr(),
            // Whoever starts a broker without HTTP does not ask.
            http_addr: broker.http_addr().unwrap_or(broker.tcp_addr()),
            broker: Some(broker),
        }
    }

    pub(crate) fn is_embedded(&self) -> bool {
        self.broker.is_some()
    }

    pub(crate) async fn stop(self) {
        if let Some(broker) = self.broker {
            broker.stop().await.unwrap();
        }
    }

    /// A connection on which the magic has been sent.
    pub(crate) async fn client(&self) -> Client {
        let mut client = self.silent_client().await;
        client.send(b"  V2").await;
        client
    }

    /// A connection on which nothing has been sent.
    pub(crate) async fn silent_client(&self) -> Client {
        Client {
            stream: TcpStream::connect(self.addr).await.unwrap(),
            packing: None,
        }
    }

    /// A client that is subscribed and ready for `ready` messages.
    pub(crate) async fn subscriber(&self, topic: &str, channel: &str, ready: u32) -> Client {
        let mut client = self.client().await;
        client.send(format!("SUB {topic} {channel}\n").as_bytes()).await;
        client.expect_response("OK").await;
        client.send(format!("RDY {ready}\n").as_bytes()).await;
        client
    }
}

/// Waits until something is so that nothing announces.
pub(crate) async fn eventually(mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async { while !is_so().await {} };
    timeout(PATIENCE, wait).await.expect("it never came to be");
}

/// A topic that no other test uses.
pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{name}_{}_{number}", std::process::id())
}

/// A message as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) timestamp: i64,
    pub(crate) attempts: u16,
    pub(crate) id: String,
    pub(crate) body: Vec<u8>,
}

/// A client that knows frames, and nothing else.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: S,
    pub(crate) packing: Option<Packing>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let bytes = match &mut self.packing {
            Some(packing) => packing.pack(bytes),
            None => bytes.to_vec(),
        };
        self.stream.write_all(&bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    async fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        match &mut self.packing {
            Some(packing) => packing.read_exact(&mut self.stream, bytes).await,
            None => self.stream.read_exact(bytes).await.map(|_| ()),
        }
    }

    /// Sends PUB and waits for its OK.
    pub(crate) async fn publish(&mut self, topic: &str, body: &[u8]) {
        self.send(&publish(topic, body)).await;
        self.expect_response("OK").await;
    }

    /// The next frame, as its type and data.
    pub(crate) async fn frame(&mut self) -> (i32, Vec<u8>) {
        timeout(PATIENCE, self.read_frame())
            .await
            .expect("no frame came")
            .expect("the connection ended instead of a frame")
    }

    async fn read_frame(&mut self) -> io::Result<(i32, Vec<u8>)> {
        let mut head = [[0; 4]; 2];
        self.read_exact(head.as_flattened_mut()).await?;
        let [size, kind] = head.map(i32::from_be_bytes);
        let mut data = vec![0; usize::try_from(size).unwrap() - 4];
        self.read_exact(&mut data).await?;
        Ok((kind, data))
    }

    pub(crate) async fn expect_response(&mut self, text: &str) {
        self.expect_frame(0, text).await;
    }

    /// Expects a refusal after which the connection goes on.
    pub(crate) async fn expect_error(&mut self, text: &str) {
        self.expect_frame(1, text).await;
    }

    /// Expects a refusal and the end of the connection.
    pub(crate) async fn expect_fatal(&mut self, text: &str) {
        self.expect_error(text).await;
        self.expect_close().await;
    }

    async fn expect_frame(&mut self, kind: i32, text: &str) {
        let (got_kind, data) = self.frame().await;
        let got = String::from_utf8_lossy(&data[..data.len().min(300)]).into_owned();
        assert_eq!((got_kind, got.as_str()), (kind, text));
    }

    pub(crate) async fn expect_close(&mut self) {
        let mut byte = [0];
        match timeout(PATIENCE, self.read_exact(&mut byte))
            .await
            .expect("the connection stays open")
        {
            Ok(()) => panic!("a byte {byte:?} came instead of the end"),
            // nsqd closes without reading what is left, which resets the connection.
            Err(error) => assert!(matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
            )),
        }
    }

    /// Waits for a heartbeat (`true`) or the end (`false`).
    pub(crate) async fn ends_or_beats(&mut self) -> bool {
        match timeout(PATIENCE, self.read_frame()).await.expect("no frame came") {
            Ok(frame) => {
                assert_eq!(frame, (0, b"_heartbeat_".to_vec()));
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) async fn message(&mut self) -> Delivered {
        let (kind, data) = self.frame().await;
        assert_eq!(kind, 2, "no message: {}", data.escape_ascii());
        Delivered {
            timestamp: i64::from_be_bytes(data[..8].try_into().unwrap()),
            attempts: u16::from_be_bytes(data[8..10].try_into().unwrap()),
            id: String::from_utf8(data[10..26].to_vec()).unwrap(),
            body: data[26..].to_vec(),
        }
    }

    /// Makes a round trip, in which nothing else may come.
    pub(crate) async fn expect_quiet(&mut self) {
        self.send(&publish("quiet", b"?")).await;
        self.expect_response("OK").await;
    }
}

pub(crate) fn publish(topic: &str, body: &[u8]) -> Vec<u8> {
    [format!("PUB {topic}\n").as_bytes(), &sized(body)].concat()
}

pub(crate) fn publish_deferred(topic: &str, millis: u64, body: &[u8]) -> Vec<u8> {
    [format!("DPUB {topic} {millis}\n").as_bytes(), &sized(body)].concat()
}

pub(crate) fn publish_many(topic: &str, bodies: &[&[u8]]) -> Vec<u8> {
    let mut all = i32::try_from(bodies.len()).unwrap().to_be_bytes().to_vec();
    for body in bodies {
        all.extend(sized(body));
    }
    [format!("MPUB {topic}\n").as_bytes(), &sized(&all)].concat()
}

pub(crate) fn identify(json: &str) -> Vec<u8> {
    [b"IDENTIFY\n", &sized(json.as_bytes())[..]].concat()
}

/// The body behind its size.
pub(crate) fn sized(body: &[u8]) -> Vec<u8> {
    [&i32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}
