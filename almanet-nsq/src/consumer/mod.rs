//! Reading a channel: [`Consumer`] is the user's side, [`Delivery`] one message in the user's hands, [`link`] the
//! connection that a delivery is answered on, [`endpoint`] the connection's side, [`inbox`] what waits to be
//! handed out, [`held`] what was, [`give_up`] what comes too often, [`lost`] which nodes are gone, [`subscriptions`] what all of them
//! share, [`follow`] the coming and going of nodes.
//!
//! How many messages a broker may have out is decided step by step: [`outcomes`] gathers how messages fared, [`backoff`]
//! says whether any are asked for, [`ready`] gives each connection its share, or its turn by [`turns`], [`pace`] measures
//! what comes in and [`burst`] sees what was published together, [`window`] finds how many the broker may send ahead of the
//! answers, by [`exact`] where it is known how many are to come ([`expected`]), [`prompt`] whether answers come at once, and [`flow`] makes the
//! RDY of it that the broker is told.

mod backoff;
mod burst;
mod config;
mod delivery;
mod endpoint;
mod exact;
mod expected;
mod flow;
mod follow;
mod give_up;
mod held;
mod inbox;
mod link;
mod lost;
mod onward;
mod outcomes;
mod pace;
mod prompt;
mod ready;
mod sample_rate;
mod subscriber;
mod subscriptions;
mod turns;
mod window;

pub use config::ConsumerConfig;
pub use delivery::Delivery;
pub use expected::Expected;
pub use sample_rate::SampleRate;
pub use subscriber::Consumer;
