//! Accepts clients, up to the limit.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use almanet_nsq_proto::{ErrorCode, Frame, ProtocolError};
use bytes::BytesMut;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    channel::SubscriberId,
    client,
    config::BrokerConfig,
    limits::{LimitLog, LimitReached},
    registry::Registry,
};

/// How long to wait when no client can be accepted: most likely the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts clients until `stopped`; each is served by a task of `tasks`.
pub(crate) async fn run(
    listener: TcpListener,
    config: Arc<BrokerConfig>,
    registry: Arc<Registry>,
    tasks: TaskTracker,
    stopped: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
    let mut next_id = 0;
    loop {
        let accepted = tokio::select! {
            () = stopped.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                tokio::select! {
                    () = stopped.cancelled() => return,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => continue,
                }
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            let limit = config.max_connections;
            turn_away(stream, &LimitReached::Connections { limit }, registry.limit_log());
            continue;
        };
        next_id += 1;
        tracing::debug!(%peer, connection = next_id, "connection accepted");
        let served = client::serve(
            stream,
            peer,
            SubscriberId(next_id),
            Arc::clone(&config),
            Arc::clone(&registry),
            stopped.child_token(),
        );
        tasks.spawn(async move {
            served.await;
            drop(place);
        });
    }
}

/// Tells a client why it is closed, if its socket takes that at once.
fn turn_away(stream: TcpStream, reached: &LimitReached, log: &LimitLog) {
    log.report(reached, Instant::now());
    let refusal = ProtocolError::new(ErrorCode::from("E_TOO_MANY_CONNECTIONS"), reached.to_string());
    let mut bytes = BytesMut::new();
    Frame::Error(refusal).encode(&mut bytes);
    // Written past tokio, which does not know yet that the new socket takes bytes. It takes these few or the client
    // is closed without a word; nobody waits for it.
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(&bytes);
    }
}

/// Listens on `address`; gives the address that was bound too, which names the port when 0 was asked for.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}
