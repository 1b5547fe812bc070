//! A program's place among the others: it calls, produces and consumes through one [`Session`].

mod builder;
mod call;
mod gather;
mod leave;
mod pending;
mod publish;
mod replies;
mod shared;

pub use builder::SessionBuilder;
pub use call::Call;
pub use shared::Session;
