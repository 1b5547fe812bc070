//! Examples that are several processes.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use crate::program::{broker, example, output, text};

/// A service in a process of its own, killed if the test fails.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(unix)]
#[tokio::test]
async fn caller_and_service_meet_in_two_processes_and_the_service_drains_on_sigterm_and_sigint() {
    for (option, name) in [("-TERM", "SIGTERM"), ("-INT", "SIGINT")] {
        serve_call_and_stop(option, name).await;
    }
}

/// Starts the service, calls it, and stops it by the signal that `kill` knows by `option` and the log by `name`.
#[cfg(unix)]
async fn serve_call_and_stop(option: &str, name: &str) {
    let (_broker, address) = broker().await;
    let mut command = example("greeting_service");
    command
        .env("ALMANET_NSQD", &address)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut service = Service(command.spawn().expect("greeting_service is built and starts"));
    let mut log = BufReader::new(service.0.stderr.take().expect("its log")).lines();
    // The log of the service says when it is ready; the rest of it is read on, so that it never has to wait.
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let log = std::thread::spawn(move || {
        let ready_line = log.find(|line| line.as_ref().is_ok_and(|line| line.contains("serving")));
        let _ = ready.send(());
        ready_line
            .into_iter()
            .chain(log)
            .map_while(Result::ok)
            .collect::<Vec<String>>()
            .join("\n")
    });
    is_ready.await.expect("the service is ready");

    let mut caller = example("greeting_caller");
    caller
        .args(["Aidar", "Bob", "Sara"])
        .env("ALMANET_NSQD", &address);
    let output = output(caller).await;
    assert_eq!(
        text(&output.stdout),
        "Hello, Aidar!\n(Bob is denied)\nHello, Sara!\n",
        "{}",
        text(&output.stderr)
    );
    assert!(output.status.success());

    let pid = service.0.id().to_string();
    assert!(
        Command::new("kill")
            .args([option, &pid])
            .status()
            .expect("kill runs")
            .success()
    );
    let status = tokio::task::spawn_blocking(move || service.0.wait())
        .await
        .expect("a thread")
        .expect("it ends");
    let log = log.join().expect("the log");
    assert!(status.success(), "{log}");
    assert!(log.contains(name), "{log}");
}

#[tokio::test]
async fn a_wrong_address_is_one_clear_line() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = unused.local_addr().expect("its address").to_string();
    drop(unused);
    for name in ["greeting_caller", "greeting_service"] {
        let mut command = example(name);
        command.env("ALMANET_NSQD", &address);
        let output = output(command).await;
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            text(&output.stderr),
            format!(
                "{name}: cannot connect to {address}: connection refused; is nsqd or almanet-broker running there?\n"
            )
        );
    }
}
