//! Runs one connection from its first frame to its end: a task that writes, and the caller's task that reads.

use std::{
    future::Future,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use almanet_nsq_proto::{Command, Frame, FrameDecoder, FrameError, HEARTBEAT, Secret};
use bytes::{Buf, BytesMut};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Notify,
    task::{JoinSet, yield_now},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    handshake::Established,
    lost::Lost,
    repeated::without_secret,
    stream::{Sink, Source},
};
use crate::config::ConnectionConfig;

/// How many bytes go into one write before the rest has to wait for the next.
pub(crate) const BATCH_BYTES: usize = 256 * 1024;

/// How much is read at once where the peer has as much to say.
const READ_BYTES: usize = 64 * 1024;
/// A write buffer that has grown beyond this is not kept.
const KEPT_BYTES: usize = 4 * BATCH_BYTES;
/// How long a closing connection may take to write its last words, and a broken one to read them.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What goes out on a connection.
pub(crate) trait Outgoing: Send + 'static {
    /// Waits until there may be something to write.
    ///
    /// Cancel safe; may return too often, never too rarely.
    fn ready(&mut self) -> impl Future<Output = ()> + Send;

    /// Appends commands that wait to `buffer`, until it holds about [`BATCH_BYTES`].
    ///
    /// The first byte of `buffer` is the connection's byte number `position`. What was appended is written next.
    fn fill(&mut self, position: u64, buffer: &mut BytesMut);
}

/// What becomes of what comes in on a connection.
pub(crate) trait Incoming: Send {
    /// Takes the frames, in order, heartbeats aside. An error ends the connection.
    ///
    /// It may wait; nothing more is read meanwhile, but the peer is told that the connection lives.
    fn receive(&mut self, frames: &mut Vec<Frame>) -> impl Future<Output = Result<(), Lost>> + Send;

    /// A message came that is larger than the configured limit; its body is not kept. An error ends the connection.
    fn too_large(&mut self, error: FrameError) -> Result<(), Lost> {
        Err(Lost::Garbage(error))
    }
}

/// How a connection came to its end.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) lost: Lost,
    /// How many bytes of what [`Outgoing`] gave were handed to the operating system.
    pub(crate) written: u64,
}

/// Runs the connection until it ends by itself or `stop` asks for it; then what is queued is written first.
pub(super) async fn drive(
    established: Established,
    outgoing: impl Outgoing,
    incoming: impl Incoming,
    config: &ConnectionConfig,
    stop: &CancellationToken,
) -> Ended {
    let heartbeat_interval = config.heartbeat_interval;
    let pulse = Arc::new(Pulse::default());
    let writer = Writer {
        sink: established.stream.sink,
        outgoing,
        pulse: Arc::clone(&pulse),
        patience: heartbeat_interval.saturating_mul(2),
        stop: stop.clone(),
    };
    let reader = Reader {
        source: established.stream.source,
        decoder: established.decoder,
        received: established.received,
        pulse: Arc::clone(&pulse),
        heartbeat_interval,
        secret: config.auth_secret.clone(),
    };

    let mut writing = JoinSet::new();
    writing.spawn(writer.run());
    let mut reading = pin!(reader.run(incoming));
    let lost = tokio::select! {
        lost = &mut reading => lost,
        written = writing.join_next() => match written {
            // The peer may have said why before it hung up, and that is still to be read.
            Some(Ok(lost @ Lost::Failed(_))) => timeout(LAST_WORDS, reading).await.unwrap_or(lost),
            Some(Ok(lost)) => lost,
            Some(Err(_)) | None => Lost::Closed,
        },
        () = async { stop.cancelled().await; sleep(LAST_WORDS).await } => Lost::Closed,
    };
    writing.shutdown().await;
    Ended {
        lost,
        written: pulse.written.load(Ordering::Acquire),
    }
}

/// Writes all that `outgoing` has to `sink`, as it would to a socket.
#[cfg(test)]
pub(crate) async fn write_out(
    outgoing: impl Outgoing,
    sink: impl tokio::io::AsyncWrite + Send + Unpin + 'static,
) {
    let stop = CancellationToken::new();
    stop.cancel();
    let writer = Writer {
        sink: Sink::test(sink),
        outgoing,
        pulse: Arc::default(),
        patience: LAST_WORDS,
        stop,
    };
    writer.run().await;
}

/// What the two halves of a connection tell each other.
#[derive(Debug, Default)]
struct Pulse {
    /// Whether the peer waits for a sign of life.
    is_due: AtomicBool,
    due: Notify,
    written: AtomicU64,
}

impl Pulse {
    fn beat(&self) {
        self.is_due.store(true, Ordering::Release);
        self.due.notify_one();
    }
}

struct Writer<O> {
    sink: Sink,
    outgoing: O,
    pulse: Arc<Pulse>,
    patience: Duration,
    stop: CancellationToken,
}

