//! One HTTP request to nsqlookupd.

use std::{error::Error, future::pending, pin::pin};

use almanet_nsq_proto::{ChannelName, TopicName};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request,
    client::conn::http1,
    header::{ACCEPT, CONNECTION, HOST},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

/// More than the head of any answer takes.
const MAX_HEAD: usize = 64 * 1024;

/// Room for ten thousand channels.
const MAX_ANSWER: usize = 1024 * 1024;

/// The answer to `/channels`.
#[derive(Debug, Deserialize)]
struct Answer {
    channels: Vec<String>,
}

/// The channels that other nodes have of a topic, as the nsqlookupd at `address` knows them.
pub(super) async fn channels(
    address: &str,
    topic: &TopicName,
) -> Result<Vec<ChannelName>, Box<dyn Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let request = Request::get(format!("/channels?topic={topic}"))
        .header(HOST, address)
        .header(ACCEPT, "application/vnd.nsq; version=1.0")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await?;
    let asking = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await?
            .to_bytes();
        if !status.is_success() {
            return Err(format!("it answers with status {status}").into());
        }
        let answer: Answer = serde_json::from_slice(&body)?;
        // A name that is none is another node's mistake.
        let names = answer
            .channels
            .iter()
            .filter_map(|name| ChannelName::new(name).ok());
        Ok(names.collect())
    };
    // What ends the connection is told to the side that asks too.
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
