//! The program `almanet-broker`: what it prints, how it stops, and how it fails.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStderr, Command, Output, Stdio},
};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_almanet-broker"));
    command.env_remove("RUST_LOG").stderr(Stdio::piped());
    command
}

/// Starts the program on a free port; gives its log from behind the line that names the address.
fn start(flags: &[&str]) -> (Child, BufReader<ChildStderr>, String) {
    let mut child = program()
        .args(["-tcp-address", "127.0.0.1:0", "-http-address=127.0.0.1:0"])
        .args(flags)
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("TCP: listening on ") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it never listened");
    }
    let address = line.trim().rsplit(' ').next().unwrap().to_owned();
    (child, log, address)
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn it_says_where_it_listens_and_that_it_keeps_nothing_and_stops_at_a_signal() {
    for name in ["-TERM", "-INT"] {
        let (mut child, mut log, address) = start(&[]);
        let client = TcpStream::connect(&address).unwrap();
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        assert!(line.contains("in memory only"), "{line}");
        signal(name, &child);
        assert!(child.wait().unwrap().success());
        drop(client);
    }
}

#[test]
fn with_a_data_path_a_message_outlives_a_signal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let mut got = Vec::new();
    for command in ["PUB t\n\0\0\0\x04kept", "SUB t c\nRDY 1\n"] {
        let (mut child, mut log, address) = start(&["-data-path", path]);
        let mut client = TcpStream::connect(&address).unwrap();
        client.write_all(format!("  V2{command}").as_bytes()).unwrap();
        // One frame is the answer to PUB; for SUB, a second one is the message.
        got = frame(&mut client);
        if command.starts_with("SUB") {
            got = frame(&mut client);
        }
        signal("-TERM", &child);
        let mut rest = String::new();
        log.read_to_string(&mut rest).unwrap();
        assert!(child.wait().unwrap().success());
        assert!(!rest.contains("memory only"), "{rest}");
        assert!(rest.contains("saved 1 topics"), "{rest}");
    }
    assert!(got.ends_with(b"kept"));
}

/// Reads one frame: its type and data.
fn frame(client: &mut TcpStream) -> Vec<u8> {
    let mut size = [0; 4];
    client.read_exact(&mut size).unwrap();
    let mut data = vec![0; u32::from_be_bytes(size) as usize];
    client.read_exact(&mut data).unwrap();
    data
}

fn signal(signal: &str, child: &Child) {
    let id = child.id().to_string();
    let status = Command::new("kill").args([signal, &id]).status().unwrap();
    assert!(status.success());
}

#[test]
fn an_address_in_use_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    expect_one_line(
        &[&format!("--tcp-address={address}")],
        &format!("cannot listen on {address}: "),
    );
}

/// Expects the program not to start, with a line that begins with these words.
fn expect_one_line(args: &[&str], words: &str) {
    let output = program().args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with(&format!("almanet-broker: {words}")), "{text}");
}

#[test]
fn an_unknown_flag_is_refused_with_a_suggestion() {
    let output = program().arg("-max-msg-sise=5").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("'--max-msg-size'"),
        "{}",
        stderr(&output)
    );
}

#[cfg(feature = "tls")]
#[test]
fn a_certificate_that_cannot_be_read_is_one_clear_line() {
    expect_one_line(
        &["--tls-cert=/does/not/exist", "-tls-key=/neither"],
        "cannot read /does/not/exist: ",
    );
    expect_one_line(
        &[
            "--auth-http-address=https://127.0.0.1:1",
            "--tls-root-ca-file=/does/not/exist",
        ],
        "auth servers cannot be asked over https: cannot read /does/not/exist: ",
    );
}

#[test]
fn a_flag_of_nsqd_that_is_absent_is_refused_with_the_reason() {
    let output = program().arg("--statsd-address=127.0.0.1:8125").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(
        text.contains("almanet-broker has no '--statsd-address': nothing is pushed to statsd"),
        "{text}"
    );
}
