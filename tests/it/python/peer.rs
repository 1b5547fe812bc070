//! What stands for the Python package where its bytes are known: whoever puts bytes on topics, and reads them.

use std::time::Duration;

use almanet::transport::{
    ChannelName, NsqTransport, NsqTransportConfig, Publication, SubscribeOptions, Subscription, TopicName,
    Transport as _,
};
use almanet_tests::TestBroker;
use bytes::Bytes;

/// The session of the recording.
pub(super) const SESSION: &str = "5a6ccc0944f744f9bb27ef921f693b0a";

/// A connection that knows nothing of calls.
#[derive(Debug)]
pub(super) struct Peer {
    transport: NsqTransport,
}

impl Peer {
    pub(super) async fn connect(broker: &TestBroker) -> Self {
        let addresses = [broker.address().to_owned()];
        let config = NsqTransportConfig::default();
        let transport = NsqTransport::connect(addresses, config).await.unwrap();
        Self { transport }
    }

    pub(super) async fn publish(&self, topic: &str, body: &str) {
        self.publish_after(topic, body, None).await;
    }

    pub(super) async fn publish_after(&self, topic: &str, body: &str, delay: Option<Duration>) {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let mut publication = Publication::new(TopicName::new(topic).unwrap(), body);
        publication.delay = delay;
        self.transport.publish(publication).await.unwrap();
    }

    pub(super) async fn listen(&self, topic: &str, channel: &str) -> Inbox {
        let (topic, channel) = (TopicName::new(topic).unwrap(), ChannelName::new(channel).unwrap());
        let options = SubscribeOptions::default();
        let subscription = self.transport.subscribe(&topic, &channel, options).await;
        Inbox(subscription.unwrap())
    }
}

/// Where messages arrive.
pub(super) struct Inbox(Subscription);

impl Inbox {
    /// The body of the next message, which is finished.
    pub(super) async fn next(&mut self) -> String {
        let delivery = self.0.recv().await.unwrap();
        let body = String::from_utf8(delivery.body.to_vec()).unwrap();
        delivery.finish().unwrap();
        body
    }
}
