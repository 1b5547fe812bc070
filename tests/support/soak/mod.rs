//! A soak: an embedded broker with a data path under load, whose clients are killed and which is restarted, at random
//! moments, and the books that have to balance in the end.
//!
//! Every message that was confirmed has to be consumed on every channel of its topic, however often the connections
//! and the broker have gone meanwhile.

mod books;
mod client;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use almanet::{Broker, BrokerConfig};
use almanet_nsq::{Consumer, ConsumerConfig, TopicName};
use fastrand::Rng;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::{
    books::{Books, CHANNELS},
    client::{Client, Role, channel_name},
};

pub use books::Counts;

use crate::start_again;

/// Longer than anything takes that has to happen.
const PATIENCE: Duration = Duration::from_secs(60);
const TOPICS: usize = 2;
const PUBLISHERS_PER_TOPIC: usize = 2;
const CONSUMERS_PER_CHANNEL: usize = 2;

/// Why a soak could not be brought to its end.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What is done, and for how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What happens follows from this number, up to the moments at which it does.
    pub seed: u64,
    /// For how long clients publish.
    pub duration: Duration,
    /// About how many messages a second.
    pub rate: u32,
    /// The mean time from one kill to the next.
    pub kill_every: Duration,
    /// The mean time from one restart to the next.
    pub restart_every: Duration,
    /// A directory of the broker's own.
    pub data_path: PathBuf,
}

/// Runs a soak and draws up the balance; `tell` hears the counts after each restart.
///
/// # Errors
///
/// The broker could not be started or stopped, or nothing went on for a minute.
pub async fn run(plan: &Plan, mut tell: impl FnMut(&Counts)) -> Result<Counts, Failure> {
    let mut random = Rng::with_seed(plan.seed);
    let mut broker = start(plan, ([127, 0, 0, 1], 0).into()).await?;
    let address = broker.tcp_addr();
    let books = Arc::new(Books::default());
    let publish_no_more = CancellationToken::new();
    for topic in topics() {
        // A message is copied to the channels that are there when it comes.
        for channel in 0..CHANNELS {
            let config = ConsumerConfig::default();
            let (topic, channel) = (topic.clone(), channel_name(channel));
            let consumer = Consumer::connect([address.to_string()], topic, channel, config).await?;
            consumer.close().await;
        }
    }
    let mut clients = Vec::new();
    for role in roles(plan) {
        let (target, random) = (address.to_string(), random.fork());
        clients.push(Client::start(&target, role, &books, &publish_no_more, random).await);
    }
    goes_on(&books).await?;

    let end = Instant::now() + plan.duration;
    let mut next_restart = Instant::now() + about(plan.restart_every, &mut random);
    while Instant::now() < end {
        sleep(about(plan.kill_every, &mut random).min(end.saturating_duration_since(Instant::now()))).await;
        let unlucky = random.usize(..clients.len());
        if let Some(client) = clients.get_mut(unlucky) {
            let new = random.fork();
            if random.bool() {
                client.kill(new).await;
            } else {
                client.cut();
            }
            books.count(|counts| counts.kills += 1);
        }
        if Instant::now() >= next_restart {
            broker.stop().await?;
            broker = start(plan, address).await?;
            books.count(|counts| counts.restarts += 1);
            goes_on(&books).await?;
            tell(&books.balance());
            next_restart = Instant::now() + about(plan.restart_every, &mut random);
        }
    }

    publish_no_more.cancel();
    let (publishers, consumers): (Vec<_>, Vec<_>) = clients.into_iter().partition(Client::publishes);
    for publisher in publishers {
        timeout(PATIENCE, publisher.done())
            .await
            .map_err(|_| "a publish has not returned for a minute")?;
    }
    // What does not come is in the balance.
    let _ = until(&books, |books| books.balance().owed == 0).await;
    consumers.into_iter().for_each(Client::end);
    broker.stop().await?;
    Ok(books.balance())
}

async fn start(plan: &Plan, address: SocketAddr) -> Result<Broker, Failure> {
    let config = BrokerConfig::default()
        .tcp_address(address)
        .data_path(&plan.data_path);
    Ok(start_again(&config).await?)
}

fn topics() -> Vec<TopicName> {
    (0..TOPICS)
        .map(|number| TopicName::new(format!("soak_{number}")).expect("a topic's name"))
        .collect()
}

fn roles(plan: &Plan) -> Vec<Role> {
    let topics = topics();
    let publishers = u32::try_from(TOPICS * PUBLISHERS_PER_TOPIC).unwrap_or(u32::MAX);
    // One publish in ten has ten messages in the mean.
    let pause = Duration::from_secs(1) * publishers * 2 / plan.rate.max(1);
    let mut roles = Vec::new();
    for topic in &topics {
        for channel in 0..CHANNELS {
            let topic = topic.clone();
            roles.extend(vec![Role::Consume { topic, channel }; CONSUMERS_PER_CHANNEL]);
        }
    }
    for topic in topics {
        roles.extend(vec![Role::Publish { topic, pause }; PUBLISHERS_PER_TOPIC]);
    }
    roles
}

/// A time whose mean is `mean`.
fn about(mean: Duration, random: &mut Rng) -> Duration {
    mean.mul_f32(2.0 * random.f32())
}

/// Waits until messages are confirmed and consumed again.
async fn goes_on(books: &Books) -> Result<(), Failure> {
    let before = books.balance();
    until(books, |books| {
        let now = books.watch();
        let now = now.borrow();
        now.confirmed > before.confirmed + 20 && now.consumed > before.consumed + 20
    })
    .await
    .map_err(|()| format!("nothing goes on: {}", books.balance()).into())
}

async fn until(books: &Books, mut is_so: impl FnMut(&Books) -> bool) -> Result<(), ()> {
    let waiting = async {
        let mut changes = books.watch();
        while !is_so(books) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    };
    timeout(PATIENCE, waiting).await.map_err(|_| ())
}
