//! The clients of a soak: each has a connection of its own, which can be cut.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use almanet_nsq::{
    ChannelName, ConnectionConfig, Consumer, ConsumerConfig, Delivery, Producer, ProducerConfig, TopicName,
};
use bytes::Bytes;
use fastrand::Rng;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::books::Books;
use crate::proxy::{Cut, Proxy};

/// The shortest that a broker grants.
const MSG_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a client holds what it shall outlast.
const HELD: Duration = Duration::from_millis(1300);
/// The longest delay of what is deferred or requeued.
const MAX_DELAY_MS: u64 = 2000;

/// What a client does.
#[derive(Clone, Debug)]
pub(super) enum Role {
    Publish { topic: TopicName, pause: Duration },
    Consume { topic: TopicName, channel: usize },
}

/// A client in a task of its own, behind a proxy of its own.
pub(super) struct Client {
    proxy: Proxy,
    role: Role,
    books: Arc<Books>,
    publish_no_more: CancellationToken,
    task: JoinHandle<()>,
}

impl Client {
    pub(super) async fn start(
        broker: &str,
        role: Role,
        books: &Arc<Books>,
        publish_no_more: &CancellationToken,
        random: Rng,
    ) -> Self {
        let proxy = Proxy::to(broker).await;
        let task = tokio::spawn(work(
            proxy.address(),
            role.clone(),
            Arc::clone(books),
            publish_no_more.clone(),
            random,
        ));
        Self {
            proxy,
            role,
            books: Arc::clone(books),
            publish_no_more: publish_no_more.clone(),
            task,
        }
    }

    /// Resets the connection. The client makes it again.
    pub(super) fn cut(&self) {
        self.proxy.cut(Cut::Reset);
    }

    /// Ends the client as a killed process ends: its connection is reset, and nobody says farewell. Another takes its
    /// place.
    pub(super) async fn kill(&mut self, random: Rng) {
        self.proxy.refuse(true);
        self.proxy.cut(Cut::Reset);
        self.task.abort();
        let _ = (&mut self.task).await;
        self.proxy.refuse(false);
        self.task = tokio::spawn(work(
            self.proxy.address(),
            self.role.clone(),
            Arc::clone(&self.books),
            self.publish_no_more.clone(),
            random,
        ));
    }

    pub(super) fn publishes(&self) -> bool {
        matches!(self.role, Role::Publish { .. })
    }

    /// Waits until a publisher has its last answer.
    pub(super) async fn done(self) {
        let _ = self.task.await;
    }

    /// Ends a consumer.
    pub(super) fn end(self) {
        self.task.abort();
    }
}

pub(super) fn channel_name(channel: usize) -> ChannelName {
    ChannelName::new(format!("channel_{channel}")).expect("a channel's name")
}

async fn work(
    address: String,
    role: Role,
    books: Arc<Books>,
    publish_no_more: CancellationToken,
    mut random: Rng,
) {
    let connection = ConnectionConfig::default()
        .connect_timeout(Duration::from_secs(1))
        .reconnect_delay(Duration::from_millis(1)..=Duration::from_millis(100));
    match role {
        Role::Publish { topic, pause } => {
            let config = ProducerConfig::default()
                .connection(connection)
                .publish_timeout(Duration::from_secs(5));
            let producer = Producer::connect_lazily(address, config);
            while !publish_no_more.is_cancelled() {
                publish(&producer, &topic, &books, &mut random).await;
                tokio::time::sleep(pause.mul_f32(2.0 * random.f32())).await;
            }
            producer.close().await;
        }
        Role::Consume { topic, channel } => {
            let config = ConsumerConfig::default()
                .connection(connection)
                .max_in_flight(64)
                .msg_timeout(MSG_TIMEOUT)
                .backoff(None);
            let name = channel_name(channel);
            loop {
                // The broker may be away, as it is being restarted.
                let connecting = Consumer::connect([&address], topic.clone(), name.clone(), config.clone());
                if let Ok(consumer) = connecting.await {
                    consume(consumer, channel, &books, &mut random).await;
                }
            }
        }
    }
}

/// Publishes one or several messages, at once or later.
async fn publish(producer: &Producer, topic: &TopicName, books: &Books, random: &mut Rng) {
    let kind = random.u8(0..10);
    let count = if kind == 0 { random.usize(2..20) } else { 1 };
    let numbers = books.begin(count);
    let mut bodies: Vec<_> = numbers.iter().map(|number| body(*number, random)).collect();
    let result = match (kind, bodies.pop()) {
        (1, Some(body)) => {
            let delay = Duration::from_millis(random.u64(1..MAX_DELAY_MS));
            producer.publish_after(topic, delay, body).await
        }
        (0, Some(last)) => {
            bodies.push(last);
            producer.publish_many(topic, bodies).await
        }
        (_, Some(body)) => producer.publish(topic, body).await,
        (_, None) => return,
    };
    books.published(&numbers, &result);
}

/// The number of the message, and some bytes more.
fn body(number: u64, random: &mut Rng) -> Bytes {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(size_of::<u64>() + random.usize(..300), b'.');
    body.into()
}

fn number(delivery: &Delivery) -> u64 {
    let head = delivery.body().first_chunk();
    u64::from_be_bytes(*head.unwrap_or(&[u8::MAX; size_of::<u64>()]))
}

async fn consume(mut consumer: Consumer, channel: usize, books: &Books, random: &mut Rng) {
    let mut held: VecDeque<(Instant, Delivery)> = VecDeque::new();
    loop {
        let until = held.front().map(|(since, _)| *since + HELD);
        let delivery = tokio::select! {
            delivery = consumer.recv() => delivery,
            () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                // Its answer comes too late, so it has to come again.
                held.pop_front();
                continue;
            }
        };
        let Some(delivery) = delivery else { return };
        let number = number(&delivery);
        books.delivered(number, channel, delivery.attempts());
        // On a connection that is gone, an answer is not heard, and the message comes again.
        match random.u8(0..100) {
            0 if held.len() < 8 => {
                books.count(|counts| counts.outlasted += 1);
                held.push_back((Instant::now(), delivery));
            }
            1..=3 => {
                books.count(|counts| counts.requeued += 1);
                let delay = Duration::from_millis(random.u64(0..MAX_DELAY_MS));
                let _ = delivery.requeue(delay);
            }
            4 => {
                let _ = delivery.touch();
                if delivery.finish().is_ok() {
                    books.consumed(number, channel);
                }
            }
            _ => {
                if delivery.finish().is_ok() {
                    books.consumed(number, channel);
                }
            }
        }
    }
}
