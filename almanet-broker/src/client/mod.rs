//! One client's connection, from its first byte to its last.

mod handler;
mod inbox;
mod negotiate;
mod output;
mod pulse;
mod subscription;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use almanet_nsq_proto::{CommandDecoder, ErrorCode, Frame, HEARTBEAT, MAGIC_V2, ProtocolError};
use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, tcp::OwnedReadHalf},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::{
    handler::Handler,
    output::{Output, Work},
    pulse::{Beat, Pulse},
    subscription::Subscription,
};
use crate::{channel::SubscriberId, config::BrokerConfig, registry::Registry, step::Step};

#[cfg(feature = "http")]
pub(crate) use self::negotiate::{MAX_DEFLATE_LEVEL, MAX_OUTPUT_BUFFER_SIZE, MAX_OUTPUT_BUFFER_TIMEOUT};
pub(crate) use self::{inbox::Inbox, output::Touched};

/// What a quiet client's read buffer holds.
const SMALL_READ: usize = 4 * 1024;

/// What a busy client's read buffer holds.
const LARGE_READ: usize = 64 * 1024;

/// How long a connection that ends may take to send what it has, and the client to read it.
const LINGER: Duration = Duration::from_secs(1);

/// How long a client that reads nothing is kept: nsqd's longest, which is the longest heartbeat interval.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the client closed it")]
    Closed,
    /// The client has done what nsqd closes for, and was told so.
    #[error("refused: {0}")]
    Refused(ProtocolError),
    #[error("no command came for two heartbeat intervals")]
    Silent,
    #[error("the client does not read")]
    Stuck,
    #[error("connection failed: {0}")]
    Failed(io::ErrorKind),
    #[error("the broker stops")]
    Stopped,
}

/// Serves one client until either side ends it, or `stopped`.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    id: SubscriberId,
    config: Arc<BrokerConfig>,
    registry: Arc<Registry>,
    stopped: CancellationToken,
) {
    // Frames leave when they are complete; Nagle's algorithm would hold the last one back.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot switch Nagle's algorithm off");
    }
    let entry = registry.connections().enter(id, peer);
    let (mut reader, writer) = stream.into_split();
    let output = Output::new(writer);
    let subscription = Arc::new(OnceLock::new());
    let handler = Handler::new(
        config.clone(),
        Arc::clone(&registry),
        Arc::clone(&output),
        Arc::clone(entry.connection()),
        Arc::clone(&subscription),
    );

    let end = tokio::select! {
        end = read(&mut reader, handler, &output, &config) => end,
        end = write(&output, &subscription) => end,
        () = stopped.cancelled() => End::Stopped,
    };
    tracing::debug!(%peer, connection = id.0, "connection ends: {end}");

    if let Some(subscription) = subscription.get() {
        let mut step = Step::begin();
        subscription.leave(&registry, &mut step);
        step.end();
    }
    drop(entry);
    close(reader, output, &end).await;
}

/// Reads commands and executes them.
async fn read(
    reader: &mut OwnedReadHalf,
    mut handler: Handler,
    output: &Arc<Output>,
    config: &BrokerConfig,
) -> End {
    let mut pulse = Pulse::new(handler.heartbeat_interval());
    let mut decoder = CommandDecoder::new(config.limits());
    let mut buffer = BytesMut::new();
    let mut chunk = SMALL_READ;
    let mut greeted = false;
    loop {
        buffer.reserve(chunk);
        let read = tokio::select! {
            // The client's bytes are looked at first: a command that is there already is a sign of life.
            biased;
            read = reader.read_buf(&mut buffer), if !output.is_full() => read,
            beat = pulse.beat() => match beat {
                Beat::Dead => return End::Silent,
                Beat::Send => {
                    if buffer.is_empty() {
                        // The client was idle or slow: a small buffer does. A busy one makes it large again.
                        buffer = BytesMut::new();
                        chunk = SMALL_READ;
                    }
                    if greeted {
                        send_heartbeat(output);
                    }
                    continue;
                }
            },
            () = output.drained(), if output.is_full() => continue,
        };
        match read {
            Ok(0) => return End::Closed,
            Ok(length) if length >= SMALL_READ => chunk = LARGE_READ,
            Ok(_) => {}
            Err(error) => return End::Failed(error.kind()),
        }
        let mut step = Step::begin();
        if !greeted {
            match check_magic(&mut buffer) {
                Ok(complete) => greeted = complete,
                Err(refusal) => {
                    handler.refuse(refusal.clone(), &mut step);
                    step.end();
                    return End::Refused(refusal);
                }
            }
        }
        if !greeted {
            continue;
        }
        let result = execute_all(&mut decoder, &mut buffer, &mut handler, &mut step);
        let now = step.now;
        step.end();
        match result {
            Ok(true) => pulse.command(handler.heartbeat_interval(), now),
            Ok(false) => {}
            Err(refusal) => return End::Refused(refusal),
        }
    }
}

