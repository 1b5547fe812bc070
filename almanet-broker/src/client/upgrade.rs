//! What follows IDENTIFY where it was negotiated: TLS, then compression, each confirmed by an `OK` in its new form.
//!
//! Source of the order: nsqd's `protocol_v2.go`.

use std::{io, sync::Arc};

use almanet_nsq_proto::{Frame, OK, Packer, Unpacker};
use bytes::{Bytes, BytesMut};
use tokio::{net::TcpStream, time::timeout};

use super::{
    End,
    handler::Handler,
    output::{Output, Touched},
    transport::{Courier, ReadHalf, Source, WRITE_TIMEOUT, WriteHalf},
};
use crate::connections::Compression;
#[cfg(feature = "tls")]
use crate::tls;

/// What the two sides have agreed to change to.
#[derive(Debug, Clone, Default)]
pub(super) struct Upgrade {
    #[cfg(feature = "tls")]
    pub(super) tls: Option<tls::Tls>,
    pub(super) compression: Option<Compression>,
}

impl Upgrade {
    pub(super) fn is_none(&self) -> bool {
        !self.has_tls() && self.compression.is_none()
    }

    pub(super) fn has_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }
}

/// Both directions of a connection.
pub(super) struct Link {
    pub(super) source: Source,
    pub(super) output: Arc<Output>,
    /// Who brings the output to the client, once the connection is upgraded.
    pub(super) courier: Option<Courier>,
}

impl Link {
    pub(super) fn plain(stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            source: Source::new(ReadHalf::Tcp(reader)),
            output: Output::plain(writer),
            courier: None,
        }
    }

    /// Makes of a plain connection, whose `output` nobody else holds any more, what was agreed.
    ///
    /// `received` is what the client has sent behind its IDENTIFY. `handler` learns what came of it.
    pub(super) async fn upgrade(
        self,
        upgrade: Upgrade,
        output: Arc<Output>,
        received: &mut BytesMut,
        handler: &mut Handler,
    ) -> Result<Self, End> {
        // The answer to IDENTIFY is the last plain frame, and has to be gone.
        timeout(WRITE_TIMEOUT, self.output.drain())
            .await
            .map_err(|_| End::Stuck)?;
        let writer = Arc::into_inner(self.output)
            .and_then(Output::into_socket)
            .ok_or(End::Failed(io::ErrorKind::Other))?;

        #[cfg(feature = "tls")]
        let (source, mut courier) = match upgrade.tls {
            Some(tls) => secure(self.source, writer, &tls, &output, received, handler).await?,
            None => (self.source, Courier::new(WriteHalf::Tcp(writer))),
        };
        #[cfg(not(feature = "tls"))]
        let (source, mut courier) = (self.source, Courier::new(WriteHalf::Tcp(writer)));
        let mut source = source;

        if let Some(compression) = upgrade.compression {
            // The first compressed bytes may have come together with the last plain ones.
            let received = received.split();
            let (unpacker, packer) = match compression {
                Compression::Snappy => (Unpacker::snappy(received), Packer::snappy()),
                Compression::Deflate(level) => (Unpacker::deflate(received), Packer::deflate(level)),
            };
            source.unpack_with(unpacker);
            courier.pack_with(packer);
            handler.compressed(compression);
            confirm(&output, &mut courier).await?;
        }
        Ok(Self {
            source,
            output,
            courier: Some(courier),
        })
    }
}

#[cfg(feature = "tls")]
async fn secure(
    source: Source,
    writer: tokio::net::tcp::OwnedWriteHalf,
    tls: &tls::Tls,
    output: &Arc<Output>,
    received: &BytesMut,
    handler: &mut Handler,
) -> Result<(Source, Courier), End> {
    // Whoever can write into the plain connection could otherwise have its words taken for the client's.
    if !received.is_empty() {
        return Err(End::Handshake(io::Error::other(
            "the client went on in plain after it had asked for TLS",
        )));
    }
    let socket = source
        .into_socket()
        .and_then(|reader| reader.reunite(writer).ok())
        .ok_or(End::Failed(io::ErrorKind::Other))?;
    let secured = timeout(HANDSHAKE_TIMEOUT, tls.accept(socket))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(End::Handshake)?;
    handler.secured(secured.get_ref().1);
    let (reader, writer) = tokio::io::split(secured);
    let mut courier = Courier::new(WriteHalf::Tls(writer));
    confirm(output, &mut courier).await?;
    Ok((Source::new(ReadHalf::Tls(reader)), courier))
}

/// How long the handshake of TLS may take: nsqd's time for it.
#[cfg(feature = "tls")]
const HANDSHAKE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

async fn confirm(output: &Arc<Output>, courier: &mut Courier) -> Result<(), End> {
    let mut touched = Touched::default();
    output.write(&Frame::Response(Bytes::from_static(OK)), &mut touched);
    touched.flush();
    courier
        .deliver(output)
        .await
        .map_err(|error| End::Failed(error.kind()))
}
