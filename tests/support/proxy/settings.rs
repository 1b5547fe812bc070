//! What a proxy has been told, as its connections read it.

use std::sync::Arc;

use bytes::Bytes;

/// Which way bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client: commands.
    ToBroker,
    /// From the broker: frames.
    ToClient,
}

impl Direction {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::ToBroker, Self::ToClient];
}

/// How a connection is cut, for both peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// As by a peer that closes its socket: what was handed on before arrives.
    Fin,
    /// As by a peer that crashed, or a firewall that lost its memory: an error, perhaps before what was handed on.
    Reset,
}

/// What becomes of the bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Flow {
    #[default]
    Forwarded,
    /// They are not read, so that they pile up at their sender.
    Stalled,
    Swallowed,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Way {
    pub(super) flow: Flow,
    /// The most that is read and written at once, where that is limited.
    pub(super) chunk: Option<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) upstream: String,
    pub(super) refuses: bool,
    to_broker: Way,
    to_client: Way,
    /// How often all connections have been cut, and how the last time.
    pub(super) cuts: u64,
    pub(super) cut: Cut,
    /// All frames ever injected. Each connection knows how many of them were there before it.
    pub(super) injected: Arc<Vec<Bytes>>,
}

impl Settings {
    pub(super) fn new(upstream: String) -> Self {
        Self {
            upstream,
            refuses: false,
            to_broker: Way::default(),
            to_client: Way::default(),
            cuts: 0,
            cut: Cut::Fin,
            injected: Arc::default(),
        }
    }

    pub(super) fn way(&self, direction: Direction) -> Way {
        match direction {
            Direction::ToBroker => self.to_broker,
            Direction::ToClient => self.to_client,
        }
    }

    pub(super) fn way_mut(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::ToBroker => &mut self.to_broker,
            Direction::ToClient => &mut self.to_client,
        }
    }
}
