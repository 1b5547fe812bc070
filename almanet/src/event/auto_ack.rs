//! A consumer that acknowledges what it hands out.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use serde::de::DeserializeOwned;

use super::{consumer::Consumer, received::Undecodable};

/// A [`Consumer`] that acknowledges each event as it hands it out: at most once, and nothing to answer.
///
/// ```no_run
/// # async fn example(session: almanet::Session) -> Result<(), Box<dyn std::error::Error>> {
/// let mut samples = session.consume_topic::<f64>("net.example.load", "chart").await?.auto_ack();
/// while let Some(Ok(load)) = samples.recv().await {
///     println!("{load}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "events arrive by `recv`"]
pub struct AutoAck<T>(Consumer<T>);

impl<T: DeserializeOwned> AutoAck<T> {
    pub(super) fn new(consumer: Consumer<T>) -> Self {
        Self(consumer)
    }

    /// The next event; `None` once the session has been left. A message that is no `T` is not acknowledged.
    ///
    /// # Cancel safety
    ///
    /// No event is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<Result<T, Undecodable>> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Ends the consumer in order: what it had not handed out goes back to the broker.
    pub async fn close(self) {
        self.0.close().await;
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Undecodable>>> {
        self.0
            .poll_recv(cx)
            .map(|event| event.map(|event| event.map(super::Received::into_acknowledged)))
    }
}

impl<T: DeserializeOwned> Stream for AutoAck<T> {
    type Item = Result<T, Undecodable>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_recv(cx)
    }
}
