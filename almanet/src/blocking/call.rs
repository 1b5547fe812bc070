//! One call, waited for.

use std::{fmt, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

use super::engine::{Engine, Error};
use crate::{
    error::{CallError, RemoteError, RpcError},
    session::{self, Retry},
};

/// A call that is about to be made: [`wait`](Self::wait) for it, after settings if there are any.
#[must_use = "a call is made when it is waited for"]
pub struct Call<T, E = RemoteError> {
    call: session::Call<T, E>,
    engine: Arc<Engine>,
}

impl<T, E> Call<T, E> {
    pub(super) fn new(call: session::Call<T, E>, engine: Arc<Engine>) -> Self {
        Self { call, engine }
    }

    pub(super) fn into_parts(self) -> (session::Call<T, E>, Arc<Engine>) {
        (self.call, self.engine)
    }

    /// How long to wait for the answer: see [`Call::timeout`](crate::Call::timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call = self.call.timeout(timeout);
        self
    }

    /// Says which errors the procedure returns: see [`Call::expecting`](crate::Call::expecting).
    pub fn expecting<F>(self) -> Call<T, F> {
        Call {
            call: self.call.expecting(),
            engine: self.engine,
        }
    }

    /// Ends the call when nobody serves the procedure: see
    /// [`Call::responders_within`](crate::Call::responders_within).
    pub fn responders_within(mut self, patience: Duration) -> Self {
        self.call = self.call.responders_within(patience);
        self
    }

    /// Sends a header along: see [`Call::header`](crate::Call::header).
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.call = self.call.header(name, value);
        self
    }

    /// Says that running the procedure twice does no more than running it once: see
    /// [`Call::idempotent`](crate::Call::idempotent).
    pub fn idempotent(mut self) -> Self {
        self.call = self.call.idempotent();
        self
    }

    /// When to send the call again if it fails: see [`Call::retry`](crate::Call::retry).
    pub fn retry(mut self, policy: Retry) -> Self {
        self.call = self.call.retry(policy);
        self
    }

    /// Which errors are worth another attempt: see [`Call::retry_if`](crate::Call::retry_if).
    pub fn retry_if(mut self, is_worth_it: impl Fn(&CallError<E>) -> bool + Send + Sync + 'static) -> Self
    where
        E: RpcError,
    {
        self.call = self.call.retry_if(is_worth_it);
        self
    }

    /// Names the work that is to be done once: see [`Call::idempotency_key`](crate::Call::idempotency_key).
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.call = self.call.idempotency_key(key);
        self
    }
}

impl<T, E> Call<T, E>
where
    T: DeserializeOwned + Send + 'static,
    E: RpcError,
{
    /// Makes the call, and waits for its answer.
    ///
    /// # Errors
    ///
    /// See [`CallError`] and [`Error`].
    pub fn wait(self) -> Result<T, Error<CallError<E>>> {
        Ok(self.engine.wait(self.call.into_future())??)
    }
}

impl<T, E> fmt::Debug for Call<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt(f)
    }
}
