//! The echo as a user of `almanet-nsq` would write it who needs no framework.
//!
//! A request is the number of the call, the caller's reply topic and the payload; a reply is the number and the payload.
//! The caller publishes through a [`ProducerPool`], notes who waits for which number, and gives up after a time. The
//! service answers by [`Delivery::publish_and_finish`], so that a call is not lost on its way. What the framework has and this does not: typed values,
//! names checked and errors told apart, deadlines that travel, cancellation, headers, retries, limits of concurrency
//! with an orderly end, panics caught, duplicates and lost nodes noticed, counts and histograms, traces.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use almanet_benches::Failure;
use almanet_nsq::{
    ChannelName, Consumer, ConsumerConfig, Delivery, ProducerPool, ProducerPoolConfig, TopicName,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::{Handling, IN_FLIGHT};

/// How long a caller waits, as the framework's callers do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A caller and an echo service.
pub struct BareEcho {
    caller: Arc<Caller>,
    body: Bytes,
    receiving: JoinHandle<()>,
    serving: JoinHandle<()>,
}

impl BareEcho {
    pub async fn start(address: &str, body: usize, handling: Handling) -> Result<Self, Failure> {
        let unique = std::time::UNIX_EPOCH.elapsed()?.as_nanos();
        let requests = TopicName::new(format!("bench.bare_{unique}#ephemeral"))?;
        let replies = TopicName::new(format!("bench.bare_reply_{unique}#ephemeral"))?;
        let service = subscribe(address, &requests).await?;
        let inbox = subscribe(address, &replies).await?;
        let caller = Arc::new(Caller {
            pool: ProducerPool::connect([address], ProducerPoolConfig::default()).await?,
            requests,
            replies,
            next: AtomicU64::new(0),
            waiting: Mutex::default(),
        });
        Ok(Self {
            receiving: tokio::spawn(receive(inbox, Arc::clone(&caller))),
            serving: match handling {
                Handling::InTurn => tokio::spawn(serve_in_turn(service)),
                Handling::InTasks => tokio::spawn(serve_in_tasks(service)),
            },
            caller,
            body: vec![b'x'; body].into(),
        })
    }

    /// What a caller does again and again.
    pub async fn call(&self) -> Result<(), Failure> {
        if self.caller.call(&self.body).await? != self.body {
            return Err("the echo is not what was sent".into());
        }
        Ok(())
    }

    pub async fn end(self) {
        for reading in [self.serving, self.receiving] {
            reading.abort();
            // It was aborted.
            let _ = reading.await;
        }
        self.caller.pool.close().await;
    }
}

async fn subscribe(address: &str, topic: &TopicName) -> Result<Consumer, Failure> {
    let config = ConsumerConfig::default().max_in_flight(IN_FLIGHT).backoff(None);
    let channel = ChannelName::new("bench#ephemeral")?;
    Ok(Consumer::connect([address], topic.clone(), channel, config).await?)
}

struct Caller {
    pool: ProducerPool,
    requests: TopicName,
    replies: TopicName,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Bytes>>>,
}

impl Caller {
    async fn call(&self, body: &Bytes) -> Result<Bytes, Failure> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, reply) = oneshot::channel();
        self.waiting().insert(number, sender);
        let _forgotten = Forgotten(self, number);
        let topic = self.replies.as_str();
        let mut request = BytesMut::with_capacity(8 + 1 + topic.len() + body.len());
        request.put_u64(number);
        request.put_u8(u8::try_from(topic.len())?);
        request.put_slice(topic.as_bytes());
        request.put_slice(body);
        timeout(PATIENCE, async {
            self.pool.publish(&self.requests, request.freeze()).await?;
            Ok(reply.await?)
        })
        .await?
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Bytes>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that ends, however it does, waits no more.
struct Forgotten<'a>(&'a Caller, u64);

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.0.waiting().remove(&self.1);
    }
}

async fn receive(mut inbox: Consumer, caller: Arc<Caller>) {
    while let Some(delivery) = inbox.recv().await {
        let mut reply = delivery.body().clone();
        if let Ok(number) = reply.try_get_u64() {
            let waiting = caller.waiting().remove(&number);
            if let Some(waiting) = waiting {
                // An error says that the caller has given up.
                let _ = waiting.send(reply);
            }
        }
        // An answer that is lost brings the reply again, and then nobody waits for it.
        let _ = delivery.finish();
    }
}

async fn serve_in_turn(mut service: Consumer) {
    while let Some(delivery) = service.recv().await {
        answer(delivery);
    }
}

async fn serve_in_tasks(mut service: Consumer) {
    let mut running = JoinSet::new();
    while let Some(delivery) = service.recv().await {
        running.spawn(async move { answer(delivery) });
        while running.try_join_next().is_some() {}
    }
}

/// Echoes the call. What is no call is dropped, and what was not answered comes again.
fn answer(delivery: Delivery) {
    let Some((topic, reply)) = echo(delivery.body().clone()) else {
        return;
    };
    // An answer that is lost brings the call again.
    let _ = delivery.publish_and_finish(&topic, reply);
}

fn echo(mut request: Bytes) -> Option<(TopicName, Bytes)> {
    let number = request.try_get_u64().ok()?;
    let length = usize::from(request.try_get_u8().ok()?);
    if request.len() < length {
        return None;
    }
    let topic = request.split_to(length);
    let topic = TopicName::new(std::str::from_utf8(&topic).ok()?).ok()?;
    let mut reply = BytesMut::with_capacity(8 + request.len());
    reply.put_u64(number);
    reply.put(request);
    Some((topic, reply.freeze()))
}
