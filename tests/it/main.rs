//! What users of `almanet` can see, over the embedded broker or, with `ALMANET_TEST_NSQD=host:port`, a real nsqd.

mod bad_input;
mod call;
mod compose;
mod contract;
mod errors;
mod events;
mod faults;
mod introspection;
mod macros;
mod raw;
mod restart;
mod schemas;
mod shutdown;
mod wire;
