//! Reading a channel: [`Consumer`] is the user's side, [`Delivery`] one message in the user's hands, [`link`] the
//! connection that a delivery is answered on, [`ready`] how many messages each connection may have out, [`endpoint`]
//! the connection's side, [`inbox`] what waits to be handed out, [`subscriptions`] what all of them share, [`follow`]
//! the coming and going of nodes.

mod delivery;
mod endpoint;
mod follow;
mod inbox;
mod link;
mod ready;
mod subscriber;
mod subscriptions;

pub use delivery::Delivery;
pub use subscriber::Consumer;