impl<O: Outgoing> Writer<O> {
    async fn run(mut self) -> Lost {
        let is_shared = Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread;
        let mut buffer = BytesMut::new();
        let mut position = 0;
        loop {
            let is_last = self.stop.is_cancelled();
            if self.pulse.is_due.swap(false, Ordering::AcqRel) {
                Command::Nop.encode(&mut buffer);
            }
            self.outgoing.fill(position, &mut buffer);
            if !buffer.is_empty() {
                position += buffer.len() as u64;
                let is_large = buffer.capacity() > KEPT_BYTES;
                if let Err(lost) = self.write(&mut buffer).await {
                    return lost;
                }
                if is_large {
                    buffer = BytesMut::new();
                }
                continue;
            }
            if is_last {
                // Whether the peer still hears it does not matter any more.
                let _ = self.sink.shutdown().await;
                return Lost::Closed;
            }
            tokio::select! {
                () = self.outgoing.ready() => {
                    // Another thread wakes up for this while whoever has something to send is still at it. On a
                    // single thread this task gets its turn after those that run anyway.
                    if is_shared {
                        yield_now().await;
                    }
                }
                () = self.pulse.due.notified() => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// Writes all of `buffer` and leaves it empty.
    async fn write(&mut self, buffer: &mut BytesMut) -> Result<(), Lost> {
        let is_plain = self.sink.is_plain();
        if !is_plain {
            // Pieces of what is packed or encrypted do not tell which bytes are in them, and nothing that may have
            // arrived can count as unsent: so all of it counts before the first piece leaves.
            self.pulse
                .written
                .fetch_add(buffer.len() as u64, Ordering::AcqRel);
            self.sink.pack(buffer).map_err(Lost::Failed)?;
        }
        while !buffer.is_empty() {
            let count = timeout(self.patience, self.sink.write(buffer))
                .await
                .map_err(|_| Lost::Stalled { after: self.patience })?
                .map_err(Lost::Failed)?;
            if count == 0 {
                return Err(Lost::Failed(io::ErrorKind::WriteZero.into()));
            }
            if is_plain {
                // Nothing is awaited between the write and the count, so the count is exact even if this task is aborted.
                self.pulse.written.fetch_add(count as u64, Ordering::AcqRel);
            }
            buffer.advance(count);
        }
        if !is_plain {
            timeout(self.patience, self.sink.flush())
                .await
                .map_err(|_| Lost::Stalled { after: self.patience })?
                .map_err(Lost::Failed)?;
        }
        Ok(())
    }
}

struct Reader {
    source: Source,
    decoder: FrameDecoder,
    received: BytesMut,
    pulse: Arc<Pulse>,
    heartbeat_interval: Duration,
    /// What the peer's words must not repeat.
    secret: Option<Secret>,
}

impl Reader {
    async fn run(mut self, mut incoming: impl Incoming) -> Lost {
        let patience = self.heartbeat_interval.saturating_mul(2);
        let mut frames = Vec::new();
        self.received.reserve(READ_BYTES);
        let mut heard = Instant::now();
        let mut silence = pin!(sleep_until(heard + patience));
        loop {
            let decoded = self.decode(&mut frames, &mut incoming);
            if !frames.is_empty() {
                if let Err(lost) = self.hand_over(&mut incoming, &mut frames).await {
                    return lost;
                }
                frames.clear();
                heard = Instant::now();
            }
            if let Err(lost) = decoded {
                return lost;
            }
            // Messages that are still held keep the whole buffer alive, so it is used up before the next one is made.
            if self.received.capacity() - self.received.len() < READ_BYTES / 8 {
                self.received.reserve(READ_BYTES / 2);
            }
            tokio::select! {
                biased;
                count = self.source.read_buf(&mut self.received) => match count {
                    Ok(0) => return Lost::Ended,
                    Ok(_) => heard = Instant::now(),
                    Err(error) => return Lost::Failed(error),
                },
                () = &mut silence => {
                    if heard.elapsed() >= patience {
                        return Lost::Silent { after: patience };
                    }
                    silence.as_mut().reset(heard + patience);
                }
            }
        }
    }

    /// Takes all whole frames out of what was read. Those before garbage count.
    fn decode(&mut self, frames: &mut Vec<Frame>, incoming: &mut impl Incoming) -> Result<(), Lost> {
        loop {
            match self.decoder.decode(&mut self.received) {
                Ok(None) => return Ok(()),
                Ok(Some(Frame::Response(text))) if text == HEARTBEAT => self.pulse.beat(),
                Ok(Some(Frame::Error(error))) => {
                    frames.push(Frame::Error(without_secret(error, self.secret.as_ref())));
                }
                Ok(Some(frame)) => frames.push(frame),
                Err(error @ FrameError::MessageTooLarge { .. }) => incoming.too_large(error)?,
                Err(error) => return Err(Lost::Garbage(error)),
            }
        }
    }

    /// While the receiver takes its time, heartbeats cannot be read, so they are answered unasked.
    async fn hand_over(&self, incoming: &mut impl Incoming, frames: &mut Vec<Frame>) -> Result<(), Lost> {
        let mut receiving = pin!(incoming.receive(frames));
        loop {
            match timeout(self.heartbeat_interval, &mut receiving).await {
                Ok(received) => return received,
                Err(_) => self.pulse.beat(),
            }
        }
    }
}
