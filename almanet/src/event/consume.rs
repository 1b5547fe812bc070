//! Starting to consume: what is asked for, and the settings.

use std::{future::IntoFuture, marker::PhantomData, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use serde::de::DeserializeOwned;

use super::{
    Event,
    consumer::Consumer,
    topics::{Channel, FOLLOW_INTERVAL, Reading, Topics},
};
use crate::{error::ConsumeError, session::Session, transport::SubscribeOptions};

impl Session {
    /// Consumes the events of type `E` as a member of `channel`. To be awaited, after settings if there are any; the
    /// subscription is confirmed then.
    ///
    /// Consumers of one channel share its events; each channel gets all of them, from when it was first subscribed to.
    ///
    /// ```no_run
    /// # use almanet::Event;
    /// # #[derive(serde::Serialize, serde::Deserialize, Event)]
    /// # #[event(topic = "net.example.joined")]
    /// # struct UserJoined { name: String }
    /// # async fn example(session: almanet::Session) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut joined = session.consume::<UserJoined>("mailer").await?;
    /// while let Some(event) = joined.recv().await {
    ///     let event = event?;
    ///     println!("welcome, {}", event.name);
    ///     event.ack()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConsumeError`] when a name is not valid or no broker took the subscription.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, nothing is left subscribed.
    pub fn consume<E: Event>(&self, channel: impl AsRef<str>) -> Consume<E> {
        self.consume_topic(E::TOPIC, channel)
    }

    /// Consumes `topic`, whose messages are values of `T`, as a member of `channel`.
    ///
    /// # Errors
    ///
    /// As [`Session::consume`].
    ///
    /// # Cancel safety
    ///
    /// As [`Session::consume`].
    pub fn consume_topic<T: DeserializeOwned>(
        &self,
        topic: impl AsRef<str>,
        channel: impl AsRef<str>,
    ) -> Consume<T> {
        let topics = Topics::One(topic.as_ref().to_owned());
        Consume::new(self, topics, Channel::Named(channel.as_ref().to_owned()))
    }

    /// Consumes the events of type `E` that are published from now on, on a channel of this consumer's own, which ends
    /// with it: every instance of a program gets every event.
    ///
    /// ```no_run
    /// # use almanet::Event;
    /// # #[derive(serde::Serialize, serde::Deserialize, Event)]
    /// # #[event(topic = "net.example.price_changed")]
    /// # struct PriceChanged { article: u64 }
    /// # async fn example(session: almanet::Session) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut changes = session.consume_broadcast::<PriceChanged>().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Session::consume`].
    ///
    /// # Cancel safety
    ///
    /// As [`Session::consume`].
    pub fn consume_broadcast<E: Event>(&self) -> Consume<E> {
        Consume::new(self, Topics::One(E::TOPIC.to_owned()), Channel::Own)
    }

    /// Consumes all topics that match `pattern` (see [`TopicPattern`](crate::TopicPattern)) as a member of `channel` on
    /// each, and follows topics as they appear. Each event says where it comes from
    /// ([`Received::topic`](crate::Received::topic)).
    ///
    /// A topic that appears is found within [`follow_interval`](Consume::follow_interval), and keeps its messages until
    /// then. It is looked for while the consumer is asked for events.
    ///
    /// Somebody has to say which topics there are: an nsqlookupd
    /// ([`SessionBuilder::lookupd`](crate::SessionBuilder::lookupd)) or the nodes' HTTP interfaces
    /// ([`NsqTransportConfig::http_addresses`](crate::transport::NsqTransportConfig::http_addresses)). A broker's TCP
    /// address alone does not do, since NSQ's TCP protocol has no command that lists topics.
    ///
    /// ```no_run
    /// # async fn example(session: almanet::Session) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut logs = session.consume_matching::<String>("*.log", "archive").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Session::consume`], and [`ConsumeError::Topics`] when it is not known which topics there are.
    ///
    /// # Cancel safety
    ///
    /// As [`Session::consume`].
    pub fn consume_matching<T: DeserializeOwned>(
        &self,
        pattern: impl AsRef<str>,
        channel: impl AsRef<str>,
    ) -> Consume<T> {
        let topics = Topics::Matching(pattern.as_ref().to_owned());
        Consume::new(self, topics, Channel::Named(channel.as_ref().to_owned()))
    }
}

/// A consumer to be: settings, then `.await`.
#[derive(Debug)]
#[must_use = "nothing is consumed until this is awaited"]
pub struct Consume<T> {
    session: Session,
    topics: Topics,
    channel: Channel,
    max_in_flight: usize,
    message_timeout: Option<Duration>,
    follow_interval: Duration,
    value: PhantomData<fn() -> T>,
}

impl<T> Consume<T> {
    fn new(session: &Session, topics: Topics, channel: Channel) -> Self {
        let SubscribeOptions {
            max_in_flight,
            message_timeout,
            ..
        } = SubscribeOptions::default();
        Self {
            session: session.clone(),
            topics,
            channel,
            max_in_flight,
            message_timeout,
            follow_interval: FOLLOW_INTERVAL,
            value: PhantomData,
        }
    }

    /// The most events that are out at once, unanswered; on each topic of a pattern. Default: 256. A batch cannot be
    /// larger.
    pub fn max_in_flight(mut self, events: usize) -> Self {
        self.max_in_flight = events.max(1);
        self
    }

    /// How long the broker waits for an answer before it delivers the event again; see
    /// [`Received::touch`](crate::Received::touch). Default: the broker's own, which is 60 seconds for nsqd.
    pub fn message_timeout(mut self, timeout: Duration) -> Self {
        self.message_timeout = Some(timeout);
        self
    }

    /// How often a consumer of a pattern looks for new topics. Default: every 15 seconds.
    pub fn follow_interval(mut self, interval: Duration) -> Self {
        self.follow_interval = interval;
        self
    }
}

impl<T: DeserializeOwned> IntoFuture for Consume<T> {
    type Output = Result<Consumer<T>, ConsumeError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            let reading = Reading::new(&self.topics, &self.channel)?;
            let options = SubscribeOptions {
                max_in_flight: self.max_in_flight,
                message_timeout: self.message_timeout,
                ..SubscribeOptions::default()
            };
            let subscription = reading
                .subscribe(&self.session, options, self.follow_interval)
                .await?;
            Ok(Consumer::new(self.session, reading, subscription))
        }
        .boxed()
    }
}
