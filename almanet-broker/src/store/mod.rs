//! What outlives the process: topics, channels and messages, saved at a clean stop.
//!
//! [`Store`] is the room for it. The one kind there is, [`Snapshot`], writes everything into one file when the broker
//! stops. A log that is written as messages come would be another; the broker would not notice.

mod block;
mod error;
mod lock;
mod record;
mod snapshot;
#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf};

pub(crate) use self::{
    error::StoreError,
    record::{Record, SavedMessage},
    snapshot::{OpenError, Snapshot},
};

/// A place that keeps [records](Record) while no broker runs. Its methods block.
pub(crate) trait Store: fmt::Debug + Send {
    /// Hands over what was saved, in the order in which it was saved.
    ///
    /// What is damaged is no error: everything before the damage is handed over, and the rest is set aside.
    fn load(&mut self, take: &mut dyn FnMut(Record)) -> Result<Option<Damage>, StoreError>;

    /// Saves `records` in place of what was saved before.
    ///
    /// After an error, what was saved before is still there.
    fn save(&mut self, records: &mut dyn Iterator<Item = Record>) -> Result<(), StoreError>;
}

/// Why not everything that was saved came back.
#[derive(Debug)]
pub(crate) struct Damage {
    pub(crate) reason: String,
    /// Where the damaged file is now.
    pub(crate) set_aside: PathBuf,
}
