//! What a proxy has seen.

use super::settings::Direction;

/// How much went through a proxy, since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were taken, with the broker behind them.
    pub accepted: u64,
    /// Connections that were reset at once, because the proxy was told to or because the broker was not there.
    pub refused: u64,
    /// Connections that are open now.
    pub open: u64,
    /// Bytes that the clients sent and that were handed on.
    pub to_broker: u64,
    /// Bytes that the broker sent and that were handed on; what was injected is not among them.
    pub to_client: u64,
    /// Bytes that were read and thrown away, in either direction.
    pub swallowed: u64,
    /// Frames that were injected, in each connection counted anew.
    pub injected: u64,
}

impl Counts {
    /// The bytes that were handed on in one direction.
    pub fn bytes(&self, direction: Direction) -> u64 {
        match direction {
            Direction::ToBroker => self.to_broker,
            Direction::ToClient => self.to_client,
        }
    }

    pub(super) fn bytes_mut(&mut self, direction: Direction) -> &mut u64 {
        match direction {
            Direction::ToBroker => &mut self.to_broker,
            Direction::ToClient => &mut self.to_client,
        }
    }
}
