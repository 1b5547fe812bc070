//! A Python program that uses the package, and is read line by line.

use std::{ffi::OsString, path::PathBuf, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// The Python that has the package; says that the test is skipped when none is named, and fails where none may be skipped.
pub(super) fn python() -> Option<OsString> {
    let python = std::env::var_os("ALMANET_TEST_PYTHON");
    if python.is_none() {
        let is_needed = std::env::var_os("ALMANET_TEST_SKIPS_NOTHING").is_some();
        assert!(
            !is_needed,
            "ALMANET_TEST_PYTHON names no Python that has the package `almanet`"
        );
        println!("skipped: ALMANET_TEST_PYTHON names no Python that has the package `almanet`");
    }
    python
}

/// A program that runs; killed on drop.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Runs `tests/python/<name>.py`.
    pub(super) fn start(python: &OsString, name: &str, arguments: &[&str]) -> Self {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("python");
        let mut command = Command::new(python);
        command
            .arg(directory.join(name).with_extension("py"))
            .args(arguments);
        Self::spawn(command)
    }

    /// Runs this text.
    pub(super) fn start_text(python: &OsString, text: &str) -> Self {
        let mut command = Command::new(python);
        command.arg("-c").arg(text);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line that it prints; `None` once it has ended.
    pub(super) async fn line(&mut self) -> Option<String> {
        self.lines.next_line().await.unwrap()
    }

    /// Waits for its end, which must be a good one.
    pub(super) async fn end(mut self) {
        assert!(self.child.wait().await.unwrap().success());
    }

    /// Ends it without a word to anybody.
    pub(super) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}
