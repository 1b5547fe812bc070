//! A connection to one nsqlookupd: commands and answers of its TCP protocol, "V1".

use std::{io, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

use super::identity::{Identity, LookupdInfo};
use crate::registration::Registration;

const MAGIC: &[u8] = b"  V1";
const OK: &[u8] = b"OK";

/// How long connecting, and then each batch of commands, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers are `OK`, an error, or half a line of JSON.
const MAX_ANSWER: usize = 64 * 1024;

/// How many commands are sent before their answers are read.
pub(super) const BATCH: usize = 256;

/// Why a connection to nsqlookupd ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    #[error("it cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("the connection is lost: {0}")]
    Lost(#[from] io::Error),
    #[error("it does not answer within {} s", PATIENCE.as_secs())]
    Silent,
    #[error("it closed the connection")]
    Closed,
    #[error("it answers {0:?}")]
    Refused(String),
    #[error("it sends an answer of {0} bytes: is it an nsqlookupd?")]
    AnswerSize(i32),
    #[error("its answer to IDENTIFY cannot be read: {0}")]
    Identify(serde_json::Error),
}

/// What it is told about a topic or channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Register(Registration),
    Unregister(Registration),
}

/// A connection on which the magic has been sent.
#[derive(Debug)]
pub(super) struct Connection {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Connection {
    pub(super) async fn open(address: &str) -> Result<Self, PeerError> {
        let stream = timeout(PATIENCE, TcpStream::connect(address))
            .await
            .map_err(|_| PeerError::Silent)?
            .map_err(PeerError::Unreachable)?;
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        writer.write_all(MAGIC).await?;
        Ok(Self {
            reader: BufReader::new(reader),
            writer,
        })
    }

    /// Says who the broker is; it answers who it is itself.
    pub(super) async fn identify(&mut self, identity: &Identity) -> Result<LookupdInfo, PeerError> {
        let body = serde_json::to_vec(identity).map_err(PeerError::Identify)?;
        let mut bytes = BytesMut::from(&b"IDENTIFY\n"[..]);
        bytes.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
        bytes.put_slice(&body);
        let answer = self.exchange(&bytes, 1).await?;
        if answer == OK {
            // So answers a version that could not make its JSON.
            return Ok(LookupdInfo::default());
        }
        match serde_json::from_slice(&answer) {
            Ok(info) => Ok(info),
            Err(_) if answer.starts_with(b"E_") => Err(refused(&answer)),
            Err(error) => Err(PeerError::Identify(error)),
        }
    }

    /// Sends commands and waits until they are confirmed.
    pub(super) async fn tell(&mut self, commands: &[Command]) -> Result<(), PeerError> {
        for batch in commands.chunks(BATCH) {
            let mut bytes = BytesMut::new();
            batch.iter().for_each(|command| command.encode(&mut bytes));
            let last = self.exchange(&bytes, batch.len()).await?;
            expect_ok(&last)?;
        }
        Ok(())
    }

    /// Says that the broker is alive.
    pub(super) async fn ping(&mut self) -> Result<(), PeerError> {
        let answer = self.exchange(b"PING\n", 1).await?;
        expect_ok(&answer)
    }

    /// Waits until nsqlookupd closes the connection, or says something unasked.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(super) async fn ended(&mut self) -> PeerError {
        match self.reader.fill_buf().await {
            Ok([]) => PeerError::Closed,
            Ok(unasked) => refused(unasked.get(..100).unwrap_or(unasked)),
            Err(error) => PeerError::Lost(error),
        }
    }

    /// Sends `bytes` and reads `count` answers, of which all but the last have to be `OK`; gives the last.
    async fn exchange(&mut self, bytes: &[u8], count: usize) -> Result<Bytes, PeerError> {
        let exchange = async {
            self.writer.write_all(bytes).await?;
            for _ in 1..count {
                expect_ok(&self.answer().await?)?;
            }
            self.answer().await
        };
        timeout(PATIENCE, exchange).await.map_err(|_| PeerError::Silent)?
    }

    async fn answer(&mut self) -> Result<Bytes, PeerError> {
        let size = match self.reader.read_i32().await {
            Ok(size) => size,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(PeerError::Closed),
            Err(error) => return Err(error.into()),
        };
        let length = usize::try_from(size)
            .ok()
            .filter(|length| *length <= MAX_ANSWER)
            .ok_or(PeerError::AnswerSize(size))?;
        let mut answer = vec![0; length];
        self.reader.read_exact(&mut answer).await?;
        Ok(answer.into())
    }
}

impl Command {
    fn encode(&self, out: &mut BytesMut) {
        let (verb, Registration { topic, channel }) = match self {
            Self::Register(registration) => ("REGISTER ", registration),
            Self::Unregister(registration) => ("UNREGISTER ", registration),
        };
        out.put_slice(verb.as_bytes());
        out.put_slice(topic.as_str().as_bytes());
        if let Some(channel) = channel {
            out.put_u8(b' ');
            out.put_slice(channel.as_str().as_bytes());
        }
        out.put_u8(b'\n');
    }
}

fn expect_ok(answer: &[u8]) -> Result<(), PeerError> {
    if answer == OK {
        Ok(())
    } else {
        Err(refused(answer))
    }
}

fn refused(answer: &[u8]) -> PeerError {
    PeerError::Refused(String::from_utf8_lossy(answer).into_owned())
}
