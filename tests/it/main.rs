//! What users of `almanet` can see, over the embedded broker or, with `ALMANET_TEST_NSQD=host:port`, a real nsqd.

mod bad_input;
mod call;
mod cancelling;
mod circuit;
mod clocks;
mod compose;
mod deadlines;
mod duplicates;
mod errors;
mod events;
mod failover;
mod faults;
mod macros;
mod overload;
mod restart;
mod retries;
mod shutdown;
mod spy;
mod wire;
