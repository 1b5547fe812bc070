//! Reading a channel: [`Consumer`] is the user's side, [`Delivery`] one message in the user's hands, [`link`] the
//! connection that a delivery is answered on, [`ready`] how many messages each connection may have out, [`endpoint`]
//! the connection's side.

mod delivery;
mod endpoint;
mod link;
mod ready;
mod subscriber;

pub use delivery::Delivery;
pub use subscriber::Consumer;
