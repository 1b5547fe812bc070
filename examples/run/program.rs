//! Running an example, and the broker that it may need.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use almanet::{Broker, BrokerConfig};

/// The example `name`, which cargo has built beside this test.
pub(crate) fn example(name: &str) -> Command {
    let mut path = std::env::current_exe().expect("the path of this test");
    path.pop();
    path.pop();
    let path: PathBuf = path
        .join("examples")
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION);
    let mut command = Command::new(path);
    command.env_remove("ALMANET_NSQD").stdin(Stdio::null());
    command
}

/// Where a test's broker is, and what keeps it there.
pub(crate) async fn broker() -> (Option<Broker>, String) {
    match std::env::var("ALMANET_TEST_NSQD") {
        Ok(address) => (None, address),
        Err(_) => {
            let broker = Broker::start(BrokerConfig::default())
                .await
                .expect("an embedded broker");
            let address = broker.tcp_addr().to_string();
            (Some(broker), address)
        }
    }
}

pub(crate) async fn output(mut command: Command) -> Output {
    let run = move || command.stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    tokio::task::spawn_blocking(run)
        .await
        .expect("a thread")
        .expect("the example is built and starts")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs an example that brings its own broker; returns what it printed, if it ended well.
pub(crate) async fn run_alone(name: &str) -> String {
    let mut command = example(name);
    if let Ok(address) = std::env::var("ALMANET_TEST_NSQD") {
        command.env("ALMANET_NSQD", address);
    }
    let output = output(command).await;
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    stdout
}
