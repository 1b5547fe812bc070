//! Finds the channels that other nodes have of a topic that is new here.
//!
//! A consumer that is connected to the other nodes only notices the new one at its next poll. So that it misses nothing
//! until then, nsqd asks nsqlookupd for the topic's channels before the first message moves, and makes them.
//! nsqd's publisher waits for that. Here the publisher has its answer at once, and the topic holds its messages back.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use almanet_nsq_proto::ChannelName;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{channels::channels, list::Lookupds};
use crate::{http_client::HttpClient, step::Step, topic::Topic};

/// How long nsqlookupd may take, and so how long a new topic can hold its messages back.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many topics are asked for at a time; the channels of further ones are not asked for.
const MOST: usize = 256;

/// Where new topics are handed in.
#[derive(Debug)]
pub(crate) struct Finder {
    lookupds: Arc<Lookupds>,
    places: Arc<Semaphore>,
    topics: mpsc::Sender<(Arc<Topic>, OwnedSemaphorePermit)>,
}

/// The task's side of a [`Finder`].
#[derive(Debug)]
pub(crate) struct Search {
    lookupds: Arc<Lookupds>,
    client: Arc<HttpClient>,
    topics: mpsc::Receiver<(Arc<Topic>, OwnedSemaphorePermit)>,
}

impl Finder {
    pub(crate) fn new(lookupds: Arc<Lookupds>, client: HttpClient) -> (Self, Search) {
        let (sender, receiver) = mpsc::channel(MOST);
        let search = Search {
            lookupds: Arc::clone(&lookupds),
            client: Arc::new(client),
            topics: receiver,
        };
        let finder = Self {
            lookupds,
            places: Arc::new(Semaphore::new(MOST)),
            topics: sender,
        };
        (finder, search)
    }

    /// Makes a topic hold its messages back until its channels are found. Nobody else has it yet.
    ///
    /// The channels of an ephemeral topic are made by their readers only: it has none elsewhere that it would owe
    /// a message.
    pub(crate) fn find(&self, topic: &Arc<Topic>) {
        if topic.name().is_ephemeral() || self.lookupds.http_addresses().is_empty() {
            return;
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            tracing::warn!(topic = %topic.name(), "nsqlookupd: too many new topics to ask for the channels of each");
            return;
        };
        topic.hold();
        if self.topics.try_send((Arc::clone(topic), place)).is_err() {
            topic.release(&[], &mut Step::begin());
        }
    }
}

impl Search {
    /// Finds the channels of topics until `stopped`. What is held back then is released when it is saved.
    pub(crate) async fn run(mut self, stopped: CancellationToken) {
        let mut asking = JoinSet::new();
        loop {
            tokio::select! {
                () = stopped.cancelled() => return,
                Some((topic, place)) = self.topics.recv() => {
                    let client = Arc::clone(&self.client);
                    asking.spawn(find(topic, client, self.lookupds.http_addresses(), place));
                }
                Some(_) = asking.join_next() => {}
            }
        }
    }
}

/// Asks all nsqlookupds, and lets the topic go on with the channels that any of them knows.
async fn find(
    topic: Arc<Topic>,
    client: Arc<HttpClient>,
    addresses: Vec<String>,
    _place: OwnedSemaphorePermit,
) {
    let mut asking = JoinSet::new();
    for address in addresses {
        let (name, client) = (topic.name().clone(), Arc::clone(&client));
        asking.spawn(async move {
            match timeout(PATIENCE, channels(&client, &address, &name)).await {
                Ok(Ok(channels)) => return channels,
                Ok(Err(error)) => {
                    tracing::warn!(topic = %name, lookupd = %address, "nsqlookupd: cannot ask for channels: {error}");
                }
                Err(_) => {
                    tracing::warn!(topic = %name, lookupd = %address, "nsqlookupd: it does not say which channels there are");
                }
            }
            Vec::new()
        });
    }
    let mut found = BTreeSet::new();
    while let Some(channels) = asking.join_next().await {
        found.extend(channels.unwrap_or_default());
    }
    // An ephemeral channel lives by its readers, and has none here.
    let lasting: Vec<ChannelName> = found.into_iter().filter(|name| !name.is_ephemeral()).collect();
    let mut step = Step::begin();
    topic.release(&lasting, &mut step);
    step.end();
}
