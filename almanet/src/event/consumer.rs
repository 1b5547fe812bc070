//! Events by pulling: the consumer asks for the next one and answers it.

use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use futures_util::FutureExt;
use serde::de::DeserializeOwned;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{
    auto_ack::AutoAck,
    dead_letter::{Burial, Reason},
    incoming::{Entrance, Incoming, answered},
    received::{Received, Undecodable},
    topics::{CheckedTopics, Reading},
};
use crate::{
    error::ProduceError, session::Session, telemetry::Answered, transport::Subscription, wire::DecodeError,
};

/// A subscription whose messages are values of `T`.
///
/// Events are taken one by one ([`recv`](Self::recv), [`try_recv`](Self::try_recv), [`recv_timeout`](Self::recv_timeout), as
/// a [`Stream`]), in [batches](Self::recv_batch), or by a function ([`until`](Self::until),
/// [`poll_every`](Self::poll_every)). Dropped, the consumer is closed and what it had not handed out goes back to the
/// broker.
#[must_use = "events arrive by `recv`"]
pub struct Consumer<T> {
    session: Session,
    topics: CheckedTopics,
    entrance: Entrance,
    subscription: Subscription,
    leaving: Pin<Box<WaitForCancellationFutureOwned>>,
    value: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Consumer<T> {
    pub(super) fn new(session: Session, reading: Reading, subscription: Subscription) -> Self {
        Self {
            entrance: reading.entrance(&session),
            topics: reading.topics,
            leaving: Box::pin(session.leaving().clone().cancelled_owned()),
            session,
            subscription,
            value: PhantomData,
        }
    }

    /// The next event; `None` once the session has been left.
    ///
    /// A message that is no `T` comes as [`Undecodable`], so that it can be looked at and answered.
    ///
    /// # Cancel safety
    ///
    /// No event is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<Result<Received<T>, Undecodable>> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// An event that is there already; `None` when there is none, or the session has been left.
    ///
    /// Only what the broker has sent before counts, so a first call may find nothing where a [`recv_timeout`](Self::recv_timeout) of some
    /// milliseconds does.
    pub fn try_recv(&mut self) -> Option<Result<Received<T>, Undecodable>> {
        self.recv().now_or_never().flatten()
    }

    /// The next event; `None` when none has come after `longest`, or the session has been left.
    ///
    /// # Cancel safety
    ///
    /// No event is lost when the future is dropped.
    pub async fn recv_timeout(&mut self, longest: Duration) -> Option<Result<Received<T>, Undecodable>> {
        timeout(longest, self.recv()).await.ok().flatten()
    }

    /// Gives each event to `function` until it returns a value, which is the result; `None` when the session has been
    /// left before.
    ///
    /// ```no_run
    /// # async fn example(mut numbers: almanet::Consumer<u64>) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut sum = 0;
    /// let enough = numbers
    ///     .until(async |number| {
    ///         let Ok(number) = number else { return None };
    ///         sum += *number;
    ///         number.ack().ok()?;
    ///         (sum > 100).then_some(sum)
    ///     })
    ///     .await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped while `function` runs, the event that it has is delivered again.
    pub async fn until<R>(
        &mut self,
        mut function: impl AsyncFnMut(Result<Received<T>, Undecodable>) -> Option<R>,
    ) -> Option<R> {
        while let Some(event) = self.recv().await {
            if let Some(value) = function(event).await {
                return Some(value);
            }
        }
        None
    }

    /// Takes what is there once in each `period`, one event after another, and gives it to `function` until it returns a
    /// value, which is the result; `None` when the session has been left before.
    ///
    /// For work that shall be done together and not at once. Between two polls at most
    /// [`max_in_flight`](super::Consume::max_in_flight) events wait here, so `period` should be well below the message
    /// timeout.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped while `function` runs, the event that it has is delivered again.
    pub async fn poll_every<R>(
        &mut self,
        period: Duration,
        mut function: impl AsyncFnMut(Result<Received<T>, Undecodable>) -> Option<R>,
    ) -> Option<R> {
        let mut ticks = interval(period.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut self.leaving => return None,
                _ = ticks.tick() => {}
            }
            while let Some(event) = self.try_recv() {
                if let Some(value) = function(event).await {
                    return Some(value);
                }
            }
        }
    }

    /// A consumer that acknowledges each event as it hands it out.
    ///
    /// That is delivery at most once: an event whose handling fails or is cut off is gone.
    pub fn auto_ack(self) -> AutoAck<T> {
        AutoAck::new(self)
    }

    /// Puts an event aside, as [`PushConsumer`](crate::PushConsumer) does with those it gives up: publishes it to
    /// `<topic>.dlq` with `error` as the reason, then takes it out of the channel. See [`Session::dead_letters`].
    ///
    /// # Errors
    ///
    /// [`ProduceError`] when the dead letter is not confirmed. The event is delivered again then.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the event is delivered again.
    pub async fn dead_letter(
        &self,
        event: Received<T>,
        error: impl fmt::Display,
    ) -> Result<(), ProduceError> {
        self.bury(event.into_incoming(), Reason::Permanent, &error.to_string())
            .await
    }

    /// Puts a message aside that is no `T`. See [`dead_letter`](Self::dead_letter).
    ///
    /// # Errors
    ///
    /// As [`dead_letter`](Self::dead_letter).
    ///
    /// # Cancel safety
    ///
    /// As [`dead_letter`](Self::dead_letter).
    pub async fn dead_letter_undecodable(&self, message: Undecodable) -> Result<(), ProduceError> {
        let error = message.reason().to_string();
        self.bury(message.into_incoming(), Reason::Undecodable, &error)
            .await
    }

    async fn bury(&self, event: Incoming, reason: Reason, error: &str) -> Result<(), ProduceError> {
        let Some(topic) = self.topics.of_message(event.delivery.topic.as_deref()) else {
            return Ok(());
        };
        let burial = Burial {
            topic,
            channel: &self.entrance.channel,
            reason,
            error,
            attempts: event.attempts,
        };
        burial.publish(&self.session, &event).await?;
        answered(event.finish(Answered::DeadLetter));
        Ok(())
    }

    /// Ends the consumer in order: what it had not handed out goes back to the broker, and events that were handed
    /// out are waited for.
    pub async fn close(self) {
        self.subscription.close().await;
    }

    pub(super) fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Received<T>, Undecodable>>> {
        if self.session.leaving().is_cancelled() {
            return Poll::Ready(None);
        }
        loop {
            match self.subscription.poll_recv(cx) {
                Poll::Ready(Some(delivery)) => {
                    if let Some(event) = self.entrance.admit(delivery) {
                        return Poll::Ready(Some(self.read(event)));
                    }
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return self.leaving.poll_unpin(cx).map(|()| None),
            }
        }
    }

    fn read(&self, event: Incoming) -> Result<Received<T>, Undecodable> {
        let decoded = match event.payload() {
            Ok((codec, payload)) => codec.decode(payload),
            Err(error) => Err(DecodeError::new("", error.to_string())),
        };
        match decoded {
            Ok(value) => Ok(Received::new(value, event)),
            Err(source) => {
                let topic = self.topics.of_message(event.delivery.topic.as_deref()).cloned();
                Err(Undecodable::new(topic, source, event))
            }
        }
    }
}

impl<T: DeserializeOwned> Stream for Consumer<T> {
    type Item = Result<Received<T>, Undecodable>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_recv(cx)
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("topics", &self.topics)
            .field("channel", &self.entrance.channel)
            .finish_non_exhaustive()
    }
}
