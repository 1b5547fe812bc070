//! What the layers around a procedure fail with, as errors that travel.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};

use futures_util::{
    TryFutureExt,
    future::{Either, MapErr},
};
use tower::{BoxError, Service, load_shed, timeout};

use super::procedure::Request;
use crate::{
    error::{INTERNAL_ERROR, OVERLOADED, RemoteError, TIMEOUT},
    wire::{Codec, Payload},
};

/// Makes what a layer fails with an error that travels, in the codec of the call.
#[derive(Debug, Clone)]
pub(super) struct Layered<S> {
    inner: S,
    /// Why the layer will never be ready, to be told with the next call.
    failed: Option<String>,
}

impl<S> Layered<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, failed: None }
    }
}

impl<S> Service<Request> for Layered<S>
where
    S: Service<Request, Response = Payload, Error: Into<BoxError>>,
{
    type Response = Payload;
    type Error = RemoteError;
    type Future = Either<MapErr<S::Future, fn(S::Error) -> RemoteError>, Ready<Result<Payload, RemoteError>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RemoteError>> {
        self.inner.poll_ready(cx).map(|ready| {
            self.failed = ready.err().map(|error| error.into().to_string());
            Ok(())
        })
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let codec = request.payload.codec();
        if let Some(reason) = self.failed.take() {
            return Either::Right(ready(Err(travelling(codec, reason.into()))));
        }
        let travelling: fn(S::Error) -> RemoteError = match codec {
            Codec::MessagePack => |error| travelling(Codec::MessagePack, error.into()),
            Codec::Json => |error| travelling(Codec::Json, error.into()),
        };
        Either::Left(self.inner.call(request).map_err(travelling))
    }
}

fn travelling(codec: Codec, error: BoxError) -> RemoteError {
    match error.downcast::<RemoteError>() {
        Ok(error) => error.in_codec(codec),
        Err(error) if error.is::<timeout::error::Elapsed>() => {
            RemoteError::sentence(codec, TIMEOUT, "the procedure took longer than a layer allows")
        }
        Err(error) if error.is::<load_shed::error::Overloaded>() => RemoteError::sentence(
            codec,
            OVERLOADED,
            "the service runs all the calls that it may run at once",
        ),
        Err(error) => {
            tracing::error!(error, "a layer failed: its caller is told that the procedure did");
            RemoteError::sentence(codec, INTERNAL_ERROR, "the procedure failed")
        }
    }
}
