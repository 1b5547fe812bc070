//! The way of the bytes from and to a client: its socket, TLS over it where both want that, compression over either.

use std::{io, time::Duration};

use almanet_nsq_proto::{Packer, Unpacker};
use bytes::{Buf, BytesMut};
#[cfg(feature = "tls")]
use tokio::net::TcpStream;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    task::coop::consume_budget,
    time::timeout,
};
#[cfg(feature = "tls")]
use tokio_rustls::server::TlsStream;

use super::output::Output;

/// How much packed input is read at once.
const READ_BYTES: usize = 16 * 1024;

/// How long a client that reads nothing is kept: nsqd's longest, which is the longest heartbeat interval.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// The direction from the client.
pub(super) struct Source {
    half: ReadHalf,
    unpacker: Option<Unpacker>,
}

pub(super) enum ReadHalf {
    Tcp(OwnedReadHalf),
    #[cfg(feature = "tls")]
    Tls(tokio::io::ReadHalf<TlsStream<TcpStream>>),
}

impl Source {
    pub(super) fn new(half: ReadHalf) -> Self {
        Self { half, unpacker: None }
    }

    /// From here on, what comes is packed.
    pub(super) fn unpack_with(&mut self, unpacker: Unpacker) {
        self.unpacker = Some(unpacker);
    }

    /// The socket of a plain connection.
    #[cfg(feature = "tls")]
    pub(super) fn into_socket(self) -> Option<OwnedReadHalf> {
        match self.half {
            ReadHalf::Tcp(half) => Some(half),
            ReadHalf::Tls(_) => None,
        }
    }

    /// Appends what the client sent to `buffer` and returns how many bytes that were; 0 at the end.
    ///
    /// Cancel safe: nothing that was read is lost.
    pub(super) async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let Some(unpacker) = &mut self.unpacker else {
            return self.half.read_buf(buffer).await;
        };
        loop {
            // A few bytes can unpack to very many, without ever waiting for the socket.
            consume_budget().await;
            if let Some(count) = unpacker.unpack(buffer)? {
                return Ok(count);
            }
            unpacker.packed().reserve(READ_BYTES);
            if self.half.read_buf(unpacker.packed()).await? == 0 {
                return Ok(0);
            }
        }
    }

    /// Reads to the client's end and forgets it, packed as it is.
    pub(super) async fn discard(&mut self) {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        while let Ok(1..) = self.half.read_buf(&mut buffer).await {
            buffer.clear();
        }
    }
}

impl ReadHalf {
    async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.read_buf(buffer).await,
            #[cfg(feature = "tls")]
            Self::Tls(half) => match half.read_buf(buffer).await {
                // Go's clients close without TLS's farewell. A command that was cut off is noticed without it.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                result => result,
            },
        }
    }
}

/// The direction to a client whose connection is upgraded: brings what gathers in its [`Output`] there.
///
/// Plain connections need none; their output writes into the socket itself.
pub(super) struct Courier {
    half: WriteHalf,
    packer: Option<Packer>,
    /// What is on its way, as it travels.
    packed: BytesMut,
    /// Whether encryption may hold something back.
    is_flushed: bool,
}

pub(super) enum WriteHalf {
    Tcp(OwnedWriteHalf),
    #[cfg(feature = "tls")]
    Tls(tokio::io::WriteHalf<TlsStream<TcpStream>>),
}

impl Courier {
    pub(super) fn new(half: WriteHalf) -> Self {
        Self {
            half,
            packer: None,
            packed: BytesMut::new(),
            is_flushed: true,
        }
    }

    /// From here on, what goes is packed.
    pub(super) fn pack_with(&mut self, packer: Packer) {
        self.packer = Some(packer);
    }

    /// Brings what is there, and returns when the operating system has it.
    ///
    /// Cancel safe: the next call goes on where this one was.
    pub(super) async fn deliver(&mut self, output: &Output) -> io::Result<()> {
        self.finish(output).await?;
        if let Some(mut frames) = output.take() {
            if let Some(packer) = &mut self.packer {
                packer.pack(&mut frames)?;
            }
            self.packed = frames;
            self.is_flushed = false;
            self.finish(output).await?;
        }
        Ok(())
    }

    /// Writes what was packed already.
    async fn finish(&mut self, output: &Output) -> io::Result<()> {
        while !self.packed.is_empty() {
            let written = in_time(self.half.any().write(&self.packed)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.packed.advance(written);
        }
        if !self.is_flushed {
            in_time(self.half.any().flush()).await?;
            self.is_flushed = true;
        }
        output.sent();
        Ok(())
    }

    /// Says that nothing more will come, in each of the forms.
    ///
    /// Go's clients take an end without deflate's own for a failure.
    pub(super) async fn shut_down(mut self) -> io::Result<()> {
        if let Some(packer) = self.packer {
            let end = packer.finish()?;
            self.half.any().write_all(&end).await?;
        }
        self.half.any().shutdown().await
    }
}

impl WriteHalf {
    fn any(&mut self) -> &mut (dyn AsyncWrite + Send + Unpin) {
        match self {
            Self::Tcp(half) => half,
            #[cfg(feature = "tls")]
            Self::Tls(half) => half,
        }
    }
}

async fn in_time<T>(writing: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(WRITE_TIMEOUT, writing)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
