//! Events by pushing: each is given to a function. [`consumer`] is what there is to say about it, [`context`] what the
//! function can learn, [`worker`] what becomes of each event.

mod consumer;
mod context;
mod start;
mod worker;

pub use consumer::PushConsumer;
pub use context::EventContext;
pub(crate) use start::subscribe;
