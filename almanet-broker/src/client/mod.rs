//! One client's connection, from its first byte to its last.

mod gate;
mod handler;
mod inbox;
#[cfg(test)]
mod model;
mod negotiate;
mod output;
mod permit;
mod pulse;
mod reader;
mod subscription;
mod transport;
mod upgrade;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use almanet_nsq_proto::{CommandDecoder, ProtocolError};
use tokio::{net::TcpStream, time::timeout};
use tokio_util::sync::CancellationToken;

use self::{
    handler::Handler,
    output::{Output, Work},
    reader::{Received, read},
    subscription::Subscription,
    transport::{Courier, WRITE_TIMEOUT},
    upgrade::{Link, Upgrade},
};
use crate::{channel::SubscriberId, config::BrokerConfig, registry::Registry, step::Step};

pub(crate) use self::{inbox::Inbox, output::Touched};

/// How long a connection that ends may take to send what it has, and the client to read it.
const LINGER: Duration = Duration::from_secs(1);

/// Why [`read`] or [`write`] is over.
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
    #[cfg(feature = "tls")]
    #[error("no TLS with the client: {0}")]
    Handshake(io::Error),
    #[error("the broker stops")]
    Stopped,
    /// The connection does not end, but goes on in another form.
    #[error("it was to be upgraded")]
    Upgrade(Box<Upgrade>),
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
    let mut link = Link::plain(stream);
    let mut received = Received::new(CommandDecoder::new(config.limits()), registry.memory());
    let subscription = Arc::new(OnceLock::new());
    let mut handler = Handler::new(
        config,
        Arc::clone(&registry),
        Arc::clone(&link.output),
        Arc::clone(entry.connection()),
        Arc::clone(&subscription),
    );

    let end = loop {
        let end = tokio::select! {
            end = read(&mut link.source, &mut received, &mut handler, &link.output) => end,
            end = write(&link.output, &mut link.courier, &subscription) => end,
            () = stopped.cancelled() => End::Stopped,
        };
        let End::Upgrade(upgrade) = end else {
            break end;
        };
        let output = Output::upgraded();
        handler.change_output(Arc::clone(&output));
        // Rare and large, so it does not make every connection's future large.
        let upgrading = Box::pin(link.upgrade(*upgrade, output, &mut received.buffer, &mut handler));
        let upgraded = tokio::select! {
            upgraded = upgrading => upgraded,
            () = stopped.cancelled() => Err(End::Stopped),
        };
        match upgraded {
            Ok(upgraded) => link = upgraded,
            Err(end) => {
                log_end(peer, id, &end);
                return;
            }
        }
    };
    log_end(peer, id, &end);

    if let Some(subscription) = subscription.get() {
        let mut step = Step::begin();
        subscription.leave(&registry, &mut step);
        step.end();
    }
    drop((handler, entry, received));
    close(link, &end).await;
}

fn log_end(peer: SocketAddr, id: SubscriberId, end: &End) {
    match end {
        // A client or a certificate is set up wrongly, and its owner will look here.
        #[cfg(feature = "tls")]
        End::Handshake(_) => tracing::warn!(%peer, connection = id.0, "connection ends: {end}"),
        _ => tracing::debug!(%peer, connection = id.0, "connection ends: {end}"),
    }
}

/// Does what is left of sending when the socket did not take all at once, and all of it on upgraded connections.
async fn write(output: &Output, courier: &mut Option<Courier>, subscription: &OnceLock<Subscription>) -> End {
    loop {
        match output.work().await {
            Work::AwaitSocket => match timeout(WRITE_TIMEOUT, output.writable()).await {
                Ok(Ok(())) => output.flush_blocked(),
                Ok(Err(error)) => return End::Failed(error.kind()),
                Err(_) => return End::Stuck,
            },
            Work::Deliver => {
                if let Some(courier) = courier
                    && let Err(error) = courier.deliver(output).await
                {
                    return match error.kind() {
                        io::ErrorKind::TimedOut => End::Stuck,
                        kind => End::Failed(kind),
                    };
                }
            }
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
async fn close(link: Link, end: &End) {
    if matches!(end, End::Failed(_) | End::Stuck) {
        return;
    }
    let Link {
        mut source,
        output,
        courier,
    } = link;
    // A client that does not read in time loses the rest; it could stay for ever otherwise.
    let _ = timeout(LINGER, finish(output, courier)).await;
    if let End::Refused(_) = end {
        // Closing with unread input would reset the connection, and the reset destroys what the client has not
        // read yet: the error frame. So what it still sends is read first, up to its own end.
        let _ = timeout(LINGER, source.discard()).await;
    }
}

/// Sends what is there and shuts the write side down.
async fn finish(output: Arc<Output>, courier: Option<Courier>) -> io::Result<()> {
    match courier {
        // The last one to let go of the output shuts the write side down.
        None => output.drain().await,
        Some(mut courier) => {
            while !output.is_empty() {
                courier.deliver(&output).await?;
            }
            courier.shut_down().await?;
        }
    }
    Ok(())
}
