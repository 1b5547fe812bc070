//! What users of `almanet` can see, over the embedded broker or, with `ALMANET_TEST_NSQD=host:port`, a real nsqd.

mod bad_input;
mod call;
mod cancelling;
mod circuit;
mod clocks;
mod compose;
mod cut_off;
mod deadlines;
mod discovery;
mod duplicates;
mod errors;
mod events;
mod failover;
mod faults;
mod lookupd;
mod macros;
mod nsq;
mod overload;
mod proxy;
mod restart;
mod retries;
mod shutdown;
mod spy;
mod wire;
