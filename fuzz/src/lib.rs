//! Fuzz targets: plain functions that read bytes as a peer might send them, and panic where a promise is broken.
//!
//! Each is run for a moment by the tests of this package, on any compiler, and for as long as one likes by cargo-fuzz:
//!
//! ```sh
//! cargo run -p almanet-fuzz --bin seeds                         # to begin with what is valid: fills fuzz/corpus
//! cargo +nightly fuzz run --features libfuzzer frame -- -max_total_time=60
//! ```
//!
//! What is found becomes a file in `fuzz/regressions/<target>`, which the tests run too.
//!
//! What `almanet-nsq` keeps to itself (what lookupd answers, compressed streams) is reached as a peer reaches it: over
//! a socket. So is a whole broker, by its TCP and its HTTP port, and whole sessions are, by a broker in memory. Those targets
//! are slower, by a factor of a hundred.

#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a target reports what it finds by panicking"
)]

mod target;

pub use target::{
    broker, command, compressed, envelope, event, frame, http, identify, lookup, name, publish, report,
    session, topics,
};

/// One target, as the tests and the program `seeds` see it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its program, its corpus and its regressions.
    pub name: &'static str,
    /// Reads these bytes, whatever they are.
    pub run: fn(&[u8]),
    /// Inputs that are valid, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Whether each run goes over a socket, or needs a broker.
    pub is_slow: bool,
}

/// All targets.
pub const TARGETS: [Target; 14] = [
    Target {
        name: "frame",
        run: frame,
        seeds: target::frame_seeds,
        is_slow: false,
    },
    Target {
        name: "command",
        run: command,
        seeds: target::command_seeds,
        is_slow: false,
    },
    Target {
        name: "identify",
        run: identify,
        seeds: target::identify_seeds,
        is_slow: false,
    },
    Target {
        name: "name",
        run: name,
        seeds: target::name_seeds,
        is_slow: false,
    },
    Target {
        name: "publish",
        run: publish,
        seeds: target::publish_seeds,
        is_slow: false,
    },
    Target {
        name: "envelope",
        run: envelope,
        seeds: target::envelope_seeds,
        is_slow: false,
    },
    Target {
        name: "event",
        run: event,
        seeds: target::event_seeds,
        is_slow: false,
    },
    Target {
        name: "report",
        run: report,
        seeds: target::report_seeds,
        is_slow: false,
    },
    Target {
        name: "lookup",
        run: lookup,
        seeds: target::lookup_seeds,
        is_slow: true,
    },
    Target {
        name: "topics",
        run: topics,
        seeds: target::topics_seeds,
        is_slow: true,
    },
    Target {
        name: "session",
        run: session,
        seeds: target::session_seeds,
        is_slow: true,
    },
    Target {
        name: "compressed",
        run: compressed,
        seeds: target::compressed_seeds,
        is_slow: true,
    },
    Target {
        name: "broker",
        run: broker,
        seeds: target::broker_seeds,
        is_slow: true,
    },
    Target {
        name: "http",
        run: http,
        seeds: target::http_seeds,
        is_slow: true,
    },
];
