//! Discovery by nsqlookupd: [`directory`] is the user's side, [`nodes`] what was found, [`poll`] the task that asks
//! again and again, [`lookupd`] one nsqlookupd and whether it answers, [`http`] the asking, [`answer`] what the
//! answers say, [`known`] how they merge, [`topics`] which topics there are, [`subscribers`]
//! whether anybody reads one.

mod answer;
mod config;
mod directory;
mod error;
mod http;
mod known;
mod lookupd;
mod nodes;
mod poll;
mod subscribers;
mod topics;

pub use config::LookupConfig;
pub use directory::Lookup;
pub use error::LookupError;
pub use nodes::Nodes;
pub use topics::TopicList;
