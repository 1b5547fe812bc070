//! Procedures that are made of functions which return streams.

use std::future::ready;

use futures_core::Stream;
use futures_util::{StreamExt as _, future::Either};
use serde::{Serialize, de::DeserializeOwned};

use super::drive::send_items;
use crate::{
    error::{INVALID_PAYLOAD, RemoteError, RpcError, STREAM_ONLY},
    service::{Context, Procedure, Request, Runs},
    wire::Payload,
};

impl Procedure {
    /// A procedure called `uri` that answers with the stream which `function` returns, or fails before its first item.
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use almanet::{Context, Procedure};
    /// use futures_util::stream;
    ///
    /// let count = Procedure::streaming("net.example.count", |_: Context, to: u32| async move {
    ///     Ok(stream::iter((0..to).map(Ok::<_, Infallible>)))
    /// });
    /// ```
    ///
    /// The stream is polled as fast as its caller reads: no more items are made than the caller has given credit for. It is
    /// dropped when the caller drops its own, or is not heard of any more. A caller that wants one value gets
    /// [`CallError::StreamOnly`](crate::CallError::StreamOnly), and nothing runs.
    ///
    /// The procedure's [`timeout`](Self::timeout) is for the whole stream, and so is its place among those that
    /// [may run at once](Self::concurrency).
    pub fn streaming<F, P, R, S, T, E>(uri: impl AsRef<str>, function: F) -> Self
    where
        F: Fn(Context, P) -> R + Send + Sync + 'static,
        P: DeserializeOwned + Send + 'static,
        R: Future<Output = Result<S, E>> + Send + 'static,
        S: Stream<Item = Result<T, E>> + Send + 'static,
        T: Serialize,
        E: RpcError,
    {
        items_of(uri, move |context: Context, payload: P| {
            let stream = function(context.clone(), payload);
            async move { send_items(&context, stream.await).await }
        })
    }
}

/// A procedure that runs `function`, which [sends](send_items) the items itself.
pub fn items_of<F, P, R>(uri: impl AsRef<str>, function: F) -> Procedure
where
    F: Fn(Context, P) -> R + Send + Sync + 'static,
    P: DeserializeOwned + Send + 'static,
    R: Future<Output = Result<Payload, RemoteError>> + Send + 'static,
{
    let runs = Runs::bare(move |request: Request| {
        let codec = request.payload.codec();
        let refuse =
            |name, reason: &str| Either::Right(ready(Err(RemoteError::sentence(codec, name, reason))));
        if request.context.outlet().is_none() {
            return refuse(
                STREAM_ONLY,
                "the procedure answers with a stream of items, which its caller did not ask for",
            );
        }
        match request.payload.decode() {
            Ok(payload) => Either::Left(function(request.context, payload)),
            Err(error) => refuse(INVALID_PAYLOAD, &error.to_string()),
        }
    });
    Procedure::streamed(uri, runs)
}

/// The items of a stream that does not fail, as those of one that could.
pub fn infallible_items<T, E, S: Stream<Item = T>>(stream: S) -> impl Stream<Item = Result<T, E>> {
    stream.map(Ok)
}
