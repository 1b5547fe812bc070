//! A broker that does what a test tells it, on a real socket.

use std::{io, ops::RangeInclusive, time::Duration};

use almanet_nsq::{ChannelName, ConnectionConfig, MessageId, TopicName};
use almanet_nsq_proto::{
    Command, CommandDecoder, ErrorCode, Frame, Identify, IdentifyResponse, Limits, MAGIC_V2, Message, OK,
    ProtocolError,
};
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::packing::Packing;

/// Longer than anything here takes, so that a test that would hang fails instead.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

pub(crate) fn channel(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap()
}

pub(crate) fn body(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Reconnects fast, so that tests do not wait.
pub(crate) fn quick() -> ConnectionConfig {
    ConnectionConfig::default().reconnect_delay(Duration::from_millis(1)..=Duration::from_millis(20))
}

/// Waits for what must happen.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap()
}

pub(crate) fn id(number: u64) -> MessageId {
    MessageId::from_number(number)
}

pub(crate) struct Peer {
    listener: TcpListener,
    pub(crate) address: String,
    pub(crate) answer: IdentifyResponse,
}

impl Peer {
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer = IdentifyResponse {
            max_rdy_count: 2500,
            version: "scripted".to_owned(),
            msg_timeout: 60_000,
            ..IdentifyResponse::default()
        };
        Self {
            listener,
            address,
            answer,
        }
    }

    /// A connection on which nothing has been said.
    pub(crate) async fn accept_silently(&self) -> TcpStream {
        soon(self.listener.accept()).await.unwrap().0
    }

    /// A connection whose IDENTIFY has been answered.
    pub(crate) async fn accept(&self) -> Conversation {
        let mut stream = self.accept_silently().await;
        let mut magic = [0; 4];
        soon(stream.read_exact(&mut magic)).await.unwrap();
        assert_eq!(&magic, MAGIC_V2);
        let mut conversation = Conversation {
            stream,
            decoder: CommandDecoder::new(Limits::default()),
            received: BytesMut::new(),
            packing: None,
            identify: Identify::default(),
        };
        let Some(Command::Identify(identify)) = conversation.next().await else {
            panic!("the first command is not IDENTIFY");
        };
        conversation.identify = *identify;
        let answer = serde_json::to_vec(&self.answer).unwrap();
        conversation.send(Frame::Response(answer.into())).await;
        conversation
    }

    /// A connection whose subscription has been confirmed.
    pub(crate) async fn accept_subscriber(&self) -> Conversation {
        let mut conversation = self.accept().await;
        let Some(Command::Sub { .. }) = conversation.next().await else {
            panic!("the second command is not SUB");
        };
        conversation.ok().await;
        conversation
    }
}

/// One connection, from the broker's side.
pub(crate) struct Conversation<S = TcpStream> {
    pub(crate) stream: S,
    decoder: CommandDecoder,
    received: BytesMut,
    packing: Option<Packing>,
    pub(crate) identify: Identify,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    /// Goes on over another stream.
    #[cfg(feature = "tls")]
    pub(crate) async fn over<T>(
        self,
        upgrade: impl AsyncFnOnce(S) -> io::Result<T>,
    ) -> io::Result<Conversation<T>> {
        assert!(self.received.is_empty(), "the client did not wait for the answer");
        Ok(Conversation {
            stream: soon(upgrade(self.stream)).await?,
            decoder: self.decoder,
            received: self.received,
            packing: self.packing,
            identify: self.identify,
        })
    }

    /// Breaks the agreement: sends bytes as they are, and reads whatever comes until the client hangs up.
    pub(crate) async fn babble(mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        while !matches!(
            soon(self.stream.read_buf(&mut BytesMut::new())).await,
            Ok(0) | Err(_)
        ) {}
    }

    /// Goes on compressed, and says so.
    pub(crate) async fn pack(&mut self, packing: Packing) {
        assert!(self.received.is_empty(), "the client did not wait for the answer");
        self.packing = Some(packing);
        self.ok().await;
    }

    /// The next command; `None` when the client has hung up.
    pub(crate) async fn next(&mut self) -> Option<Command> {
        loop {
            if let Some(command) = self.decoder.decode(&mut self.received).unwrap() {
                return Some(command);
            }
            let mut read = BytesMut::new();
            match soon(self.stream.read_buf(&mut read)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => match &mut self.packing {
                    Some(packing) => self.received.extend(packing.unpack(&read)),
                    None => self.received.extend(read),
                },
            }
        }
    }

    pub(crate) async fn expect(&mut self, command: Command) {
        assert_eq!(self.next().await, Some(command));
    }

    /// The body of the next command, which has to be PUB.
    pub(crate) async fn published(&mut self) -> Bytes {
        match self.next().await {
            Some(Command::Pub { body, .. }) => body,
            other => panic!("{other:?} is not PUB"),
        }
    }

    pub(crate) async fn send(&mut self, frame: Frame) {
        let mut wire = BytesMut::new();
        frame.encode(&mut wire);
        self.raw(&wire).await;
    }

    pub(crate) async fn ok(&mut self) {
        self.send(Frame::Response(Bytes::from_static(OK))).await;
    }

    pub(crate) async fn error(&mut self, code: ErrorCode, text: &str) {
        self.send(Frame::Error(ProtocolError::new(code, text))).await;
    }

    pub(crate) async fn message(&mut self, number: u64, body: &'static str) {
        self.messages(number..=number, body).await;
    }

    /// Sends a message that is delivered for the `attempts`th time.
    pub(crate) async fn attempt(&mut self, number: u64, attempts: u16, body: impl Into<Bytes>) {
        self.send(Frame::Message(Message {
            timestamp: 1_700_000_000_000_000_000,
            attempts,
            id: id(number),
            body: body.into(),
        }))
        .await;
    }

    /// The next RDY, whatever comes before it.
    pub(crate) async fn ready(&mut self) -> u64 {
        loop {
            match self.next().await {
                Some(Command::Rdy(count)) => return count,
                Some(_) => {}
                None => panic!("the client has hung up"),
            }
        }
    }

    /// Sends messages in one write, so that the client reads all of them before it hands out the first.
    pub(crate) async fn messages(&mut self, numbers: RangeInclusive<u64>, body: &'static str) {
        let mut wire = BytesMut::new();
        for number in numbers {
            Frame::Message(Message {
                timestamp: 1_700_000_000_000_000_000,
                attempts: 1,
                id: id(number),
                body: Bytes::from_static(body.as_bytes()),
            })
            .encode(&mut wire);
        }
        self.raw(&wire).await;
    }

    /// Sends bytes that need not be a frame, compressed where that was agreed on.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.try_raw(bytes).await.unwrap();
    }

    /// As [`raw`](Self::raw), to a client that may hang up on it.
    pub(crate) async fn try_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let packed = self.packing.as_mut().map(|packing| packing.pack(bytes));
        self.stream.write_all(packed.as_deref().unwrap_or(bytes)).await?;
        self.stream.flush().await
    }

    /// Says nothing more, and reads to the end so that the client can read everything that was said.
    ///
    /// A socket that is closed with unread bytes is reset, which can destroy what was sent before.
    pub(crate) async fn hang_up(mut self) {
        self.stream.shutdown().await.unwrap();
        self.until_closed().await;
    }

    /// Waits until the client has hung up.
    pub(crate) async fn until_closed(&mut self) {
        while self.next().await.is_some() {}
    }
}
