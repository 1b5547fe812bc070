//! What a session says about calls that run, sent by a task of its own, so that nobody has to wait for it.

use std::sync::Arc;

use almanet_nsq::TopicName;
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{inbox, shared::Shared};
use crate::{
    id::Id,
    transport::{Publication, Transport},
    wire::{Control, ControlKind, EncodeError, StreamCredit, StreamItems},
};

/// How many messages may wait to be sent. One that finds no room is not sent: an instance says again and again that it
/// runs a call, so a cancel that was lost is sent later.
const CAPACITY: usize = 4096;

/// How many are sent at once.
const BATCH: usize = 256;

/// Where messages wait that are to be sent. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    queue: mpsc::Sender<Outgoing>,
}

/// A message to be sent through `node`, where its receiver listens for certain.
#[derive(Debug)]
pub(super) struct Outgoing {
    to: Receiver,
    said: Said,
    node: Arc<str>,
}

/// What a message says.
#[derive(Debug)]
enum Said {
    Control(Control),
    Credit(StreamCredit),
    Alive(Box<StreamItems>),
}

impl Said {
    fn encode(&self) -> Result<Bytes, EncodeError> {
        match self {
            Self::Control(control) => control.encode(),
            Self::Credit(credit) => credit.encode(),
            Self::Alive(alive) => alive.encode(),
        }
    }
}

#[derive(Debug)]
enum Receiver {
    Topic(TopicName),
    Session(Id),
}

impl Outgoing {
    /// Tells the caller that listens on `topic` that `instance` runs its call.
    pub(super) fn running(call_id: Id, instance: Id, topic: TopicName, node: &Arc<str>) -> Self {
        Self {
            to: Receiver::Topic(topic),
            said: Said::Control(Control::new(ControlKind::Running, call_id, instance)),
            node: Arc::clone(node),
        }
    }

    /// Tells `instance` that `caller` waits no more.
    pub(super) fn cancel(call_id: Id, caller: Id, instance: Id, node: &Arc<str>) -> Self {
        Self {
            to: Receiver::Session(instance),
            said: Said::Control(Control::new(ControlKind::Cancel, call_id, caller)),
            node: Arc::clone(node),
        }
    }

    /// Tells `instance` what the caller lets it send.
    pub(super) fn credit(credit: StreamCredit, instance: Id, node: &Arc<str>) -> Self {
        Self {
            to: Receiver::Session(instance),
            said: Said::Credit(credit),
            node: Arc::clone(node),
        }
    }

    /// Tells the caller that listens on `topic` that its stream is alive.
    pub(super) fn alive(alive: StreamItems, topic: TopicName, node: &Arc<str>) -> Self {
        Self {
            to: Receiver::Topic(topic),
            said: Said::Alive(Box::new(alive)),
            node: Arc::clone(node),
        }
    }

    fn publication(self) -> Option<Publication> {
        let topic = match self.to {
            Receiver::Topic(topic) => topic,
            Receiver::Session(session) => inbox::topic(session).ok()?,
        };
        let body = self.said.encode().ok()?;
        Some(Publication::new(topic, body).through(self.node))
    }
}

impl Outbox {
    /// Starts the task that sends, which ends with `session`.
    pub(super) fn start(session: &Shared) -> Self {
        let (queue, queued) = mpsc::channel(CAPACITY);
        let transport = Arc::clone(&session.transport);
        session
            .tasks
            .spawn(send_all(queued, transport, session.left.clone()));
        Self { queue }
    }

    /// Queues a message, if there is room.
    pub(super) fn send(&self, outgoing: Outgoing) {
        if self.queue.try_send(outgoing).is_err() {
            tracing::debug!("no room for a control message, or the session has been left");
        }
    }
}

async fn send_all(
    mut queued: mpsc::Receiver<Outgoing>,
    transport: Arc<dyn Transport>,
    left: CancellationToken,
) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            _ = queued.recv_many(&mut batch, BATCH) => {}
            () = left.cancelled() => queued.close(),
        }
        if batch.is_empty() && queued.is_closed() {
            return;
        }
        let publications = batch.drain(..).filter_map(Outgoing::publication);
        let sent = publications.map(|publication| transport.publish(publication));
        for error in join_all(sent).await.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "a control message was not sent");
        }
    }
}
