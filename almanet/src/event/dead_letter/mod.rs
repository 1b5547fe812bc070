//! Events that are given up: [`bury`] puts them aside, [`letter`] is what is known of one, [`replay`] lists them and
//! brings them back.

mod bury;
mod letter;
mod replay;

pub(super) use bury::{Burial, dead_letter_topic};
pub use letter::{DeadLetter, Reason};
pub use replay::{DeadLetters, Replayed};
