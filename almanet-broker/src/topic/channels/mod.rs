//! The channels of a topic: who gets a copy of a message, and who has no room for it.

mod list;
mod room;
mod saved;

pub(crate) use self::list::ChannelKey;
pub(super) use self::list::Channels;
