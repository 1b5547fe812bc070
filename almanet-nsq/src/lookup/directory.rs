//! Where to ask for nodes, and what to ask for.

use std::sync::Arc;

use almanet_nsq_proto::TopicName;

use super::{
    config::LookupConfig,
    error::LookupError,
    http::Limits,
    known::Known,
    lookupd::{Lookupd, parse_address},
    nodes::Nodes,
    poll::Poll,
    topics::{TopicList, Who},
};

/// The nsqlookupds of a cluster, which know its nodes.
///
/// Every one of them is asked each time, and their answers are merged: one that is down, slow or talks nonsense
/// disturbs nothing while another answers, and nothing that was found before while none does.
#[derive(Clone, Debug)]
pub struct Lookup {
    addresses: Arc<[Arc<str>]>,
    config: LookupConfig,
}

impl Lookup {
    /// The nsqlookupds with these HTTP addresses (each `host:port`, port 4161 by default). Nothing is asked yet.
    ///
    /// ```no_run
    /// use almanet_nsq::{ChannelName, Consumer, ConsumerConfig, Lookup, LookupConfig, TopicName};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let lookup = Lookup::new(["10.0.0.1:4161", "10.0.0.2:4161"], LookupConfig::default())?;
    /// let (topic, channel) = (TopicName::new("orders")?, ChannelName::new("kitchen")?);
    /// let nodes = lookup.nodes_with(&topic).await?;
    /// let mut consumer = Consumer::discover(nodes, topic, channel, ConsumerConfig::default()).await;
    /// while let Some(delivery) = consumer.recv().await {
    ///     println!("{} bytes from {}", delivery.body().len(), delivery.node());
    ///     delivery.finish()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`LookupError::NoAddress`] and [`LookupError::InvalidAddress`].
    pub fn new(
        addresses: impl IntoIterator<Item = impl Into<String>>,
        config: LookupConfig,
    ) -> Result<Self, LookupError> {
        let mut parsed = Vec::new();
        for address in addresses {
            let address = parse_address(&address.into())?;
            if !parsed.contains(&address) {
                parsed.push(address);
            }
        }
        if parsed.is_empty() {
            return Err(LookupError::NoAddress);
        }
        Ok(Self {
            addresses: parsed.into(),
            config,
        })
    }

    /// The nodes that have `topic` (nsqlookupd's `/lookup`): where its messages are published.
    ///
    /// A node that gets its first message for the topic is found by the next poll. That nobody has the topic yet is
    /// no error.
    ///
    /// # Errors
    ///
    /// [`LookupError::NoneAnswered`] when no nsqlookupd answers the first poll and no fixed nodes are configured.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the asking.
    pub async fn nodes_with(&self, topic: &TopicName) -> Result<Nodes, LookupError> {
        // Of the characters that a name can have, only the one of `#ephemeral` means something else in a path.
        let topic = topic.as_str().replace('#', "%23");
        self.follow(format!("/lookup?topic={topic}")).await
    }

    /// Every node (nsqlookupd's `/nodes`), whatever topics it has.
    ///
    /// For those who cannot wait for the next poll when a topic appears on another node, such as callers of remote
    /// procedures: a consumer that reads from every node is there before the first message is.
    ///
    /// # Errors
    ///
    /// [`LookupError::NoneAnswered`] when no nsqlookupd answers the first poll and no fixed nodes are configured.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the asking.
    pub async fn every_node(&self) -> Result<Nodes, LookupError> {
        self.follow("/nodes".to_owned()).await
    }

    /// Which topics there are on any node (nsqlookupd's `/topics`). Nothing is asked yet.
    pub fn topics(&self) -> TopicList {
        TopicList::new(Arc::clone(&self.addresses), Who::Lookupds, &self.config)
    }

    async fn follow(&self, path: String) -> Result<Nodes, LookupError> {
        let limits = Limits {
            time: self.config.request_timeout,
            bytes: self.config.max_answer_size,
        };
        let lookupds = self.addresses.iter().cloned();
        let mut poll = Poll {
            lookupds: lookupds.map(|address| Lookupd::new(address, limits)).collect(),
            path,
            interval: self.config.poll_interval,
            known: Known::new(self.config.fixed_nodes.iter().cloned()),
        };
        match poll.ask().await {
            Err(error) if self.config.fixed_nodes.is_empty() => Err(error),
            _ => Ok(Nodes::follow(poll)),
        }
    }
}
