//! Procedures that answer with a stream.
//!
//! The handler of such a procedure drives its stream to the end (`drive`), so that whatever is around handlers (layers,
//! limits, spans, touching the message) is around the whole stream. What it has for the caller goes through its `outlet`;
//! what is left in there when the handler has ended travels with the `end`.

mod drive;
mod end;
mod outlet;
mod procedure;

pub use drive::send_items;
pub(super) use outlet::{Asked, Outlet};
pub use procedure::{infallible_items, items_of};
