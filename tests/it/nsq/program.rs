//! A broker in a process of its own, which can be killed: the program that `ALMANET_TEST_NSQD_PROGRAM` names, or else
//! this test binary, run again. And nsqlookupd, if `ALMANET_TEST_NSQLOOKUPD_PROGRAM` names it.

use std::{
    env,
    ffi::OsString,
    io::{self, BufRead, BufReader, Read, Write},
    net::SocketAddr,
    process::{Child, ChildStderr, Command, Stdio},
    thread,
};

use almanet::{Broker, BrokerConfig};
use tempfile::TempDir;

use super::lasting_address;

/// The program to run instead of this test binary: nsqd, or one that takes its flags and logs as it does.
const NSQD_PROGRAM: &str = "ALMANET_TEST_NSQD_PROGRAM";
const NSQLOOKUPD_PROGRAM: &str = "ALMANET_TEST_NSQLOOKUPD_PROGRAM";
/// Where this is set, what is named nowhere is a failure.
const SKIPS_NOTHING: &str = "ALMANET_TEST_SKIPS_NOTHING";
/// Where this binary listens when it is run again as a broker.
const ADDRESS: &str = "ALMANET_TEST_BROKER_ADDRESS";
/// What nsqd and nsqlookupd log before their addresses.
const LISTENING: &str = "TCP: listening on ";
const LISTENING_HTTP: &str = "HTTP: listening on ";

/// The process; it is killed when this is dropped.
pub(crate) struct Program {
    command: Command,
    child: Child,
    pub(crate) address: SocketAddr,
    _data_path: TempDir,
}

impl Program {
    /// Starts a broker on a free port, and returns when it listens.
    pub(super) fn start() -> Self {
        Self::start_at(lasting_address())
    }

    /// Starts nsqd with these flags on a free port, and returns when it listens; `None` where no program is named and may
    /// be missing.
    pub(crate) fn nsqd(flags: &[String]) -> Option<Self> {
        let program = named(NSQD_PROGRAM)?;
        Some(Self::run_nsqd(
            program,
            SocketAddr::from(([127, 0, 0, 1], 0)),
            flags,
        ))
    }

    fn start_at(address: SocketAddr) -> Self {
        if let Some(program) = named(NSQD_PROGRAM) {
            return Self::run_nsqd(program, address, &[]);
        }
        let mut again = Command::new(env::current_exe().unwrap());
        again
            .args([
                "nsq::program::a_broker_for_another_test",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(ADDRESS, address.to_string());
        Self::run(again, tempfile::tempdir().unwrap())
    }

    fn run_nsqd(program: OsString, address: SocketAddr, flags: &[String]) -> Self {
        let data_path = tempfile::tempdir().unwrap();
        let mut nsqd = Command::new(program);
        nsqd.arg(format!("--tcp-address={address}"))
            .args(["--http-address=127.0.0.1:0", "--broadcast-address=127.0.0.1"])
            .args(["--mem-queue-size=100000"])
            .arg("--data-path")
            .arg(data_path.path())
            .args(flags);
        Self::run(nsqd, data_path)
    }

    fn run(mut command: Command, data_path: TempDir) -> Self {
        // It ends with its input, so also when this process is killed.
        let (child, [address]) = spawn(command.stdin(Stdio::piped()), [LISTENING]);
        Self {
            command,
            child,
            address,
            _data_path: data_path,
        }
    }

    /// Stops an nsqd that has a port of its own (SIGTERM), and starts it again, with its flags and its data path.
    pub(crate) fn stop_and_restart(&mut self) {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(asked.success());
        assert!(self.child.wait().unwrap().success(), "it could not stop in order");
        let (child, [address]) = spawn(&mut self.command, [LISTENING]);
        (self.child, self.address) = (child, address);
    }

    /// As [`stop_and_restart`](Self::stop_and_restart), but kills it (SIGKILL).
    pub(crate) fn kill_and_restart(&mut self) {
        self.kill();
        let (child, [address]) = spawn(&mut self.command, [LISTENING]);
        (self.child, self.address) = (child, address);
    }

    /// Kills the process (SIGKILL); it is gone when this returns.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts another one, with nothing of what the killed one had, on the same port.
    pub(super) fn replace(&mut self) {
        *self = Self::start_at(self.address);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program that this variable names; fails where none is named and nothing may be skipped.
fn named(variable: &str) -> Option<OsString> {
    let program = env::var_os(variable);
    let is_needed = env::var_os(SKIPS_NOTHING).is_some();
    assert!(program.is_some() || !is_needed, "{variable} names no program");
    program
}

/// nsqlookupd; it is killed when this is dropped.
pub(super) struct Lookupd {
    child: Child,
    /// Where nodes register.
    pub(super) tcp: SocketAddr,
    /// Where clients ask.
    pub(super) http: SocketAddr,
}

impl Lookupd {
    /// Starts it on free ports, and returns when it listens; `None` where no program is named and may be missing.
    pub(super) fn start() -> Option<Self> {
        let mut nsqlookupd = Command::new(named(NSQLOOKUPD_PROGRAM)?);
        nsqlookupd.args(["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"]);
        let (child, [tcp, http]) = spawn(&mut nsqlookupd, [LISTENING, LISTENING_HTTP]);
        Some(Self { child, tcp, http })
    }
}

impl Drop for Lookupd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts it, and waits until it has said where it listens; the addresses are those behind these words.
fn spawn<const N: usize>(command: &mut Command, words: [&str; N]) -> (Child, [SocketAddr; N]) {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let addresses = listening(&mut log, words);
    // What nobody reads would hold it up in the end.
    thread::spawn(move || io::copy(&mut log, &mut io::sink()));
    (child, addresses)
}

/// The addresses in the lines that say where it listens.
fn listening<const N: usize>(log: &mut BufReader<ChildStderr>, words: [&str; N]) -> [SocketAddr; N] {
    let mut addresses = [None; N];
    let mut line = String::new();
    while addresses.contains(&None) {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it never listened");
        for (word, address) in words.iter().zip(&mut addresses) {
            if let Some((_, rest)) = line.split_once(word) {
                *address = Some(rest.trim().parse().unwrap());
            }
        }
    }
    addresses.map(Option::unwrap)
}

/// No test: what [`Program`] runs.
#[tokio::test]
#[ignore = "a broker for other tests, which run it themselves"]
async fn a_broker_for_another_test() {
    let Ok(address) = env::var(ADDRESS) else { return };
    let config = BrokerConfig::default().tcp_address(address.parse().unwrap());
    let broker = Broker::start(config).await.unwrap();
    writeln!(io::stderr(), "{LISTENING}{}", broker.tcp_addr()).unwrap();
    let until_the_end = || io::stdin().read_to_end(&mut Vec::new());
    tokio::task::spawn_blocking(until_the_end).await.unwrap().unwrap();
}
