//! One question to a server, and its answer.

use std::{future::pending, pin::pin, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request, StatusCode,
    client::conn::http1,
    header::{ACCEPT, CONNECTION, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use super::{address::Address, error::HttpClientError};
#[cfg(feature = "tls")]
use crate::tls::{TlsError, TlsVersion, Trust};

/// More than the head of any answer takes.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Room for some thousand authorizations, or ten thousand channels.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Asks HTTP servers, each time on a connection of its own: they are asked seldom.
#[derive(Debug, Clone)]
pub(crate) struct HttpClient {
    pub(crate) connect_timeout: Duration,
    /// From the connection to the end of the answer.
    pub(crate) request_timeout: Duration,
    #[cfg(feature = "tls")]
    pub(crate) trust: Trust,
}

impl Default for HttpClient {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(5),
            #[cfg(feature = "tls")]
            trust: Trust::default(),
        }
    }
}

impl HttpClient {
    /// Reads what servers' certificates are verified with, which is needed to ask over https. It blocks.
    #[cfg(feature = "tls")]
    pub(crate) fn load_trust(&mut self, min_version: TlsVersion) -> Result<(), TlsError> {
        self.trust.load(min_version)
    }

    /// Asks a server for `target`, a path and a query, and reads its answer. Redirections are not followed.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the connection ends; the server may have been asked.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        server: &Address,
        target: String,
    ) -> Result<T, HttpClientError> {
        let body = timeout(self.request_timeout, self.ask(server, target))
            .await
            .map_err(|_| HttpClientError::TimedOut(self.request_timeout))??;
        serde_json::from_slice(&body).map_err(HttpClientError::Json)
    }

    async fn ask(&self, server: &Address, target: String) -> Result<Bytes, HttpClientError> {
        let request = Request::get(target)
            .header(HOST, server.host())
            .header(USER_AGENT, concat!("almanet-broker/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/vnd.nsq; version=1.0")
            .header(CONNECTION, "close")
            .body(Empty::new())
            .map_err(|_| HttpClientError::Unaskable)?;
        let stream = timeout(self.connect_timeout, TcpStream::connect(server.authority()))
            .await
            .map_err(|_| HttpClientError::TimedOut(self.connect_timeout))?
            .map_err(HttpClientError::Unreachable)?;
        #[cfg(feature = "tls")]
        if server.is_secure() {
            let stream = self.trust.connect(server.server_name(), stream).await;
            return exchange(stream.map_err(HttpClientError::Tls)?, request).await;
        }
        exchange(stream, request).await
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Empty<Bytes>>,
) -> Result<Bytes, HttpClientError> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(HttpClientError::Http)?;
    let asking = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(HttpClientError::Http)?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(HttpClientError::Status(status));
        }
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect();
        Ok(body.await.map_err(HttpClientError::Body)?.to_bytes())
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
