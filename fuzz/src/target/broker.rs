//! What clients send to a broker that runs, over TCP and over HTTP.

use std::net::SocketAddr;

use almanet_broker::{Broker, BrokerConfig};
use almanet_nsq_proto::{Frame, FrameDecoder, MAGIC_V2};
use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{command_seeds, runtime::run};

const BIT_MAGIC: u8 = 1;
const BIT_PIECES: u8 = 2;

/// The bytes of a client, behind one that says how they are sent: they are answered with frames, and the connection
/// ends when the client has said all. Others are served meanwhile, and the broker stops as it should.
pub fn broker(data: &[u8]) {
    let Some((how, data)) = data.split_first() else {
        return;
    };
    let magic = if how & BIT_MAGIC == 0 { &MAGIC_V2[..] } else { &[] };
    let wire = [magic, data].concat();
    let piece = if how & BIT_PIECES == 0 { usize::MAX } else { 7 };
    served(async |broker| {
        let answer = exchange(broker.tcp_addr(), &wire, piece).await;
        expect_frames(&answer);
    });
}

/// The bytes of an HTTP client: they are answered, or the connection ends, and others are served meanwhile.
pub fn http(data: &[u8]) {
    served(async |broker| {
        let address = broker.http_addr().expect("it was asked for");
        let answer = exchange(address, data, usize::MAX).await;
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1."),
            "no answer of HTTP: {}",
            answer.escape_ascii()
        );
    });
}

/// Starts a broker, lets somebody speak to it, and looks whether it is well.
fn served(speak: impl AsyncFnOnce(&Broker)) {
    run(async {
        let config = BrokerConfig::default()
            .http_address(([127, 0, 0, 1], 0).into())
            .max_message_size(1024)
            .max_body_size(4096)
            .max_memory(1 << 20);
        let broker = Broker::start(config).await.expect("a broker");
        speak(&broker).await;
        expect_service(broker.tcp_addr()).await;
        broker.stop().await.expect("it stops");
    });
}

/// Sends all, ends, and gives what came until the broker ended too.
async fn exchange(address: SocketAddr, wire: &[u8], piece: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let (mut reader, mut writer) = stream.split();
    let writing = async {
        for piece in wire.chunks(piece) {
            // A broker that has heard enough closes.
            if writer.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        let _ = writer.shutdown().await;
    };
    let mut answer = Vec::new();
    let ((), _) = tokio::join!(writing, reader.read_to_end(&mut answer));
    answer
}

/// Another client publishes and consumes.
async fn expect_service(address: SocketAddr) {
    let wire = [
        &MAGIC_V2[..],
        b"PUB well\n\0\0\0\x05alive",
        b"SUB well c\nRDY 1\n",
    ]
    .concat();
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(&wire).await.expect("it reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"alive") {
        let count = stream.read_buf(&mut answer).await.expect("it writes");
        assert!(count > 0, "no message: {}", answer.escape_ascii());
    }
}

/// All of it are frames, up to where the two have agreed on compression.
fn expect_frames(answer: &[u8]) {
    let mut buffer = BytesMut::from(answer);
    let mut decoder = FrameDecoder::new(1 << 20);
    loop {
        match decoder.decode(&mut buffer) {
            Ok(Some(Frame::Response(body))) => {
                let text = String::from_utf8_lossy(&body);
                if text.contains("\"snappy\":true") || text.contains("\"deflate\":true") {
                    return;
                }
            }
            Ok(Some(_)) => {}
            // A client that does not read to the end may lose the end of the last frame, never its beginning.
            Ok(None) => return,
            Err(error) => panic!("no frame: {error}: {}", answer.escape_ascii()),
        }
    }
}

pub(crate) fn broker_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = command_seeds()
        .into_iter()
        .map(|commands| [&[0], &commands[..]].concat())
        .collect();
    let identify = |json: &str| {
        let size = u32::try_from(json.len()).unwrap_or_default().to_be_bytes();
        [b"IDENTIFY\n", &size[..], json.as_bytes()].concat()
    };
    for json in [
        r#"{"feature_negotiation":true,"snappy":true}"#,
        r#"{"feature_negotiation":true,"deflate":true,"deflate_level":3}"#,
        r#"{"heartbeat_interval":1000,"msg_timeout":1000,"sample_rate":50,"output_buffer_size":-1}"#,
    ] {
        seeds.push([&[0], &identify(json)[..], b"NOP\n"].concat());
    }
    seeds.push(
        [
            &[BIT_PIECES][..],
            b"MPUB t\n\0\0\0\x0e\0\0\0\x02\0\0\0\x01a\0\0\0\x01b",
            b"SUB t c\nRDY 2\nPUB t\n\0\0\0\x01cDPUB t 1\n\0\0\0\x01dCLS\n",
        ]
        .concat(),
    );
    seeds.push([&[BIT_MAGIC][..], b"GET / HTTP/1.1\r\n\r\n"].concat());
    seeds
}

pub(crate) fn http_seeds() -> Vec<Vec<u8>> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes();
    let post = |path: &str, body: &str| {
        let length = body.len();
        format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
    };
    vec![
        get("/ping"),
        get("/info"),
        get("/stats?format=json&topic=t&channel=c&include_clients=false"),
        get("/metrics"),
        post("/pub?topic=t", "body"),
        post("/pub?topic=t&defer=100", "body"),
        post("/mpub?topic=t", "a\nb\n\nc"),
        post("/mpub?topic=t&binary=true", "\0\0\0\x02\0\0\0\x01a\0\0\0\x01b"),
        [
            post("/topic/create?topic=t", ""),
            post("/channel/create?topic=t&channel=c", ""),
            post("/channel/pause?topic=t&channel=c", ""),
            post("/topic/empty?topic=t", ""),
            post("/topic/delete?topic=t", ""),
        ]
        .concat(),
        b"PUT /config/nsqlookupd_tcp_addresses HTTP/1.1\r\nHost: h\r\nContent-Length: 17\r\n\r\n[\"127.0.0.1:4160\"]".to_vec(),
        b"POST /pub?topic=t HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".to_vec(),
        b"  V2IDENTIFY\n\0\0\0\x02{}".to_vec(),
    ]
}
