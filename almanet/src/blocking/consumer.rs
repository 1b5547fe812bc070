//! Events, waited for.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::engine::{Engine, Error, is_within_async};
use crate::event::{self, Received, Undecodable};

/// A subscription whose messages are values of `T`, and an iterator over them.
///
/// Dropped, it is closed and what it had not handed out goes back to the broker.
#[must_use = "events arrive by `recv`"]
pub struct Consumer<T> {
    /// `None` once reading a message has panicked.
    consumer: Option<event::Consumer<T>>,
    engine: Arc<Engine>,
}

/// What comes next: an event, or why it is none.
type Next<T> = Result<Received<T>, Error<Undecodable>>;

impl<T: DeserializeOwned + Send + 'static> Consumer<T> {
    pub(super) fn new(consumer: event::Consumer<T>, engine: Arc<Engine>) -> Self {
        Self {
            consumer: Some(consumer),
            engine,
        }
    }

    /// Waits for the next event; `None` once the session has been left.
    ///
    /// A message that is no `T` comes as [`Undecodable`], so that it can be looked at and answered. In an async task it is
    /// [`Error::WithinAsync`] each time.
    pub fn recv(&mut self) -> Option<Next<T>> {
        self.recv_timeout(Duration::MAX).unwrap_or_default()
    }

    /// Waits for the next event, but not longer than this; `Ok(None)` once the session has been left.
    ///
    /// # Errors
    ///
    /// [`NothingCame`] when the time is up.
    pub fn recv_timeout(&mut self, longest: Duration) -> Result<Option<Next<T>>, NothingCame> {
        if is_within_async() {
            return Ok(Some(Err(Error::WithinAsync)));
        }
        let Some(mut consumer) = self.consumer.take() else {
            return Ok(None);
        };
        let received = self.engine.wait(async move {
            let next = timeout(longest, consumer.recv()).await;
            (consumer, next)
        });
        let (consumer, next) = match received {
            Ok(received) => received,
            Err(error) => return Ok(Some(Err(error))),
        };
        self.consumer = Some(consumer);
        match next {
            Ok(Some(Ok(event))) => Ok(Some(Ok(event))),
            Ok(Some(Err(undecodable))) => Ok(Some(Err(Error::Operation(undecodable)))),
            Ok(None) => Ok(None),
            Err(_) => Err(NothingCame),
        }
    }

    /// Ends the consumer in order: what it had not handed out goes back to the broker, and events that were handed out
    /// are waited for.
    ///
    /// # Errors
    ///
    /// See [`Error`]; the consumer has been dropped then.
    pub fn close(mut self) -> Result<(), Error<Infallible>> {
        match self.consumer.take() {
            Some(consumer) => self.engine.wait(consumer.close()),
            None => Ok(()),
        }
    }
}

/// No event came in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no event came in time")]
pub struct NothingCame;

/// Ends when the session has been left.
impl<T: DeserializeOwned + Send + 'static> Iterator for Consumer<T> {
    type Item = Next<T>;

    fn next(&mut self) -> Option<Next<T>> {
        self.recv()
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Consumer").field(&self.consumer).finish()
    }
}
