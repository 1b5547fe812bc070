//! The settings of a consumer.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    delivery::Delivery,
    expected::Expected,
    give_up::{GiveUp, Hook},
    sample_rate::SampleRate,
};
use crate::config::{ConnectionConfig, LONGEST, SHORTEST, Window};

/// How a [`Consumer`](crate::Consumer) reads its channel.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    pub(super) connection: ConnectionConfig,
    pub(super) max_in_flight: usize,
    pub(super) window: Window,
    pub(super) msg_timeout: Option<Duration>,
    pub(super) close_timeout: Duration,
    pub(super) sample_rate: Option<SampleRate>,
    pub(super) backoff: Option<RangeInclusive<Duration>>,
    pub(super) low_rdy_timeout: Duration,
    pub(super) give_up: GiveUp,
    pub(super) auto_touch: Option<Duration>,
    pub(super) expected: Option<Expected>,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            connection: ConnectionConfig::default(),
            max_in_flight: 256,
            window: Window::Adaptive,
            msg_timeout: None,
            close_timeout: Duration::from_secs(30),
            sample_rate: None,
            backoff: Some(Duration::from_secs(1)..=Duration::from_secs(120)),
            low_rdy_timeout: Duration::from_secs(1),
            give_up: GiveUp::default(),
            auto_touch: None,
            expected: None,
        }
    }
}

impl ConsumerConfig {
    /// How the connections are made and kept.
    #[must_use]
    pub fn connection(mut self, connection: ConnectionConfig) -> Self {
        self.connection = connection;
        self
    }

    /// How many messages may be unanswered at once, over all connections.
    ///
    /// 256 by default: enough to keep a fast handler busy, few enough to share a channel with other consumers.
    /// Each connection gets its share, at most what its broker grants (`max_rdy_count`). Where there are more
    /// connections than that, they [take turns](Self::low_rdy_timeout).
    #[must_use]
    pub fn max_in_flight(mut self, max_in_flight: usize) -> Self {
        self.max_in_flight = max_in_flight;
        self
    }

    /// How many of these the broker may send ahead, and whether it may gather them.
    ///
    /// [`Window::Adaptive`] by default: as fast for a lone message as for a flood.
    #[must_use]
    pub fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// How many messages are still to come, as far as somebody knows; unset by default.
    ///
    /// [`Window::Adaptive`] has the broker hold messages back until they are all there, if they are few and turn out to come
    /// together. Any other window takes no notice.
    #[must_use]
    pub fn expected(mut self, expected: Expected) -> Self {
        self.expected = Some(expected);
        self
    }

    /// How long the broker waits for the answer to a message before it delivers the message again.
    ///
    /// The broker's own by default (nsqd: 60 s). nsqd refuses less than 1 s and more than its
    /// `--max-msg-timeout` (15 min).
    #[must_use]
    pub fn msg_timeout(mut self, msg_timeout: Duration) -> Self {
        self.msg_timeout = Some(msg_timeout);
        self
    }

    /// How long [`Consumer::close`](crate::Consumer::close) waits for deliveries that are being handled.
    ///
    /// 30 s by default, as long as orchestrators commonly wait before they kill a process.
    #[must_use]
    pub fn close_timeout(mut self, close_timeout: Duration) -> Self {
        self.close_timeout = close_timeout;
        self
    }

    /// How long a connection keeps its turn when [`max_in_flight`](Self::max_in_flight) is less than the number of
    /// connections.
    ///
    /// As many of them as there may be messages in flight have RDY 1 then, all others RDY 0, and a turn is passed on
    /// when it is over and no message of that connection is unanswered. 1 s by default: a message waits for it once
    /// for each connection that is before its own, and passing on costs two small writes. A message that is on its way
    /// when a turn ends comes on top.
    #[must_use]
    pub fn low_rdy_timeout(mut self, low_rdy_timeout: Duration) -> Self {
        self.low_rdy_timeout = low_rdy_timeout.clamp(SHORTEST, LONGEST);
        self
    }

