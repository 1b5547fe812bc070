//! Accepts clients, up to the limit.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use almanet_nsq_proto::{ErrorCode, Frame, ProtocolError};
use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{channel::SubscriberId, client, config::BrokerConfig, limits::LimitReached, registry::Registry};

/// How long to wait when no client can be accepted: most likely the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many clients at a time are told that there are too many; further ones are closed without a word.
const MAX_REFUSALS: usize = 64;

/// How long a refused client may take to hear why.
const LINGER: Duration = Duration::from_secs(1);

/// Accepts clients until `stopped`; each is served by a task of `tasks`.
pub(crate) async fn run(
    listener: TcpListener,
    config: Arc<BrokerConfig>,
    registry: Arc<Registry>,
    tasks: TaskTracker,
    stopped: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
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
            let reached = LimitReached::Connections { limit };
            registry.limit_log().report(&reached, Instant::now());
            if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
                let stopped = stopped.clone();
                tasks.spawn(async move {
                    let telling = timeout(LINGER, turn_away(stream, reached));
                    let _ = stopped.run_until_cancelled(telling).await;
                    drop(place);
                });
            }
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

/// Tells a client why it is closed.
async fn turn_away(mut stream: TcpStream, reached: LimitReached) {
    let refusal = ProtocolError::new(ErrorCode::from("E_TOO_MANY_CONNECTIONS"), reached.to_string());
    let mut bytes = BytesMut::new();
    Frame::Error(refusal).encode(&mut bytes);
    if stream.write_all(&bytes).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    // Closing with unread commands would reset the connection, and the reset destroys the answer.
    let mut buffer = [0; 1024];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

/// Listens on `address`; gives the address that was bound too, which names the port when 0 was asked for.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}