/// Takes the first four bytes off; says whether they were there.
fn check_magic(buffer: &mut BytesMut) -> Result<bool, ProtocolError> {
    let Some(magic) = buffer.first_chunk::<4>() else {
        return Ok(false);
    };
    if magic != MAGIC_V2 {
        return Err(ProtocolError::new(ErrorCode::from("E_BAD_PROTOCOL"), ""));
    }
    buffer.advance(MAGIC_V2.len());
    Ok(true)
}

/// Executes the commands that are there whole; says whether there was one.
fn execute_all(
    decoder: &mut CommandDecoder,
    buffer: &mut BytesMut,
    handler: &mut Handler,
    step: &mut Step,
) -> Result<bool, ProtocolError> {
    let mut any = false;
    loop {
        let result = match decoder.decode(buffer) {
            Ok(Some(command)) => handler.execute(command, step),
            Ok(None) => return Ok(any),
            Err(refusal) => Err(refusal),
        };
        any = true;
        if let Err(refusal) = result {
            handler.refuse(refusal.clone(), step);
            if refusal.is_fatal() {
                return Err(refusal);
            }
        }
    }
}

fn send_heartbeat(output: &Arc<Output>) {
    let mut step = Step::begin();
    let heartbeat = Frame::Response(Bytes::from_static(HEARTBEAT));
    output.write(&heartbeat, &mut step.touched);
    step.end();
}

/// Does what is left of sending when the socket did not take all at once.
async fn write(output: &Output, subscription: &OnceLock<Subscription>) -> End {
    loop {
        match output.work().await {
            Work::AwaitSocket => match timeout(WRITE_TIMEOUT, output.writable()).await {
                Ok(Ok(())) => output.flush_blocked(),
                Ok(Err(error)) => return End::Failed(error.kind()),
                Err(_) => return End::Stuck,
            },
            Work::AnnounceRoom => {
                if let Some(subscription) = subscription.get() {
                    let mut step = Step::begin();
                    subscription.resume(&mut step);
                    step.end();
                }
            }
            Work::End(kind) => return End::Failed(kind),
        }
    }
}

/// Ends a connection so that the client can read the last frame.
async fn close(mut reader: OwnedReadHalf, output: Arc<Output>, end: &End) {
    if matches!(end, End::Failed(_) | End::Stuck) {
        return;
    }
    // A client that does not read in time loses the rest; it could stay for ever otherwise.
    let _ = timeout(LINGER, output.drain()).await;
    // The last one to let go of the output shuts the write side down.
    drop(output);
    if let End::Refused(_) = end {
        // Closing with unread input would reset the connection, and the reset destroys what the client has not
        // read yet: the error frame. So what it still sends is read first, up to its own end.
        let _ = timeout(LINGER, discard(&mut reader)).await;
    }
}

async fn discard(reader: &mut OwnedReadHalf) {
    let mut buffer = BytesMut::with_capacity(SMALL_READ);
    while let Ok(1..) = reader.read_buf(&mut buffer).await {
        buffer.clear();
    }
}
