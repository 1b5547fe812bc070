//! The way of the bytes: a socket, TLS over it where that was asked for, and compression over either.

use std::io;

use almanet_nsq_proto::{Packer, Unpacker};
use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::coop::consume_budget,
};
#[cfg(feature = "tls")]
use tokio_rustls::client::TlsStream;

use crate::compression::Compression;

/// How much packed input is read at once.
const READ_BYTES: usize = 16 * 1024;

/// Both directions of a connection.
pub(super) struct Stream {
    pub(super) source: Source,
    pub(super) sink: Sink,
}

impl Stream {
    pub(super) fn plain(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        Self {
            source: Source {
                half: ReadHalf::Tcp(read),
                unpacker: None,
            },
            sink: Sink {
                half: WriteHalf::Tcp(write),
                packer: None,
            },
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn secured(stream: TlsStream<TcpStream>) -> Self {
        let (read, write) = tokio::io::split(stream);
        Self {
            source: Source {
                half: ReadHalf::Tls(read),
                unpacker: None,
            },
            sink: Sink {
                half: WriteHalf::Tls(write),
                packer: None,
            },
        }
    }

    /// The socket of a plain connection, back from [`plain`](Self::plain).
    #[cfg(feature = "tls")]
    pub(super) fn into_socket(self) -> io::Result<TcpStream> {
        match (self.source.half, self.sink.half) {
            (ReadHalf::Tcp(read), WriteHalf::Tcp(write)) => read.reunite(write).map_err(io::Error::other),
            _ => Err(io::Error::other("the connection is secured already")),
        }
    }

    /// From here on both directions are compressed; `received` is what the peer has sent of it already.
    pub(super) fn compress(&mut self, compression: Compression, received: BytesMut) {
        let (unpacker, packer) = match compression {
            Compression::Snappy => (Unpacker::snappy(received), Packer::snappy()),
            Compression::Deflate(level) => (Unpacker::deflate(received), Packer::deflate(level.as_u8())),
        };
        self.source.unpacker = Some(unpacker);
        self.sink.packer = Some(packer);
    }
}

/// The direction from the peer.
pub(super) struct Source {
    half: ReadHalf,
    unpacker: Option<Unpacker>,
}

impl Source {
    /// Appends what the peer sent to `buffer` and returns how many bytes that were; 0 at the end.
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
}

/// The direction to the peer.
pub(super) struct Sink {
    half: WriteHalf,
    packer: Option<Packer>,
}

impl Sink {
    /// Bytes as they are, to somewhere that is no socket.
    #[cfg(test)]
    pub(super) fn test(sink: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        Self {
            half: WriteHalf::Test(Box::new(sink)),
            packer: None,
        }
    }

    /// Whether each byte that is written is a byte that was given, neither packed nor encrypted.
    pub(super) fn is_plain(&self) -> bool {
        let is_encrypted = match self.half {
            WriteHalf::Tcp(_) => false,
            #[cfg(feature = "tls")]
            WriteHalf::Tls(_) => true,
            #[cfg(test)]
            WriteHalf::Test(_) => false,
        };
        !is_encrypted && self.packer.is_none()
    }

    /// Puts the form in which `buffer` travels in its place; that is what [`write`](Self::write) takes.
    pub(super) fn pack(&mut self, buffer: &mut BytesMut) -> io::Result<()> {
        match &mut self.packer {
            Some(packer) => packer.pack(buffer),
            None => Ok(()),
        }
    }

    /// Writes a part of what was packed and returns how many bytes that were.
    pub(super) async fn write(&mut self, packed: &[u8]) -> io::Result<usize> {
        self.half().write(packed).await
    }

    /// Hands to the operating system what encryption still holds back.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.half().flush().await
    }

    /// Says that nothing more will come.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        self.half().shutdown().await
    }

    /// Packs and writes all of `buffer`.
    pub(super) async fn write_all(&mut self, mut buffer: BytesMut) -> io::Result<()> {
        self.pack(&mut buffer)?;
        self.half().write_all(&buffer).await?;
        self.flush().await
    }

    fn half(&mut self) -> &mut (dyn AsyncWrite + Send + Unpin) {
        match &mut self.half {
            WriteHalf::Tcp(half) => half,
            #[cfg(feature = "tls")]
            WriteHalf::Tls(half) => half,
            #[cfg(test)]
            WriteHalf::Test(half) => half,
        }
    }
}

enum ReadHalf {
    Tcp(OwnedReadHalf),
    #[cfg(feature = "tls")]
    Tls(tokio::io::ReadHalf<TlsStream<TcpStream>>),
}

impl ReadHalf {
    async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.read_buf(buffer).await,
            #[cfg(feature = "tls")]
            Self::Tls(half) => match half.read_buf(buffer).await {
                // nsqd closes without TLS's farewell. A frame that was cut off is noticed without it.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                result => result,
            },
        }
    }
}

enum WriteHalf {
    Tcp(OwnedWriteHalf),
    #[cfg(feature = "tls")]
    Tls(tokio::io::WriteHalf<TlsStream<TcpStream>>),
    #[cfg(test)]
    Test(Box<dyn AsyncWrite + Send + Unpin>),
}
