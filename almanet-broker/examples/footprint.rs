//! How much memory the broker takes: a million queued messages, ten thousand topics, five thousand connections, and
//! clients that mean harm.
//!
//!     cargo run --release -p almanet-broker --example footprint
//!
//! Each row is a broker in a process of its own, on Linux; the resident set is the kernel's. The open files of a process
//! have to be allowed to be more than 5,000 (`ulimit -n 20000`).

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measurement ends with the first thing that goes wrong"
)]

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use almanet_broker::{Broker, BrokerConfig};

const MESSAGES: usize = 1_000_000;
const BODY: usize = 128;
const BATCH: usize = 1000;
const TOPICS: usize = 10_000;
const CONNECTIONS: usize = 5_000;
const ROUNDS: usize = 20_000;

fn main() {
    if env::args().nth(1).as_deref() == Some("broker") {
        return serve(env::args().nth(2));
    }
    println!("{:<46} {:>9} {:>9}", "", "MiB", "peak MiB");
    let directory = env::temp_dir().join(format!("almanet-footprint-{}", std::process::id()));
    let path = directory.to_str().unwrap();

    let broker = Role::start(None);
    broker.report("nothing");
    let broker = queue_messages(broker);
    broker.report("1,000,000 messages of 128 bytes");
    drop(broker);

    let broker = queue_messages(Role::start(Some(path)));
    let took = broker.stop("... after they were saved");
    println!("    saved in {took:.1?}, {} bytes", size_of(&directory));
    let begin = Instant::now();
    let broker = Role::start(Some(path));
    let took = begin.elapsed();
    broker.report("... and restored");
    println!("    restored in {took:.1?}");
    drop(broker);
    fs::remove_dir_all(&directory).unwrap();

    let broker = Role::start(None);
    create_topics(&broker);
    broker.report("10,000 topics, each with a channel, idle");
    drop(broker);

    let broker = Role::start(None);
    let connections = connect(&broker, |_| "IDENTIFY\n\0\0\0\x02{}".to_owned());
    broker.report("5,000 connections, identified, idle");
    drop(connections);
    drop(broker);

    let broker = Role::start(None);
    let connections = connect(&broker, |number| format!("SUB topic{number} channel\n"));
    broker.report("5,000 connections, each at a topic of its own");
    drop(connections);
    drop(broker);

    let broker = Role::start(None);
    let connections = connect(&broker, |_| {
        // Its size is a mebibyte, and little of it comes.
        format!(
            "IDENTIFY\n\0\0\0\x02{{}}PUB topic\n\0\x10\0\0{}",
            "x".repeat(1000)
        )
    });
    broker.report("5,000 connections that stopped in a message");
    drop(connections);
    drop(broker);

    let broker = Role::start(None);
    come_and_go(&broker, ROUNDS / 10);
    broker.report("2,000 clients that lied, were refused and left");
    come_and_go(&broker, ROUNDS - ROUNDS / 10);
    broker.report("20,000 of them");
}

/// Clients whose commands cannot be what they say.
fn come_and_go(broker: &Role, rounds: usize) {
    let lies = [
        "PUB t\n\x7f\x7f\x7f\x7f",
        "MPUB t\n\0\x4f\x7f\x7f\x7f\x7f\x7f\x7f",
        "MPUB t\n\0\0\0\x40\0\0\0\x02\0\x7f\x7f\x7f",
        "IDENTIFY\n\x7f\x7f\x7f\x7f",
        "RDY -1\n",
    ];
    for lie in lies.iter().cycle().take(rounds) {
        let mut client = broker.connect();
        client.write_all(lie.as_bytes()).unwrap();
        assert!(frame(&mut client)[4..].starts_with(b"E_"));
    }
}

/// The broker's side: ends when its input does.
#[tokio::main]
async fn serve(data_path: Option<String>) {
    let mut config = BrokerConfig::default().http_address(([127, 0, 0, 1], 0).into());
    if let Some(path) = data_path {
        config = config.data_path(path);
    }
    let broker = Broker::start(config).await.unwrap();
    println!("{} {}", broker.tcp_addr(), broker.http_addr().unwrap());
    let wait = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    wait.await.unwrap().unwrap();
    broker.stop().await.unwrap();
    println!("stopped");
    // It stays until it has been looked at.
    let wait = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    wait.await.unwrap().unwrap();
}

/// A broker in a process of its own.
struct Role {
    child: Child,
    output: BufReader<ChildStdout>,
    tcp: String,
    http: String,
}

impl Role {
    fn start(data_path: Option<&str>) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .arg("broker")
            .args(data_path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let (tcp, http) = line.trim().split_once(' ').unwrap();
        Self {
            child,
            tcp: tcp.to_owned(),
            http: http.to_owned(),
            output,
        }
    }

    fn connect(&self) -> TcpStream {
        let mut stream = TcpStream::connect(&self.tcp).unwrap();
        stream.write_all(b"  V2").unwrap();
        stream
    }

    fn report(&self, what: &str) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let mib = |field: &str| {
            let line = status.lines().find(|line| line.starts_with(field)).unwrap();
            let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            kib / 1024.0
        };
        println!("{what:<46} {:>9.1} {:>9.1}", mib("VmRSS:"), mib("VmHWM:"));
    }

    /// Stops the broker, and reports on the process that is left.
    fn stop(mut self, what: &str) -> Duration {
        let begin = Instant::now();
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.output.read_line(&mut String::new()).unwrap();
        let took = begin.elapsed();
        self.report(what);
        took
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn queue_messages(broker: Role) -> Role {
    let mut client = broker.connect();
    client.write_all(b"SUB queue channel\n").unwrap();
    frame(&mut client);
    let mut body = u32::try_from(BATCH).unwrap().to_be_bytes().to_vec();
    for _ in 0..BATCH {
        body.extend(u32::try_from(BODY).unwrap().to_be_bytes());
        body.extend([b'x'; BODY]);
    }
    let size = u32::try_from(body.len()).unwrap().to_be_bytes();
    let command = [&b"MPUB queue\n"[..], &size, &body].concat();
    for _ in 0..MESSAGES / BATCH {
        client.write_all(&command).unwrap();
        assert_eq!(&frame(&mut client)[4..], b"OK");
    }
    broker
}

fn create_topics(broker: &Role) {
    let mut stream = BufReader::new(TcpStream::connect(&broker.http).unwrap());
    for number in 0..TOPICS {
        for path in [
            format!("/topic/create?topic=topic{number}"),
            format!("/channel/create?topic=topic{number}&channel=channel"),
        ] {
            let request = format!("POST {path} HTTP/1.1\r\nHost: broker\r\nContent-Length: 0\r\n\r\n");
            stream.get_mut().write_all(request.as_bytes()).unwrap();
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                stream.read_line(&mut head).unwrap();
            }
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        }
    }
}

fn connect(broker: &Role, command: impl Fn(usize) -> String) -> Vec<TcpStream> {
    let connect = |number| {
        let mut client = broker.connect();
        client.write_all(command(number).as_bytes()).unwrap();
        assert_eq!(&frame(&mut client)[4..], b"OK");
        client
    };
    (0..CONNECTIONS).map(connect).collect()
}

/// The type and the data of the next frame.
fn frame(client: &mut TcpStream) -> Vec<u8> {
    let mut size = [0; 4];
    client.read_exact(&mut size).unwrap();
    let mut data = vec![0; u32::from_be_bytes(size) as usize];
    client.read_exact(&mut data).unwrap();
    data
}

fn size_of(directory: &Path) -> u64 {
    let files = fs::read_dir(directory).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}
