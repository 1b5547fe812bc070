//! Streams, waited for item by item.

use std::{fmt, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

use super::{
    call::Call,
    engine::{Engine, Error, is_within_async},
};
use crate::{
    error::{CallError, RemoteError, RpcError},
    session,
};

/// A call that asks for a stream: [`open`](Self::open) it, after settings if there are any.
#[must_use = "a call is made when it is opened"]
pub struct StreamCall<T, E = RemoteError> {
    call: session::StreamCall<T, E>,
    engine: Arc<Engine>,
}

impl<T, E> Call<T, E> {
    /// Asks for a stream of `T`: see [`Call::stream`](crate::Call::stream).
    pub fn stream(self) -> StreamCall<T, E> {
        let (call, engine) = self.into_parts();
        StreamCall {
            call: call.stream(),
            engine,
        }
    }
}

impl<T, E> StreamCall<T, E> {
    /// How long the service may be silent: see [`StreamCall::timeout`](crate::StreamCall::timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.call = self.call.timeout(timeout);
        self
    }

    /// How many items the service may send before they are taken: see
    /// [`StreamCall::credit`](crate::StreamCall::credit).
    pub fn credit(mut self, items: u32) -> Self {
        self.call = self.call.credit(items);
        self
    }
}

impl<T, E> StreamCall<T, E>
where
    T: DeserializeOwned + Send + 'static,
    E: RpcError,
{
    /// Makes the call, and waits until a broker has taken it.
    ///
    /// # Errors
    ///
    /// See [`CallError`] and [`Error`].
    pub fn open(self) -> Result<ResponseStream<T, E>, Error<CallError<E>>> {
        let items = self.engine.wait(self.call.into_future())??;
        Ok(ResponseStream {
            items: Some(items),
            engine: self.engine,
        })
    }
}

impl<T, E> fmt::Debug for StreamCall<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt(f)
    }
}

/// The items that a procedure sends, as an iterator that waits for each: see
/// [`ResponseStream`](crate::ResponseStream). Dropped before the end, the stream is cancelled.
#[must_use = "a stream is cancelled when it is dropped"]
pub struct ResponseStream<T, E = RemoteError> {
    /// `None` once reading an item has panicked.
    items: Option<session::ResponseStream<T, E>>,
    engine: Arc<Engine>,
}

/// Ends behind the last item or an error. In an async task each item is [`Error::WithinAsync`].
impl<T, E> Iterator for ResponseStream<T, E>
where
    T: DeserializeOwned + Send + 'static,
    E: RpcError,
{
    type Item = Result<T, Error<CallError<E>>>;

    fn next(&mut self) -> Option<Self::Item> {
        if is_within_async() {
            return Some(Err(Error::WithinAsync));
        }
        let mut items = self.items.take()?;
        let next = self.engine.wait(async move {
            let next = items.next().await;
            (items, next)
        });
        let (items, next) = match next {
            Ok(next) => next,
            Err(error) => return Some(Err(error)),
        };
        self.items = Some(items);
        next.map(|item| item.map_err(Error::Operation))
    }
}

impl<T, E> fmt::Debug for ResponseStream<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResponseStream").field(&self.items).finish()
    }
}
