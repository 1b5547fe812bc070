//! The first words of a connection: the magic, IDENTIFY, and SUB where the connection is for reading.

use std::time::Duration;

use almanet_nsq_proto::{
    ChannelName, Command, Frame, FrameDecoder, HEARTBEAT, Identify, IdentifyResponse, MAGIC_V2, OK, TopicName,
};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tracing::debug;

use crate::{config::ConnectionConfig, connection::lost::Lost, error::ConnectError};

/// The type and the head of a message frame, which come on top of the message.
const MESSAGE_FRAME_HEAD: usize = 4 + 8 + 2 + 16;
/// Room for the answer to IDENTIFY, which is a JSON text, however small the messages are.
const SMALLEST_FRAME_LIMIT: usize = 64 * 1024;

/// What a connection is for, which decides what is said at its start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Purpose {
    /// The channel to read; `None` for a connection that publishes.
    pub(crate) subscription: Option<(TopicName, ChannelName)>,
    /// The message timeout to ask for.
    pub(crate) msg_timeout: Option<Duration>,
    /// Whether the broker shall write each message at once, whatever that costs.
    pub(crate) is_unbuffered: bool,
}

/// A connection on which both peers have greeted.
#[derive(Debug)]
pub(crate) struct Established {
    pub(super) stream: TcpStream,
    pub(super) decoder: FrameDecoder,
    /// What was read and not decoded yet.
    pub(super) received: BytesMut,
    /// What the broker said in answer to IDENTIFY.
    pub(crate) granted: IdentifyResponse,
}

/// Connects to `address` (`host:port`, resolved now) and greets, within the configured time.
pub(crate) async fn connect(
    address: &str,
    config: &ConnectionConfig,
    purpose: &Purpose,
) -> Result<Established, ConnectError> {
    timeout(config.connect_timeout, greet(address, config, purpose))
        .await
        .map_err(|_| ConnectError::TimedOut {
            address: address.to_owned(),
            after: config.connect_timeout,
        })?
}

async fn greet(
    address: &str,
    config: &ConnectionConfig,
    purpose: &Purpose,
) -> Result<Established, ConnectError> {
    let unreachable = |cause| ConnectError::Unreachable {
        address: address.to_owned(),
        cause,
    };
    let stream = TcpStream::connect(address).await.map_err(unreachable)?;
    // Commands leave in one write each time, so waiting for more to send only costs time.
    stream.set_nodelay(true).map_err(unreachable)?;
    let max_message_frame = config.max_message_size.saturating_add(MESSAGE_FRAME_HEAD);
    let mut talk = Talk {
        address,
        stream,
        decoder: FrameDecoder::new(max_message_frame.max(SMALLEST_FRAME_LIMIT)),
        received: BytesMut::new(),
    };

    let mut opening = BytesMut::from(&MAGIC_V2[..]);
    Command::Identify(Box::new(identify(config, purpose))).encode(&mut opening);
    let answer = talk.ask(&opening).await?;
    let granted = if answer == OK {
        IdentifyResponse::default()
    } else {
        serde_json::from_slice(&answer)
            .map_err(|error| talk.not_nsq(format!("its answer to IDENTIFY cannot be read: {error}")))?
    };
    debug!(address, ?granted, "greeted the broker");

    if let Some((topic, channel)) = &purpose.subscription {
        let mut subscribe = BytesMut::new();
        Command::Sub {
            topic: topic.clone(),
            channel: channel.clone(),
        }
        .encode(&mut subscribe);
        let answer = talk.ask(&subscribe).await?;
        if answer != OK {
            return Err(talk.not_nsq("its answer to SUB is not OK".to_owned()));
        }
    }
    Ok(Established {
        stream: talk.stream,
        decoder: talk.decoder,
        received: talk.received,
        granted,
    })
}

fn identify(config: &ConnectionConfig, purpose: &Purpose) -> Identify {
    Identify {
        client_id: config.client_id.clone(),
        hostname: config.hostname.clone(),
        user_agent: Some(config.user_agent.clone()),
        feature_negotiation: Some(true),
        heartbeat_interval: Some(millis(config.heartbeat_interval)),
        output_buffer_size: purpose.is_unbuffered.then_some(-1),
        msg_timeout: purpose.msg_timeout.map(millis),
        ..Identify::default()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Question and answer, one at a time, before the driver takes over.
struct Talk<'a> {
    address: &'a str,
    stream: TcpStream,
    decoder: FrameDecoder,
    received: BytesMut,
}

impl Talk<'_> {
    async fn ask(&mut self, question: &[u8]) -> Result<Bytes, ConnectError> {
        self.write(question).await?;
        loop {
            match self.read().await? {
                Frame::Response(answer) if answer == HEARTBEAT => {
                    let mut nop = BytesMut::new();
                    Command::Nop.encode(&mut nop);
                    self.write(&nop).await?;
                }
                Frame::Response(answer) => return Ok(answer),
                Frame::Error(cause) => {
                    return Err(ConnectError::Refused {
                        address: self.address.to_owned(),
                        cause,
                    });
                }
                Frame::Message(_) => {
                    return Err(self.not_nsq("it sends a message that nothing had asked for".to_owned()));
                }
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectError> {
        let written = self.stream.write_all(bytes).await;
        written.map_err(|error| self.lost(&Lost::Failed(error)))
    }

    async fn read(&mut self) -> Result<Frame, ConnectError> {
        loop {
            match self.decoder.decode(&mut self.received) {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => {}
                Err(error) => return Err(self.not_nsq(error.to_string())),
            }
            match self.stream.read_buf(&mut self.received).await {
                Ok(0) => return Err(self.lost(&Lost::Ended)),
                Ok(_) => {}
                Err(error) => return Err(self.lost(&Lost::Failed(error))),
            }
        }
    }

    fn not_nsq(&self, cause: String) -> ConnectError {
        ConnectError::NotNsq {
            address: self.address.to_owned(),
            cause,
        }
    }

    fn lost(&self, lost: &Lost) -> ConnectError {
        ConnectError::Lost {
            address: self.address.to_owned(),
            cause: lost.to_string(),
        }
    }
}
