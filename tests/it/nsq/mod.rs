//! What `almanet-nsq` makes of faults between it and a broker that is real, over the embedded one or the nsqd that
//! `ALMANET_TEST_NSQD` names. Those that kill a broker start it themselves: see [`program`].
//!
//! Where each fault is shown (`almanet-nsq/tests/it` has the scripted peers):
//!
//! | fault | here | in `almanet-nsq/tests/it` |
//! |---|---|---|
//! | the broker is killed (SIGKILL), or stopped, and restarted under load | [`restart`] | `queueing` |
//! | cut in the middle of a frame, both directions | [`cuts`]; of a call: `cut_off` | `publishing`, `merging` |
//! | a stalled peer, noticed within two heartbeats | [`silence`] | `connecting` (paused clock), `securing` |
//! | a slow reader, a dribbling network | [`slow`] | `connecting`, `consuming` |
//! | fatal and non-fatal error frames | [`errors`] | `publishing`, `consuming` |
//! | TLS: wrong authority, wrong name, expired | | `trusting`, `securing` |
//! | AUTH refused, and expired | | `authenticating`, `renewing` |
//! | lookupd: garbage, slow, silent, dribbling | [`lookupd`]: the real one, and nodes that die | `lookup` |
//! | two nodes of which one dies, producers and pools | [`nodes`]; for calls: `cut_off` | `consuming`, `pool_failover` |
//! | any of these in any order | [`schedule`] | |

mod cuts;
mod errors;
mod ledger;
mod load;
mod lookupd;
mod nodes;
pub(crate) mod program;
mod restart;
mod schedule;
mod silence;
mod slow;

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use almanet_nsq::{
    ChannelName, ConnectionConfig, Consumer, ConsumerConfig, Delivery, Duplicates, Producer, ProducerConfig,
    ProducerPool, ProducerPoolConfig, TopicName,
};
use almanet_tests::unique;
use tokio::time::timeout;

/// Longer than anything here takes, so that a test that would hang fails instead.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many messages a consumer here may hold.
const MAX_IN_FLIGHT: usize = 64;
/// The shortest that nsqd grants. It gives the messages of a lost connection out again only after this.
const MSG_TIMEOUT: Duration = Duration::from_secs(1);

/// Waits for what must happen.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it never happened")
}

fn unique_topic() -> TopicName {
    TopicName::new(unique("test.faults")).unwrap()
}

/// Reconnects fast, so that tests do not wait.
fn quick() -> ConnectionConfig {
    ConnectionConfig::default()
        .connect_timeout(Duration::from_secs(1))
        .reconnect_delay(Duration::from_millis(1)..=Duration::from_millis(50))
}

fn publishing() -> ProducerConfig {
    ProducerConfig::default()
        .connection(quick())
        .publish_timeout(Duration::from_secs(5))
}

async fn producer(address: impl Into<String>) -> Producer {
    soon(Producer::connect(address, publishing())).await.unwrap()
}

/// A pool that soon trusts a node again.
async fn pool(addresses: impl IntoIterator<Item = String>, duplicates: Duplicates) -> ProducerPool {
    let config = ProducerPoolConfig::default()
        .producer(publishing().publish_timeout(PATIENCE))
        .avoid(Duration::from_millis(1)..=Duration::from_millis(20))
        .duplicates(duplicates);
    soon(ProducerPool::connect(addresses, config)).await.unwrap()
}

async fn consumer(addresses: impl IntoIterator<Item = String>, topic: &TopicName) -> Consumer {
    consumer_with(addresses, topic, quick()).await
}

async fn consumer_with(
    addresses: impl IntoIterator<Item = String>,
    topic: &TopicName,
    connection: ConnectionConfig,
) -> Consumer {
    let config = ConsumerConfig::default()
        .connection(connection)
        .max_in_flight(MAX_IN_FLIGHT)
        .msg_timeout(MSG_TIMEOUT)
        .close_timeout(Duration::from_secs(2));
    let channel = ChannelName::new("test").unwrap();
    let connecting = Consumer::connect(addresses, topic.clone(), channel, config);
    soon(connecting).await.unwrap()
}

/// An address for a broker that goes and comes back.
///
/// Its port is none of those that the system gives to whoever connects or asks for any, so that nobody has taken it
/// meanwhile.
pub(crate) fn lasting_address() -> SocketAddr {
    loop {
        let address = SocketAddr::from(([127, 0, 0, 1], fastrand::u16(10_000..30_000)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

async fn next(consumer: &mut Consumer) -> Delivery {
    soon(consumer.recv()).await.unwrap()
}
