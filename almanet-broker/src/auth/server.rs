//! One question to an auth server, bounded in time and size.

use std::{future::pending, io, pin::pin, time::Duration};

use almanet_nsq_proto::Secret;
use bytes::Bytes;
use form_urlencoded::byte_serialize;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request, StatusCode,
    client::conn::http1,
    header::{ACCEPT, CONNECTION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::{authority::Asker, endpoint::Endpoint, grant::Answer};

/// nsqd's `--http-client-connect-timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// nsqd's `--http-client-request-timeout`, from the connection to the end of the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// More than the head of any answer takes.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Room for some thousand authorizations.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Why a server gave no answer. None of it repeats the request, which holds the secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServerError {
    #[error("cannot connect: {0}")]
    Unreachable(io::Error),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the question cannot be sent")]
    Unaskable,
    #[error("{0}")]
    Http(hyper::Error),
    #[error("the answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("the status is {0}")]
    Status(StatusCode),
    // Its own words would quote the answer, and that may repeat the secret.
    #[error("the answer is not the JSON that it should be: line {}, column {}", .0.line(), .0.column())]
    Json(serde_json::Error),
}

/// Asks one server, on a connection of its own.
pub(super) async fn ask(server: &Endpoint, secret: &Secret, asker: &Asker) -> Result<Answer, ServerError> {
    let asking = async {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(&server.address))
            .await
            .map_err(|_| ServerError::TimedOut(CONNECT_TIMEOUT))?
            .map_err(ServerError::Unreachable)?;
        exchange(stream, server, secret, asker).await
    };
    let body = timeout(REQUEST_TIMEOUT, asking)
        .await
        .map_err(|_| ServerError::TimedOut(REQUEST_TIMEOUT))??;
    serde_json::from_slice(&body).map_err(ServerError::Json)
}

async fn exchange(
    stream: TcpStream,
    server: &Endpoint,
    secret: &Secret,
    asker: &Asker,
) -> Result<Bytes, ServerError> {
    let request = Request::get(target(server, secret, asker))
        .header(HOST, &server.host)
        .header(USER_AGENT, concat!("almanet-broker/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/vnd.nsq; version=1.0")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| ServerError::Unaskable)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(ServerError::Http)?;
    let asking = async {
        let response = sender.send_request(request).await.map_err(ServerError::Http)?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(ServerError::Status(status));
        }
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect();
        Ok(body.await.map_err(ServerError::Body)?.to_bytes())
    };
    // What ends the connection is told to the side that asks too, and what was read before is still to be taken.
    let connection = async {
        let _ = connection.await;
        pending().await
    };
    let (asking, connection) = (pin!(asking), pin!(connection));
    tokio::select! {
        answer = asking => answer,
        never = connection => never,
    }
}

/// The path and the question, in nsqd's order.
fn target(server: &Endpoint, secret: &Secret, asker: &Asker) -> String {
    let encode = |bytes| byte_serialize(bytes).collect::<String>();
    format!(
        "{}?common_name={}&remote_ip={}&secret={}&tls={}",
        server.path,
        encode(asker.common_name.as_bytes()),
        encode(asker.remote_ip.as_bytes()),
        encode(secret.reveal()),
        asker.tls
    )
}
