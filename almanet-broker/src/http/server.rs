//! Accepts HTTP clients, up to the limit, and gives none of them time without end.

use std::{future::poll_fn, pin::Pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{api::Api, routes::routes};
#[cfg(feature = "tls")]
use crate::tls::Tls;

/// How long a connection may go without the whole head of a request, from its beginning or its last answer.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client may read nothing of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the handshake of TLS may take, as over TCP.
#[cfg(feature = "tls")]
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the head of a request may take, in bytes.
const MAX_HEADER_SIZE: usize = 64 * 1024;

/// How many clients at a time are told that there are too many; further ones are closed without a word.
const MAX_REFUSALS: usize = 64;

/// How long a request may take to end when the broker stops, and a client to take its last answer.
const LINGER: Duration = Duration::from_secs(1);

/// How long to wait when no client can be accepted: most likely the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How clients come in.
#[derive(Debug, Clone)]
pub(crate) enum Door {
    Plain,
    #[cfg(feature = "tls")]
    Secure(Tls),
}

/// Accepts clients until `stopped`; each is served by a task of `tasks`.
pub(crate) async fn run(
    listener: TcpListener,
    door: Door,
    api: Arc<Api>,
    tasks: TaskTracker,
    stopped: CancellationToken,
) {
    let limit = api.config.max_http_connections;
    let places = Arc::clone(&api.places);
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let routes = routes(api, !matches!(door, Door::Plain));
    loop {
        let accepted = tokio::select! {
            () = stopped.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!(%error, "cannot accept an HTTP connection");
                tokio::select! {
                    () = stopped.cancelled() => return,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => continue,
                }
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::debug!("refusing an HTTP connection: max_http_connections is {limit}");
            if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
                tasks.spawn(async move {
                    let _ = timeout(LINGER, turn_away(stream)).await;
                    drop(place);
                });
            }
            continue;
        };
        let served = welcome(stream, door.clone(), routes.clone(), stopped.child_token());
        tasks.spawn(async move {
            served.await;
            drop(place);
        });
    }
}

/// Tells a client that there are too many.
async fn turn_away(mut stream: TcpStream) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    if stream.write_all(ANSWER).await.is_ok() {
        shut_down(stream).await;
    }
}

/// Serves one connection, after it is encrypted where that is to be.
async fn welcome(stream: TcpStream, door: Door, routes: Router, stopped: CancellationToken) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let stream = Box::pin(stream);
    match door {
        Door::Plain => serve(stream, routes, stopped).await,
        #[cfg(feature = "tls")]
        Door::Secure(tls) => {
            let accepting = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream));
            match stopped.run_until_cancelled(accepting).await {
                Some(Ok(Ok(stream))) => serve(stream, routes, stopped).await,
                Some(Ok(Err(error))) => tracing::debug!(%error, "no TLS with an HTTPS client"),
                Some(Err(_)) => tracing::debug!("no TLS with an HTTPS client in time"),
                None => {}
            }
        }
    }
}

/// Serves one connection until either side ends it, or `stopped`.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    routes: Router,
    stopped: CancellationToken,
) {
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_SIZE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let serving = async {
        let ended = tokio::select! {
            ended = poll_fn(|context| connection.poll_without_shutdown(context)) => Some(ended),
            () = stopped.cancelled() => None,
        };
        match ended {
            Some(ended) => ended,
            None => {
                Pin::new(&mut connection).graceful_shutdown();
                let finishing = poll_fn(|context| connection.poll_without_shutdown(context));
                timeout(LINGER, finishing).await.unwrap_or(Ok(()))
            }
        }
    };
    match serving.await {
        Ok(()) => {
            let stream = connection.into_parts().io.into_inner();
            let _ = timeout(LINGER, shut_down(stream)).await;
        }
        Err(error) => tracing::debug!(%error, "HTTP connection ends"),
    }
}

/// Ends a connection so that the client can read the last answer: it may still be sending what was refused.
async fn shut_down(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    if stream.shutdown().await.is_ok() {
        discard(stream).await;
    }
}

/// Reads to the client's end. Closing with unread bytes would reset the connection, and the reset destroys the answer.
async fn discard(mut stream: impl AsyncRead + Unpin) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}
