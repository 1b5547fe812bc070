//! Calls that are answered by a stream of items.

mod drain;
mod ends;
mod flow;
mod gone;
mod macros;
mod peers;
mod scripted;

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use almanet::{Context, Procedure, ResponseStream, RpcError, Service, ServiceHandle, Session};
use futures_util::{Stream, StreamExt as _, stream};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// Long before anything that a test waits for would end by itself.
async fn soon<T>(event: impl Future<Output = T>) -> T {
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, event)
        .await
        .expect("it comes soon")
}

async fn start(session: &Session, procedure: Procedure) -> ServiceHandle {
    Service::new().procedure(procedure).start(session).await.unwrap()
}

/// What a test sees of the streams of a procedure.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Seen {
    /// How many items were made.
    made: u64,
    dropped: u32,
}

/// Numbers from 0, counted when they are made; without an end when `to` is none. Says when it is dropped.
struct Numbers {
    next: u64,
    to: Option<u64>,
    seen: watch::Sender<Seen>,
}

impl Stream for Numbers {
    type Item = Result<u64, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        if self.to.is_some_and(|to| self.next >= to) {
            return Poll::Ready(None);
        }
        self.seen.send_modify(|seen| seen.made += 1);
        self.next += 1;
        Poll::Ready(Some(Ok(self.next - 1)))
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        self.seen.send_modify(|seen| seen.dropped += 1);
    }
}

/// A procedure that counts up to its payload, or for ever.
fn count(uri: &str) -> (Procedure, watch::Receiver<Seen>) {
    let (seen, sees) = watch::channel(Seen::default());
    let procedure = Procedure::streaming(uri, move |_: Context, to: Option<u64>| {
        let seen = seen.clone();
        async move { Ok(Numbers { next: 0, to, seen }) }
    });
    (procedure, sees)
}

/// A procedure that sends its payload, item by item, then nothing for ever.
fn quiet(uri: &str) -> (Procedure, watch::Receiver<Seen>) {
    let (seen, sees) = watch::channel(Seen::default());
    let procedure = Procedure::streaming(uri, move |_: Context, to: u64| {
        let seen = seen.clone();
        let numbers = Numbers {
            next: 0,
            to: Some(to),
            seen: seen.clone(),
        };
        let held = Numbers {
            next: 0,
            to: Some(0),
            seen,
        };
        let silence = stream::once(async move {
            let _held = held;
            std::future::pending::<Result<u64, Infallible>>().await
        });
        async move { Ok(numbers.chain(silence)) }
    });
    (procedure, sees)
}

/// All items, and the error behind them if there is one.
async fn all<T: DeserializeOwned, E: RpcError>(
    mut items: ResponseStream<T, E>,
) -> (Vec<T>, Option<almanet::CallError<E>>) {
    let mut taken = Vec::new();
    while let Some(item) = soon(items.next()).await {
        match item {
            Ok(item) => taken.push(item),
            Err(error) => {
                assert!(items.next().await.is_none(), "nothing comes after an error");
                return (taken, Some(error));
            }
        }
    }
    (taken, None)
}
