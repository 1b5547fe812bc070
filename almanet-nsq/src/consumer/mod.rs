//! Reading a channel: [`Consumer`] is the user's side, [`Delivery`] one message in the user's hands, [`link`] the
//! connection that a delivery is answered on, [`endpoint`] the connection's side, [`inbox`] what waits to be
//! handed out, [`lost`] which nodes are gone, [`subscriptions`] what all of them share, [`follow`] the coming and going of nodes.
//!
//! How many messages a broker may have out is decided in four steps: [`ready`] gives each connection its share,
//! [`pace`] measures what comes in, [`window`] finds how many the broker may send ahead of the answers, and [`flow`]
//! makes the RDY of it that the broker is told.

mod delivery;
mod endpoint;
mod flow;
mod follow;
mod inbox;
mod link;
mod lost;
mod pace;
mod ready;
mod subscriber;
mod subscriptions;
mod window;

pub use delivery::Delivery;
pub use subscriber::Consumer;
