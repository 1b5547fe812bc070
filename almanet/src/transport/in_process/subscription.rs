//! Taking messages from a channel, and answering them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use almanet_nsq::{AnswerError, ChannelName, TopicName};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    sync::watch,
    time::{Instant, Sleep, sleep_until, timeout},
};

use super::{
    queue::Queued,
    transport::{NODE, Shared},
};
use crate::transport::{
    api::{Source, SubscribeOptions},
    delivery::{Acknowledge, Delivery},
};

/// Nothing here times out: what the field says only sets how often handlers touch.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// One subscription.
pub(super) struct InProcessSource {
    place: Arc<Place>,
    node: Arc<str>,
    options: SubscribeOptions,
    /// Fires when what is deferred may be due.
    timer: Option<Pin<Box<Sleep>>>,
}

/// Where its messages come from and go back to.
struct Place {
    shared: Arc<Shared>,
    topic: TopicName,
    channel: ChannelName,
    /// How many messages are out.
    in_flight: watch::Sender<usize>,
}

impl InProcessSource {
    pub(super) fn new(
        shared: Arc<Shared>,
        topic: &TopicName,
        channel: &ChannelName,
        options: SubscribeOptions,
    ) -> Self {
        let place = Place {
            shared,
            topic: topic.clone(),
            channel: channel.clone(),
            in_flight: watch::Sender::new(0),
        };
        Self {
            place: Arc::new(place),
            node: NODE.into(),
            options,
            timer: None,
        }
    }

    fn deliver(&self, mut message: Queued) -> Delivery {
        message.attempts = message.attempts.saturating_add(1);
        message.due = None;
        self.place.in_flight.send_modify(|count| *count += 1);
        Delivery::new(
            message.body.clone(),
            message.id,
            message.timestamp,
            message.attempts,
            Arc::clone(&self.node),
            self.options.message_timeout.unwrap_or(MESSAGE_TIMEOUT),
            Box::new(Answer {
                place: Arc::clone(&self.place),
                message: Some(message),
            }),
        )
    }
}

#[async_trait]
impl Source for InProcessSource {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        loop {
            let mut topics = self.place.shared.topics();
            if topics.closed {
                return Poll::Ready(None);
            }
            let Some(queue) = topics.queue(&self.place.topic, &self.place.channel) else {
                return Poll::Ready(None);
            };
            // An answer wakes whoever waits, too.
            queue.wait(cx.waker());
            if *self.place.in_flight.borrow() >= self.options.max_in_flight {
                return Poll::Pending;
            }
            if let Some(message) = queue.pop(Instant::now()) {
                drop(topics);
                return Poll::Ready(Some(self.deliver(message)));
            }
            let Some(due) = queue.next_due() else {
                return Poll::Pending;
            };
            drop(topics);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    async fn close(self: Box<Self>) {
        let mut in_flight = self.place.in_flight.subscribe();
        let answered = in_flight.wait_for(|count| *count == 0);
        let _ = timeout(self.options.close_timeout, answered).await;
    }
}

impl Drop for InProcessSource {
    fn drop(&mut self) {
        let mut topics = self.place.shared.topics();
        topics.unsubscribe(&self.place.topic, &self.place.channel);
    }
}

/// The way back of one message. Dropped with the message still in it, it gives it back.
struct Answer {
    place: Arc<Place>,
    message: Option<Queued>,
}

impl Answer {
    fn give_back(&mut self, delay: Duration) {
        let Some(mut message) = self.message.take() else {
            return;
        };
        message.due = (delay > Duration::ZERO).then(|| Instant::now() + delay);
        self.end(Some(message));
    }

    /// One message less is out, so that another can be delivered.
    fn end(&self, back: Option<Queued>) {
        self.place
            .in_flight
            .send_modify(|count| *count = count.saturating_sub(1));
        let mut topics = self.place.shared.topics();
        if let Some(queue) = topics.queue(&self.place.topic, &self.place.channel) {
            match back {
                Some(message) => queue.push(message),
                None => queue.wake(),
            }
        }
    }
}

impl Acknowledge for Answer {
    fn finish(mut self: Box<Self>) -> Result<(), AnswerError> {
        self.message = None;
        self.end(None);
        Ok(())
    }

    fn publish_and_finish(self: Box<Self>, _: &TopicName, _: Bytes) -> Result<(), Box<dyn Acknowledge>> {
        // Publishing waits for nothing here.
        Err(self)
    }

    fn requeue(mut self: Box<Self>, delay: Duration) -> Result<(), AnswerError> {
        self.give_back(delay);
        Ok(())
    }

    fn touch(&self) -> Result<(), AnswerError> {
        Ok(())
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.give_back(Duration::ZERO);
    }
}
