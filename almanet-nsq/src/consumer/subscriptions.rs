//! Subscribing on nodes, and ending subscriptions.

use std::sync::Arc;

use almanet_nsq_proto::{ChannelName, TopicName};
use futures_util::future::join_all;
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::{
    config::ConsumerConfig, delivery::Delivery, endpoint::ConsumerEndpoint, give_up::LastResort,
    inbox::Inbox, link::Link, lost::LostNodes, outcomes::Outcomes, ready::Ready, sample_rate::SampleRate,
};
use crate::{
    config::Window,
    connection::{Endpoint, Established, Purpose, Stop, supervise},
    error::ConnectError,
};

/// What a consumer and its connections share.
#[derive(Debug, Clone)]
pub(super) struct Subscriptions {
    pub(super) topic: TopicName,
    pub(super) channel: ChannelName,
    pub(super) config: ConsumerConfig,
    pub(super) ready: Arc<Ready>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) lost: Arc<LostNodes>,
    /// The connections.
    pub(super) tasks: TaskTracker,
    /// When all of them shall end.
    pub(super) stop: Stop,
}

/// Where the connections put what they receive. When the last of these is dropped, nothing more can come.
pub(super) type Deliveries = mpsc::Sender<Delivery>;

/// A first attempt to subscribe on a node, which is to be [kept up](Subscriptions::keep) whether it succeeded or not.
pub(super) struct Attempt {
    endpoint: ConsumerEndpoint,
    stop: Stop,
    pub(super) outcome: Result<Established, ConnectError>,
}

impl Subscriptions {
    /// Shared parts for about `nodes` nodes.
    pub(super) fn new(
        topic: TopicName,
        channel: ChannelName,
        config: ConsumerConfig,
        nodes: usize,
    ) -> (Self, Deliveries) {
        let capacity = config.max_in_flight.max(nodes);
        let (sender, arriving) = mpsc::channel(capacity.clamp(1, Semaphore::MAX_PERMITS));
        let outcomes = Outcomes::new(config.backoff.as_ref());
        let ready = Ready::new(config.max_in_flight, config.low_rdy_timeout, outcomes);
        let subscriptions = Self {
            topic,
            channel,
            ready: Arc::new(ready),
            config,
            inbox: Arc::new(Inbox::new(arriving)),
            lost: Arc::default(),
            tasks: TaskTracker::new(),
            stop: Stop::default(),
        };
        (subscriptions, sender)
    }

    /// The consumer's side of the node at `address`, for as long as `stop` allows.
    pub(super) fn endpoint(
        &self,
        address: Arc<str>,
        deliveries: &Deliveries,
        stop: &Stop,
    ) -> ConsumerEndpoint {
        ConsumerEndpoint {
            address,
            config: self.config.connection.clone(),
            purpose: Purpose {
                subscription: Some((self.topic.clone(), self.channel.clone())),
                msg_timeout: self.config.msg_timeout,
                sample_rate: self.config.sample_rate.map(SampleRate::as_u8),
                is_unbuffered: self.config.window == Window::Unbuffered,
            },
            window: self.config.window,
            expected: self.config.expected.clone(),
            ready: Arc::clone(&self.ready),
            deliveries: deliveries.clone(),
            auto_touch: self.config.auto_touch,
            last_resort: LastResort {
                topic: self.topic.clone(),
                channel: self.channel.clone(),
                give_up: self.config.give_up.clone(),
                tasks: self.tasks.clone(),
                stop: self.stop.now.clone(),
            },
            lost: Arc::clone(&self.lost),
            let_go: stop.reconnecting.clone(),
            link: None,
        }
    }

    /// Tries once to subscribe on each node, on all of them at the same time.
    pub(super) async fn attempt(
        &self,
        nodes: impl IntoIterator<Item = (Arc<str>, Stop)>,
        deliveries: &Deliveries,
    ) -> Vec<Attempt> {
        let attempts = nodes.into_iter().map(|(address, stop)| async {
            let endpoint = self.endpoint(address, deliveries, &stop);
            let outcome = endpoint.establish().await;
            Attempt {
                endpoint,
                stop,
                outcome,
            }
        });
        join_all(attempts).await
    }

    /// Keeps the subscription up from here on, or goes on trying.
    pub(super) fn keep(&self, attempt: Attempt) {
        let Attempt {
            endpoint,
            stop,
            outcome,
        } = attempt;
        let first = outcome
            .inspect_err(|error| warn!(address = %endpoint.address, %error, "not connected, trying again"))
            .ok();
        self.tasks.spawn(supervise(endpoint, first, stop));
    }

    /// Ends subscriptions that get no further messages: waits until what was handed out is answered, then asks the
    /// brokers to confirm the end. Neither takes longer than is configured.
    pub(super) async fn end(&self, links: &[Arc<Link>]) {
        let answered = join_all(links.iter().map(|link| link.all_answered()));
        if timeout(self.config.close_timeout, answered).await.is_err() {
            let unanswered: usize = links.iter().map(|link| link.unanswered()).sum();
            warn!(
                topic = %self.topic, channel = %self.channel, unanswered,
                "closing while messages are unanswered: they will be delivered again"
            );
        }
        let unsubscribed = join_all(links.iter().map(|link| link.unsubscribe()));
        let patience = self.config.connection.connect_timeout;
        if timeout(patience, unsubscribed).await.is_err() {
            debug!(topic = %self.topic, channel = %self.channel, "a broker did not confirm the end of the subscription");
        }
    }
}