    /// How long to pause when messages fail: the first pause and the longest; `None` for never.
    ///
    /// A message fails when it is [requeued](Delivery::requeue), dropped unanswered or given up. Then no broker sends
    /// anything (RDY 0) for a while, after which one message is asked for, on one connection (RDY 1). If it fails too,
    /// the next pause is twice as long; if it is finished, half as long, and after the shortest all is as before.
    /// What came before a pause does not count after it, so a burst of failures is one step. Half of each pause is
    /// left to chance, so that many consumers do not return in the same moment.
    ///
    /// 1 s to 2 min by default, as NSQ's client guide asks of every client and as go-nsq does: a handler whose
    /// database is down does not burn its messages' attempts. Turn it off where messages fail one by one, each for
    /// a reason of its own, and use a delay for each instead.
    #[must_use]
    pub fn backoff(mut self, pauses: impl Into<Option<RangeInclusive<Duration>>>) -> Self {
        let pauses = pauses.into();
        self.backoff = pauses.map(|pauses| (*pauses.start()).min(LONGEST)..=(*pauses.end()).min(LONGEST));
        self
    }

    /// How often a message may be delivered; more often than that, it is not handed out but given up.
    ///
    /// Unset by default, and then nothing is ever given up: NSQ has no place for such messages, so whoever limits
    /// their attempts should say what becomes of them with [`on_give_up`](Self::on_give_up). Otherwise they are
    /// logged, without their body, and finished.
    #[must_use]
    pub fn max_attempts(mut self, max_attempts: u16) -> Self {
        self.give_up.max_attempts = Some(max_attempts);
        self
    }

    /// What becomes of messages that have been delivered more often than [`max_attempts`](Self::max_attempts).
    ///
    /// `hook` has each to itself and answers it as any other: [`finish`](Delivery::finish), once what matters of it is
    /// safe elsewhere, or [`requeue`](Delivery::requeue). Dropped unanswered, also by a hook that panics, it is
    /// requeued. Hooks run beside each other, at most `max_in_flight` of them, and end with the consumer.
    ///
    /// ```
    /// use almanet_nsq::{ConsumerConfig, Producer, TopicName};
    ///
    /// fn with_dead_letters(producer: Producer, dead: TopicName) -> ConsumerConfig {
    ///     ConsumerConfig::default().max_attempts(5).on_give_up(move |delivery| {
    ///         let (producer, dead) = (producer.clone(), dead.clone());
    ///         async move {
    ///             // What is not confirmed is not finished: dropped, it is requeued.
    ///             if producer.publish(&dead, delivery.body().clone()).await.is_ok() {
    ///                 let _ = delivery.finish();
    ///             }
    ///         }
    ///     })
    /// }
    /// ```
    #[must_use]
    pub fn on_give_up<F>(mut self, hook: impl Fn(Delivery) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.give_up.hook = Some(Hook::new(hook));
        self
    }

    /// Touches each delivery that was handed out and is not answered, for this long at most.
    ///
    /// Off by default: a handler that hangs should lose its message. With it, the broker hears of the message before a
    /// third of its [`msg_timeout`](Self::msg_timeout) has passed, again and again, until it is answered or was
    /// held for `longest`; after that it is delivered again as any other. nsqd grants its `--max-msg-timeout` in all
    /// (15 min by default), so more than that is of no use.
    #[must_use]
    pub fn auto_touch(mut self, longest: impl Into<Option<Duration>>) -> Self {
        self.auto_touch = longest.into().map(|longest| longest.min(LONGEST));
        self
    }

    /// Asks for a part of the channel's messages only.
    ///
    /// Unset by default. The broker draws for each message that it would send; what is not drawn is gone for the
    /// channel, for other consumers of it too.
    #[must_use]
    pub fn sample_rate(mut self, sample_rate: SampleRate) -> Self {
        self.sample_rate = Some(sample_rate);
        self
    }
}
