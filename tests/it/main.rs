//! What users of `almanet` can see, over the embedded broker or, with `ALMANET_TEST_NSQD=host:port`, a real nsqd.

mod bad_input;
mod call;
mod compose;
mod cut_off;
mod discovery;
mod errors;
mod events;
mod faults;
mod lookupd;
mod macros;
mod nsq;
mod proxy;
mod restart;
mod shutdown;
mod soak;
mod wire;
