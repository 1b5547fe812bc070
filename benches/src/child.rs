//! Parts of a benchmark in processes of their own: this program again, in another role.
//!
//! A child says `ready` and something more on its first line, and ends when its input does: so it never outlives the
//! benchmark, however that ends.

use std::{env, process::Stdio, time::Duration};

use almanet::{Broker, BrokerConfig};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, stdin},
    process::{Child, Command},
    time::timeout,
};

use crate::Failure;

const PATIENCE: Duration = Duration::from_secs(20);

/// This program in another role.
#[derive(Debug)]
pub struct Role {
    child: Child,
    said: String,
}

impl Role {
    /// Starts this program with `arguments` and waits until it is ready.
    pub async fn start<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<Self, Failure> {
        let mut child = Command::new(env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().ok_or("the child has no output")?;
        let mut line = String::new();
        timeout(PATIENCE, BufReader::new(output).read_line(&mut line)).await??;
        let said = line
            .trim_end()
            .strip_prefix("ready ")
            .ok_or("the child ended before it was ready")?;
        Ok(Self {
            said: said.to_owned(),
            child,
        })
    }

    /// What the child said when it was ready.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// The process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends the child and waits until it is gone.
    pub async fn end(mut self) -> Result<(), Failure> {
        drop(self.child.stdin.take());
        timeout(PATIENCE, self.child.wait()).await??;
        Ok(())
    }
}

/// Tells the parent that this child is ready, and returns when it shall end.
pub async fn ready(word: &str) -> Result<(), Failure> {
    println!("ready {word}");
    stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}

/// The role of a broker: says its address.
pub async fn broker() -> Result<(), Failure> {
    let broker = Broker::start(BrokerConfig::default()).await?;
    ready(&broker.tcp_addr().to_string()).await
}
