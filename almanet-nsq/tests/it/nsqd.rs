//! The nsqd that `ALMANET_TEST_NSQD_PROGRAM` names, with the flags that a test wants.

use std::{
    env,
    io::{self, BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
};

use tempfile::TempDir;

const NSQD_PROGRAM: &str = "ALMANET_TEST_NSQD_PROGRAM";
/// What it logs before its address.
const LISTENING: &str = "TCP: listening on ";

/// The process; it is killed when this is dropped.
pub(crate) struct Nsqd {
    child: Child,
    pub(crate) address: String,
    _data_path: TempDir,
}

impl Nsqd {
    /// Starts it on a free port, and returns when it listens; `None` where no program is named. That is a failure where
    /// nothing may be skipped.
    pub(crate) fn start(flags: &[String]) -> Option<Self> {
        let program = env::var_os(NSQD_PROGRAM);
        let is_needed = env::var_os("ALMANET_TEST_SKIPS_NOTHING").is_some();
        assert!(program.is_some() || !is_needed, "{NSQD_PROGRAM} names no nsqd");
        let program = program?;
        let data_path = tempfile::tempdir().unwrap();
        let mut child = Command::new(program)
            .args(["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"])
            .args(["--https-address=", "--broadcast-address=127.0.0.1", "--data-path"])
            .arg(data_path.path())
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it never listened");
            if let Some((_, address)) = line.trim_end().split_once(LISTENING) {
                break address.to_owned();
            }
        };
        // What nobody reads would hold it up in the end.
        thread::spawn(move || io::copy(&mut log, &mut io::sink()));
        Some(Self {
            child,
            address,
            _data_path: data_path,
        })
    }
}

impl Drop for Nsqd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
