//! What runs when a procedure is called, and the layers around it.

use std::{
    fmt,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{
    TryFutureExt,
    future::{BoxFuture, Either, FutureExt, MapErr},
};
use tower::{
    BoxError, Layer, Service, ServiceExt, load_shed, service_fn, timeout, util::BoxCloneSyncService,
};

use super::procedure::{Handler, Request};
use crate::{
    error::{INTERNAL_ERROR, OVERLOADED, RemoteError, TIMEOUT},
    wire::{Codec, Payload},
};

/// The user's function, which reads the payload by itself.
type Function = Arc<dyn Fn(Request) -> BoxFuture<'static, Result<Payload, RemoteError>> + Send + Sync>;

/// What runs when a procedure is called. Without layers nothing is paid for them.
#[derive(Clone)]
pub(crate) enum Runs {
    Bare(Function),
    Layered(Handler),
}

impl Runs {
    pub(super) fn bare<R>(function: impl Fn(Request) -> R + Send + Sync + 'static) -> Self
    where
        R: Future<Output = Result<Payload, RemoteError>> + Send + 'static,
    {
        Self::Bare(Arc::new(move |request| function(request).boxed()))
    }

    pub(crate) fn run(&self, request: Request) -> BoxFuture<'static, Result<Payload, RemoteError>> {
        match self {
            Self::Bare(function) => function(request),
            Self::Layered(handler) => handler.clone().oneshot(request).boxed(),
        }
    }

    pub(super) fn layer<L>(self, layer: &L) -> Self
    where
        L: Layer<Handler>,
        L::Service: Service<Request, Response = Payload, Error: Into<BoxError>, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let inner = match self {
            Self::Layered(handler) => handler,
            Self::Bare(function) => {
                BoxCloneSyncService::new(service_fn(move |request: Request| function(request)))
            }
        };
        Self::Layered(BoxCloneSyncService::new(Layered {
            inner: layer.layer(inner),
            failed: None,
        }))
    }
}

impl fmt::Debug for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bare(_) => "Bare",
            Self::Layered(_) => "Layered",
        })
    }
}

/// Makes what a layer fails with an error that travels, in the codec of the call.
#[derive(Debug, Clone)]
struct Layered<S> {
    inner: S,
    /// Why the layer will never be ready, to be told with the next call.
    failed: Option<String>,
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
