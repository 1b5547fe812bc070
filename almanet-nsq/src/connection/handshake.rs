//! The first words of a connection: the magic, IDENTIFY, and SUB where the connection is for reading.

use std::time::Duration;

use almanet_nsq_proto::{
    ChannelName, Command, FrameDecoder, Identify, IdentifyResponse, MAGIC_V2, OK, TopicName,
};
use bytes::BytesMut;
use tokio::{net::TcpStream, time::timeout};
use tracing::debug;

use super::{event::ConnectionRole, stream::Stream, talk::Talk, upgrade::upgrade};
use crate::{compression::Compression, config::ConnectionConfig, error::ConnectError};

/// The type and the head of a message frame, which come on top of the message.
const MESSAGE_FRAME_HEAD: usize = 4 + 8 + 2 + 16;
/// Room for the answer to IDENTIFY, which is a JSON text, however small the messages are.
const SMALLEST_FRAME_LIMIT: usize = 64 * 1024;

/// nsqd's default of `--min-output-buffer-timeout`; it refuses less.
const SHORTEST_OUTPUT_BUFFER_TIMEOUT: Duration = Duration::from_millis(25);

/// What a connection is for, which decides what is said at its start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Purpose {
    /// The channel to read; `None` for a connection that publishes.
    pub(crate) subscription: Option<(TopicName, ChannelName)>,
    /// The message timeout to ask for.
    pub(crate) msg_timeout: Option<Duration>,
    /// The percentage of the channel's messages to ask for.
    pub(crate) sample_rate: Option<u8>,
    /// Whether the broker shall write each message at once, whatever that costs.
    pub(crate) is_unbuffered: bool,
}

impl Purpose {
    pub(crate) fn role(&self) -> ConnectionRole {
        match self.subscription.clone() {
            Some((topic, channel)) => ConnectionRole::Consumer { topic, channel },
            None => ConnectionRole::Producer,
        }
    }
}

/// A connection on which both peers have greeted.
pub(crate) struct Established {
    pub(super) stream: Stream,
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
        stream: Stream::plain(stream),
        decoder: FrameDecoder::new(max_message_frame.max(SMALLEST_FRAME_LIMIT)),
        received: BytesMut::new(),
    };

    let mut opening = BytesMut::from(&MAGIC_V2[..]);
    Command::Identify(Box::new(identify(config, purpose))).encode(&mut opening);
    talk.write(opening).await?;
    let answer = talk.hear().await?;
    let granted = if answer == OK {
        IdentifyResponse::default()
    } else {
        serde_json::from_slice(&answer)
            .map_err(|error| talk.not_nsq(format!("its answer to IDENTIFY cannot be read: {error}")))?
    };
    debug!(address, ?granted, "greeted the broker");
    let mut talk = upgrade(talk, config, &granted).await?;

    if let Some((topic, channel)) = &purpose.subscription {
        talk.say(&Command::Sub {
            topic: topic.clone(),
            channel: channel.clone(),
        })
        .await?;
        talk.hear_ok("SUB").await?;
    }
    Ok(Established {
        stream: talk.stream,
        decoder: talk.decoder,
        received: talk.received,
        granted,
    })
}

fn identify(config: &ConnectionConfig, purpose: &Purpose) -> Identify {
    let deflate_level = match config.compression {
        Some(Compression::Deflate(level)) => Some(i64::from(level.as_u8())),
        _ => None,
    };
    Identify {
        client_id: config.client_id.clone(),
        hostname: config.hostname.clone(),
        user_agent: Some(config.user_agent.clone()),
        feature_negotiation: Some(true),
        heartbeat_interval: Some(millis(config.heartbeat_interval)),
        // A connection that nothing paces has no buffer: nsqd would hold messages back for up to 250 ms, hoping for more
        // to write with them.
        output_buffer_size: (purpose.is_unbuffered && deflate_level.is_none()).then_some(-1),
        // Without a buffer nsqd never flushes what its deflate holds back, and messages would wait for a heartbeat.
        output_buffer_timeout: deflate_level
            .filter(|_| purpose.is_unbuffered)
            .map(|_| millis(SHORTEST_OUTPUT_BUFFER_TIMEOUT)),
        msg_timeout: purpose.msg_timeout.map(millis),
        sample_rate: purpose.sample_rate.map(i64::from),
        tls_v1: config.wants_tls().then_some(true),
        snappy: matches!(config.compression, Some(Compression::Snappy)).then_some(true),
        deflate: deflate_level.map(|_| true),
        deflate_level,
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
