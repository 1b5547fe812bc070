//! Calls that are answered by a stream of items.
//!
//! Items carry numbers, since NSQ keeps no order and may deliver twice: `reassembly` puts them in order. `open` is what
//! a caller has received of one stream and not yet taken, `streams` all of a session, `call` and `response` what users
//! see of it. `runs` are the streams that this session sends, which wait for credit.

mod call;
mod open;
mod reassembly;
mod response;
mod runs;
mod streams;

pub(super) use call::Opening;
pub use call::StreamCall;
pub(super) use response::Reading;
pub use response::ResponseStream;
pub(crate) use runs::{Granted, StreamRun};
pub(super) use streams::Streams;
