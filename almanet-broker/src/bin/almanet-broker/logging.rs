//! What the program logs, and where to: to the standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// nsqd's levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogLevel(&'static str);

impl LogLevel {
    /// The names of all levels.
    pub(crate) const NAMES: [&str; 5] = ["debug", "info", "warn", "error", "fatal"];

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|known| *known == name).map(Self)
    }

    /// The level for tracing, which has none above `error`.
    fn directive(self) -> &'static str {
        match self.0 {
            "fatal" => "error",
            name => name,
        }
    }
}

/// Begins to log, at `level`; when it is not given at what `RUST_LOG` says, or else at `info`.
pub(crate) fn start(level: Option<LogLevel>) {
    let filter = match level {
        Some(level) => EnvFilter::new(level.directive()),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
}
