//! One HTTP request, bounded in time and size.

use std::{future::pending, pin::pin, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{
    Request, StatusCode,
    client::conn::http1,
    header::{ACCEPT, CONNECTION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::error::LookupError;
use crate::error::reason;

/// More than the head of any answer takes.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// The limits of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) time: Duration,
    pub(super) bytes: usize,
}

/// Asks `address` (`host:port`) for `path`.
///
/// Each request has a connection of its own: they are a minute apart, and nothing is left open meanwhile.
pub(super) async fn ask(
    address: &str,
    path: &str,
    limits: Limits,
) -> Result<(StatusCode, Bytes), LookupError> {
    let Limits { time, bytes } = limits;
    timeout(time, exchange(address, path, bytes))
        .await
        .map_err(|_| LookupError::TimedOut {
            address: address.to_owned(),
            after: time,
        })?
}

async fn exchange(address: &str, path: &str, limit: usize) -> Result<(StatusCode, Bytes), LookupError> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| LookupError::Unreachable {
            address: address.to_owned(),
            cause: reason(&error),
        })?;
    let broken = |error: hyper::Error| broken(address, &error);
    let request = Request::get(path)
        .header(HOST, address)
        .header(USER_AGENT, concat!("almanet-nsq/", env!("CARGO_PKG_VERSION")))
        // Versions of nsqlookupd before 1.0 answer in today's form only if they are asked for it.
        .header(ACCEPT, "application/vnd.nsq; version=1.0")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| LookupError::NotLookupd {
            address: address.to_owned(),
            cause: format!("it cannot be asked: {error}"),
        })?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;

    let asking = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), limit).collect().await;
        let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
            Ok(error) => broken(*error),
            Err(error) if error.is::<LengthLimitError>() => LookupError::TooLarge {
                address: address.to_owned(),
                limit,
            },
            Err(error) => LookupError::Lost {
                address: address.to_owned(),
                cause: error.to_string(),
            },
        })?;
        Ok((status, body.to_bytes()))
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

fn broken(address: &str, error: &hyper::Error) -> LookupError {
    let address = address.to_owned();
    let cause = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    if error.is_parse() {
        LookupError::NotLookupd { address, cause }
    } else {
        LookupError::Lost { address, cause }
    }
}
