//! The peers, and one of them at work.

use std::path::{Path, PathBuf};

use almanet_benches::{
    Failure,
    echo::Carrier,
    load::{Bound, Measured},
};
use bytes::Bytes;

use crate::{almanet::Almanet, nats::Nats};

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Almanet over a broker in this process.
    InProcess,
    /// Almanet over the embedded broker in a process of its own.
    Embedded,
    /// Almanet over an nsqd.
    Nsqd { address: String, carrier: Carrier },
    /// NATS request/reply.
    Nats { server: PathBuf },
}

impl Peer {
    /// All that can be compared with what is given.
    pub(crate) fn all(nsqd: Option<&str>, nats_server: &Path) -> Vec<Self> {
        let mut peers = vec![Self::InProcess, Self::Embedded];
        for carrier in [Carrier::Native, Carrier::TokioNsq] {
            peers.extend(nsqd.map(|address| Self::Nsqd {
                address: address.to_owned(),
                carrier,
            }));
        }
        let server = nats_server.to_owned();
        peers.push(Self::Nats { server });
        peers
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::InProcess => "almanet, broker in process",
            Self::Embedded => "almanet, embedded broker",
            Self::Nsqd {
                carrier: Carrier::Native,
                ..
            } => "almanet, nsqd",
            Self::Nsqd {
                carrier: Carrier::TokioNsq,
                ..
            } => "almanet on tokio-nsq, nsqd",
            Self::Nats { .. } => NATS,
        }
    }
}

/// The name of the peer that the others are measured by.
pub(crate) const NATS: &str = "NATS";

/// A peer whose broker, service and caller are there.
pub(crate) enum Running {
    Almanet(Box<Almanet>),
    Nats(Box<Nats>),
}

impl Running {
    pub(crate) async fn start(peer: &Peer) -> Result<Self, Failure> {
        let almanet = match peer {
            Peer::InProcess => Almanet::in_process().await?,
            Peer::Embedded => Almanet::embedded().await?,
            Peer::Nsqd { address, carrier } => Almanet::over_nsqd(address, *carrier).await?,
            Peer::Nats { server } => return Ok(Self::Nats(Box::new(Nats::start(server).await?))),
        };
        Ok(Self::Almanet(Box::new(almanet)))
    }

    /// Makes echo calls.
    pub(crate) async fn call(
        &self,
        concurrency: u64,
        bound: Bound,
        body: &Bytes,
    ) -> Result<Measured, Failure> {
        match self {
            Self::Almanet(almanet) => almanet.call(concurrency, bound, body).await,
            Self::Nats(nats) => nats.call(concurrency, bound, body).await,
        }
    }

    /// The broker's process, if it has its own and that can be seen.
    pub(crate) fn broker_pid(&self) -> Option<u32> {
        match self {
            Self::Almanet(almanet) => almanet.broker_pid(),
            Self::Nats(nats) => nats.broker_pid(),
        }
    }

    pub(crate) async fn end(self) -> Result<(), Failure> {
        match self {
            Self::Almanet(almanet) => almanet.end().await,
            Self::Nats(nats) => nats.end().await,
        }
    }
}
