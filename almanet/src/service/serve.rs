//! A program that only serves.

use std::io;

use super::builder::Service;
use crate::{error::ServeError, session::Session};

impl Service {
    /// Connects to the brokers at `addresses` (separated by commas), serves until SIGINT or SIGTERM, then drains and
    /// leaves.
    ///
    /// # Errors
    ///
    /// [`ServeError`] when the service cannot start, or did not end in time.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the service stops in the background.
    pub async fn serve(self, addresses: impl AsRef<str>) -> Result<(), ServeError> {
        // Before anything else, so that no signal is missed.
        let signals = Signals::new().map_err(ServeError::Signals)?;
        let session = Session::connect(addresses).await?;
        let handle = self.start(&session).await?;
        let signal = signals.first().await;
        tracing::info!(signal, "stopping: running calls finish, no new ones are taken");
        handle.stop().await;
        session.leave().await?;
        Ok(())
    }
}

/// The signals that ask a process to end.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    /// The first signal that comes.
    async fn first(mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for Ctrl-C.
    async fn first(self) -> &'static str {
        match tokio::signal::ctrl_c().await {
            Ok(()) => "Ctrl-C",
            Err(_) => std::future::pending().await,
        }
    }
}
