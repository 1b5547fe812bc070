//! Reading from one broker: a task that owns tokio-nsq's consumer and its messages.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use almanet::transport::{Delivery, MessageId};
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::sleep,
};
use tokio_nsq::{NSQConsumer, NSQConsumerConfig, NSQEvent, NSQMessage, NSQRequeueDelay};
use tokio_util::sync::CancellationToken;

use crate::delivery::{Answer, Answerer};

/// How long a connection that ended for good stays away, so that a broker that refuses it is not disturbed.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Reads one channel from one broker. There is one for each broker, because tokio-nsq's consumer, which can read from
/// several, does not tell which of them a message came from.
pub(crate) struct Reader {
    node: Arc<str>,
    config: NSQConsumerConfig,
    flush_interval: Duration,
    message_timeout: Duration,
    deliveries: mpsc::Sender<Delivery>,
    messages: HashMap<MessageId, NSQMessage>,
    answers: mpsc::UnboundedReceiver<(MessageId, Answer)>,
    answering: mpsc::UnboundedSender<(MessageId, Answer)>,
    connection: Arc<AtomicU64>,
    /// Told once, when the subscription is there.
    subscribed: Option<oneshot::Sender<()>>,
}

/// How a reader is told to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    /// Take no further messages; end once those that are out are answered.
    pub(crate) reading: CancellationToken,
    /// Do not wait for them any longer.
    pub(crate) waiting: CancellationToken,
}

impl Reader {
    pub(crate) fn new(
        node: Arc<str>,
        config: NSQConsumerConfig,
        flush_interval: Duration,
        message_timeout: Duration,
        deliveries: mpsc::Sender<Delivery>,
        subscribed: oneshot::Sender<()>,
    ) -> Self {
        let (answering, answers) = mpsc::unbounded_channel();
        Self {
            node,
            config,
            flush_interval,
            message_timeout,
            deliveries,
            messages: HashMap::new(),
            answers,
            answering,
            connection: Arc::new(AtomicU64::new(0)),
            subscribed: Some(subscribed),
        }
    }

    /// Reads until it is told to stop.
    pub(crate) async fn run(mut self, stop: Stop) {
        loop {
            let mut consumer = self.config.clone().build();
            if self.read(&mut consumer, &stop).await {
                return self.finish(consumer, &stop).await;
            }
            // tokio-nsq takes any error frame for the end of the connection, for good.
            tracing::warn!(node = %self.node, "the subscription has ended, subscribing again");
            self.forget();
            if stop
                .reading
                .run_until_cancelled(sleep(RETRY_DELAY))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    /// Hands messages out; `true` when it was told to stop, `false` when the consumer has nothing more to give.
    async fn read(&mut self, consumer: &mut NSQConsumer, stop: &Stop) -> bool {
        loop {
            tokio::select! {
                biased;
                () = stop.reading.cancelled() => return true,
                Some((id, answer)) = self.answers.recv() => self.answer(id, answer).await,
                event = consumer.consume() => match event {
                    Some(NSQEvent::Message(message)) => self.hand_out(message).await,
                    Some(NSQEvent::Healthy()) => {
                        self.forget();
                        if let Some(subscribed) = self.subscribed.take() {
                            let _ = subscribed.send(());
                        }
                    }
                    Some(NSQEvent::Unhealthy() | NSQEvent::Ok()) => {}
                    None => return false,
                },
            }
        }
    }

    async fn hand_out(&mut self, message: NSQMessage) {
        let id = MessageId::new(message.id);
        let answerer = Answerer {
            id,
            node: Arc::clone(&self.node),
            answers: self.answering.clone(),
            connection: self.connection.load(Ordering::Relaxed),
            present: Arc::clone(&self.connection),
            is_answered: false,
        };
        let mut message = message;
        let delivery = Delivery::new(
            std::mem::take(&mut message.body).into(),
            id,
            i64::try_from(message.timestamp).unwrap_or(i64::MAX),
            message.attempt,
            Arc::clone(&self.node),
            self.message_timeout,
            Box::new(answerer),
        );
        self.messages.insert(id, message);
        // Full only if messages were delivered again because nobody took them in time; dropped, it is requeued.
        if let Err(TrySendError::Full(_)) = self.deliveries.try_send(delivery) {
            tracing::warn!(node = %self.node, %id, "more messages than were asked for, one is requeued");
        }
    }

    async fn answer(&mut self, id: MessageId, answer: Answer) {
        if answer == Answer::Touch {
            if let Some(message) = self.messages.get(&id) {
                message.touch().await;
            }
            return;
        }
        let Some(message) = self.messages.remove(&id) else {
            return;
        };
        match answer {
            Answer::Requeue(Duration::ZERO) => message.requeue(NSQRequeueDelay::NoDelay).await,
            Answer::Requeue(delay) => message.requeue(NSQRequeueDelay::CustomDelay(delay)).await,
            Answer::Finish | Answer::Touch => message.finish().await,
        }
    }

    /// The messages of a connection that is gone cannot be answered on the next one.
    fn forget(&mut self) {
        self.connection.fetch_add(1, Ordering::AcqRel);
        self.messages.clear();
    }

    /// Waits for the answers that are missing, gives back what still comes, and lets all of it be written.
    async fn finish(mut self, mut consumer: NSQConsumer, stop: &Stop) {
        // tokio-nsq has neither RDY 0 nor CLS, so messages keep coming. They are kept until the end, and whatever is
        // requeued is delayed until the connection is gone: it would come straight back.
        let written = self.flush_interval * 2;
        let outlasting = written * 2;
        let mut late = Vec::new();
        while !self.messages.is_empty() {
            tokio::select! {
                biased;
                Some((id, answer)) = self.answers.recv() => {
                    let answer = match answer {
                        Answer::Requeue(delay) => Answer::Requeue(delay.max(outlasting)),
                        other => other,
                    };
                    self.answer(id, answer).await;
                }
                () = stop.waiting.cancelled() => break,
                event = consumer.consume() => match event {
                    Some(NSQEvent::Message(message)) => late.push(message),
                    Some(NSQEvent::Healthy()) => {
                        late.clear();
                        self.forget();
                    }
                    Some(NSQEvent::Unhealthy() | NSQEvent::Ok()) => {}
                    None => return,
                },
            }
        }
        for message in late {
            message.requeue(NSQRequeueDelay::CustomDelay(outlasting)).await;
        }
        sleep(written).await;
    }
}
