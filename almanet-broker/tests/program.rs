//! The program `almanet-broker`: what it prints, how it stops, and how it fails.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, ChildStderr, Command, Output, Stdio},
};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_almanet-broker"));
    command.env_remove("RUST_LOG").stderr(Stdio::piped());
    command
}

/// Starts the program on a free port; gives its log from behind the line that names the address.
fn start() -> (Child, BufReader<ChildStderr>, String) {
    let mut child = program()
        .args(["-tcp-address", "127.0.0.1:0", "-http-address=127.0.0.1:0"])
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
    for signal in ["-TERM", "-INT"] {
        let (mut child, mut log, address) = start();
        let client = std::net::TcpStream::connect(&address).unwrap();
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        assert!(line.contains("in memory only"), "{line}");
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
        assert!(child.wait().unwrap().success());
        drop(client);
    }
}

#[test]
fn an_address_in_use_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = program()
        .arg(format!("--tcp-address={address}"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.starts_with(&format!("almanet-broker: cannot listen on {address}: ")),
        "{text}"
    );
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
