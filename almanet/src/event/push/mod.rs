//! Events by pushing: each is given to a function. [`consumer`] is what there is to say about it, [`context`] what the
//! function can learn, [`layered`] what is around it, [`worker`] what becomes of each event, [`shown`] what others can learn of the consumer.

mod consumer;
mod context;
mod layered;
mod shown;
mod start;
mod worker;

pub use consumer::PushConsumer;
pub use context::EventContext;
pub use layered::{EventHandler, IncomingEvent};
pub(crate) use shown::ShownConsumer;
pub(crate) use start::subscribe;
