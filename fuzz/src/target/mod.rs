//! The targets, and valid inputs for each.

mod broker;
mod command;
mod compressed;
mod envelope;
mod frame;
mod identify;
mod lookup;
mod name;
mod pieces;
mod runtime;

pub use broker::{broker, http};
pub(super) use broker::{broker_seeds, http_seeds};
pub use command::{command, publish};
pub(super) use command::{command_seeds, publish_seeds};
pub use compressed::compressed;
pub(super) use compressed::compressed_seeds;
pub use envelope::envelope;
pub(super) use envelope::envelope_seeds;
pub use frame::frame;
pub(super) use frame::frame_seeds;
pub use identify::identify;
pub(super) use identify::identify_seeds;
pub use lookup::lookup;
pub(super) use lookup::lookup_seeds;
pub use name::name;
pub(super) use name::name_seeds;
