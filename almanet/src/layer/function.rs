//! Layers from functions.

use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use tower::{Layer, Service};

use crate::service::Handler;

/// A layer from an async function that gets each call and what is inside of the layer.
///
/// ```
/// use almanet::{
///     Request, RpcError,
///     layer::{self, Next},
/// };
///
/// #[derive(Debug, thiserror::Error, RpcError)]
/// #[error("a token is needed")]
/// struct Unauthorised;
///
/// let authorised = layer::from_fn(|request: Request, next: Next| async move {
///     match request.context.headers().get("authorization") {
///         Some("Bearer 0123") => next.run(request).await,
///         _ => Err(request.raise(&Unauthorised)),
///     }
/// });
/// let service = almanet::Service::new().layer(authorised);
/// ```
///
/// Around the calls of a session the function takes an [`OutgoingCall`](crate::OutgoingCall) and a
/// [`Next`]`<`[`Caller`](crate::Caller)`>`; around a consumer an [`IncomingEvent`](crate::IncomingEvent) and a
/// [`Next`]`<`[`EventHandler`](crate::EventHandler)`>`.
pub fn from_fn<F>(function: F) -> FnLayer<F> {
    FnLayer {
        function: Arc::new(function),
    }
}

/// The layer that [`from_fn`] makes.
pub struct FnLayer<F> {
    function: Arc<F>,
}

impl<F, S> Layer<S> for FnLayer<F> {
    type Service = FnService<F, S>;

    fn layer(&self, inner: S) -> FnService<F, S> {
        FnService {
            function: Arc::clone(&self.function),
            inner,
        }
    }
}

impl<F> Clone for FnLayer<F> {
    fn clone(&self) -> Self {
        Self {
            function: Arc::clone(&self.function),
        }
    }
}

impl<F> fmt::Debug for FnLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnLayer").finish_non_exhaustive()
    }
}

/// A service with the layer of [`from_fn`] around it.
pub struct FnService<F, S> {
    function: Arc<F>,
    inner: S,
}

impl<F, S, R, O> Service<R> for FnService<F, S>
where
    S: Service<R> + Clone,
    F: Fn(R, Next<S>) -> O,
    O: Future<Output = Result<S::Response, S::Error>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = O;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> O {
        // The one that is ready goes along; a clone may not be.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        (self.function)(request, Next(ready))
    }
}

impl<F, S: Clone> Clone for FnService<F, S> {
    fn clone(&self) -> Self {
        Self {
            function: Arc::clone(&self.function),
            inner: self.inner.clone(),
        }
    }
}

impl<F, S> fmt::Debug for FnService<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnService").finish_non_exhaustive()
    }
}

/// What is inside of a layer that is a function.
#[derive(Debug)]
pub struct Next<S = Handler>(S);

impl<S> Next<S> {
    /// Lets the call pass on to the inside of the layer.
    ///
    /// # Errors
    ///
    /// Those of what is inside.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, so is what runs inside.
    pub async fn run<R>(mut self, request: R) -> Result<S::Response, S::Error>
    where
        S: Service<R>,
    {
        self.0.call(request).await
    }
}
