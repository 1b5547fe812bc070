//! NATS request/reply through a nats-server that is started for it.

use std::{path::Path, process::Stdio, time::Duration};

use almanet_benches::{
    Failure,
    load::{self, Bound, Measured},
};
use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    task::JoinHandle,
    time::timeout,
};

const SUBJECT: &str = "compare.echo";
const PATIENCE: Duration = Duration::from_secs(10);

/// A server, a service and a caller, each of the latter with a connection of its own.
pub(crate) struct Nats {
    server: Child,
    /// Kept open, for the server's log.
    _log: Lines<BufReader<ChildStderr>>,
    calling: Client,
    serving: Client,
    service: JoinHandle<()>,
}

impl Nats {
    /// Starts `program` on a free port, and the echo.
    pub(crate) async fn start(program: &Path) -> Result<Self, Failure> {
        let mut server = Command::new(program)
            .args(["-a", "127.0.0.1", "-p", "-1"])
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
        let log = server.stderr.take().ok_or("nats-server has no log")?;
        let mut log = BufReader::new(log).lines();
        let address = timeout(PATIENCE, listening_address(&mut log)).await??;

        let (serving, calling) = (
            async_nats::connect(&address).await?,
            async_nats::connect(&address).await?,
        );
        let requests = serving.queue_subscribe(SUBJECT, "echo".to_owned()).await?;
        // The server takes commands in order, so that the subscription is there once the flush is answered.
        serving.flush().await?;
        let service = tokio::spawn(echo(serving.clone(), requests));
        Ok(Self {
            server,
            _log: log,
            calling,
            serving,
            service,
        })
    }

    pub(crate) async fn call(
        &self,
        concurrency: u64,
        bound: Bound,
        body: &Bytes,
    ) -> Result<Measured, Failure> {
        let (client, body) = (self.calling.clone(), body.clone());
        load::run(concurrency, bound, move |_| {
            let (client, body) = (client.clone(), body.clone());
            async move {
                let echoed = client.request(SUBJECT, body.clone()).await?;
                if echoed.payload != body {
                    return Err("the echo is not what was sent".into());
                }
                Ok(())
            }
        })
        .await
    }

    pub(crate) fn broker_pid(&self) -> Option<u32> {
        self.server.id()
    }

    pub(crate) async fn end(mut self) -> Result<(), Failure> {
        self.serving.drain().await?;
        self.service.await?;
        self.calling.drain().await?;
        Ok(self.server.kill().await?)
    }
}

/// Answers in the order of the requests, with no task for each: as fast as the client can.
async fn echo(client: Client, mut requests: Subscriber) {
    while let Some(request) = requests.next().await {
        let Some(reply) = request.reply else { continue };
        if client.publish(reply, request.payload).await.is_err() {
            return;
        }
    }
}

/// Reads the log until it tells the address.
async fn listening_address(log: &mut Lines<BufReader<ChildStderr>>) -> Result<String, Failure> {
    const SAYING: &str = "Listening for client connections on ";
    while let Some(line) = log.next_line().await? {
        if let Some((_, address)) = line.split_once(SAYING) {
            return Ok(address.trim().to_owned());
        }
    }
    Err("nats-server ended before it listened".into())
}
