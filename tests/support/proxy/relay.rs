//! One connection through a proxy.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
};

use super::{
    boundary::Boundary,
    counts::Counts,
    settings::{Cut, Direction, Flow, Settings},
};

/// The most that is read at once.
const READ_BYTES: usize = 16 * 1024;

/// What the connections of one proxy have in common.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) counts: watch::Sender<Counts>,
    allowances: Mutex<[Option<Allowance>; 2]>,
}

/// How many bytes may still pass before the connection that they pass on is cut.
#[derive(Clone, Copy, Debug)]
struct Allowance {
    left: u64,
    then: Cut,
}

impl Shared {
    pub(super) fn allow(&self, direction: Direction, bytes: u64, then: Cut) {
        let allowance = (bytes > 0).then_some(Allowance { left: bytes, then });
        self.allowances.lock().unwrap_or_else(PoisonError::into_inner)[direction as usize] = allowance;
    }

    /// How many of `count` bytes may pass, and what happens after them.
    fn pass(&self, direction: Direction, count: usize) -> (usize, Option<Cut>) {
        let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut allowances[direction as usize];
        let Some(allowance) = place else {
            return (count, None);
        };
        if allowance.left > count as u64 {
            allowance.left -= count as u64;
            return (count, None);
        }
        let Allowance { left, then } = *allowance;
        *place = None;
        (left as usize, Some(then))
    }
}

/// One connection of a client, and the one to the broker behind it.
#[derive(Debug)]
pub(super) struct Relay {
    client: TcpStream,
    broker: TcpStream,
    shared: Arc<Shared>,
    settings: watch::Receiver<Settings>,
    /// How often connections had been cut, and how many frames injected, before this one was there.
    cuts_before: u64,
    injected_before: usize,
}

impl Relay {
    pub(super) fn new(
        client: TcpStream,
        broker: TcpStream,
        shared: Arc<Shared>,
        settings: watch::Receiver<Settings>,
    ) -> Self {
        let (cuts_before, injected_before) = {
            let settings = settings.borrow();
            (settings.cuts, settings.injected.len())
        };
        Self {
            client,
            broker,
            shared,
            settings,
            cuts_before,
            injected_before,
        }
    }

    /// Hands bytes on until both peers have closed, one has failed, or the connection is cut.
    pub(super) async fn run(mut self) {
        for socket in [&self.client, &self.broker] {
            let _ = socket.set_nodelay(true);
        }
        let cut = {
            let (from_client, to_client) = self.client.split();
            let (from_broker, to_broker) = self.broker.split();
            let commands = Pump {
                direction: Direction::ToBroker,
                to: to_broker,
                shared: &self.shared,
                injected: self.injected_before,
            };
            let frames = Pump {
                direction: Direction::ToClient,
                to: to_client,
                shared: &self.shared,
                injected: self.injected_before,
            };
            let mut settings = self.settings.clone();
            tokio::select! {
                biased;
                settings = settings.wait_for(|settings| settings.cuts > self.cuts_before) => {
                    Some(settings.map_or(Cut::Fin, |settings| settings.cut))
                }
                pumped = async {
                    tokio::try_join!(
                        commands.run(from_client, self.settings.clone()),
                        frames.run(from_broker, self.settings.clone()),
                    )
                } => pumped.err(),
            }
        };
        if cut == Some(Cut::Fin) {
            let _ = tokio::join!(self.client.shutdown(), self.broker.shutdown());
            self.shared.counts.send_modify(|counts| counts.open -= 1);
            // A socket that is closed with unread bytes is reset, which can destroy what was sent before.
            tokio::join!(drain(self.client), drain(self.broker));
            return;
        }
        if cut == Some(Cut::Reset) {
            for socket in [&self.client, &self.broker] {
                let _ = socket.set_zero_linger();
            }
        }
        drop((self.client, self.broker));
        self.shared.counts.send_modify(|counts| counts.open -= 1);
    }
}

async fn drain(mut socket: TcpStream) {
    let mut buffer = vec![0; READ_BYTES];
    while let Ok(1..) = socket.read(&mut buffer).await {}
}

/// One direction of a connection.
struct Pump<'a> {
    direction: Direction,
    to: WriteHalf<'a>,
    shared: &'a Shared,
    /// How many of the injected frames this connection has had.
    injected: usize,
}

impl Pump<'_> {
    /// Hands bytes on until their sender closes; the error says how the connection shall end instead.
    async fn run(
        mut self,
        mut from: ReadHalf<'_>,
        mut settings: watch::Receiver<Settings>,
    ) -> Result<(), Cut> {
        let mut buffer = vec![0; READ_BYTES];
        let mut boundary = Boundary::default();
        loop {
            let (way, injected) = {
                let settings = settings.borrow_and_update();
                (settings.way(self.direction), Arc::clone(&settings.injected))
            };
            if boundary.is_here() {
                self.inject(&injected).await?;
            }
            let size = way.chunk.unwrap_or(READ_BYTES).min(READ_BYTES);
            let read = tokio::select! {
                biased;
                changed = settings.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return Err(Cut::Fin),
                },
                read = from.read(&mut buffer[..size]), if way.flow != Flow::Stalled => read,
            };
            let count = or_reset(read)?;
            if count == 0 {
                let _ = self.to.shutdown().await;
                return Ok(());
            }
            if way.flow == Flow::Swallowed {
                self.shared
                    .counts
                    .send_modify(|counts| counts.swallowed += count as u64);
                continue;
            }
            let (passed, cut) = self.shared.pass(self.direction, count);
            let mut bytes = &buffer[..passed];
            if self.injected < injected.len() && self.direction == Direction::ToClient {
                let (end_of_frame, rest) = bytes.split_at(boundary.pass(bytes));
                or_reset(self.to.write_all(end_of_frame).await)?;
                if boundary.is_here() {
                    self.inject(&injected).await?;
                }
                bytes = rest;
            }
            or_reset(self.to.write_all(bytes).await)?;
            boundary.pass_all(bytes);
            self.shared
                .counts
                .send_modify(|counts| *counts.bytes_mut(self.direction) += passed as u64);
            if let Some(cut) = cut {
                return Err(cut);
            }
        }
    }

    async fn inject(&mut self, injected: &[Bytes]) -> Result<(), Cut> {
        if self.direction == Direction::ToBroker {
            return Ok(());
        }
        while let Some(frame) = injected.get(self.injected) {
            self.injected += 1;
            or_reset(self.to.write_all(frame).await)?;
            self.shared.counts.send_modify(|counts| counts.injected += 1);
        }
        Ok(())
    }
}

/// A peer that failed is shown to the other as a reset.
fn or_reset<T>(result: io::Result<T>) -> Result<T, Cut> {
    result.map_err(|_| Cut::Reset)
}
