//! Connecting again, for ever.

use std::time::Duration;

use almanet_nsq::{ConnectionChange, ProducerConfig};

use crate::{
    observed::observed,
    peer::{Peer, body, quick, soon, topic},
    publishing::connected,
};

#[tokio::test]
async fn after_a_thousand_refusals_it_still_connects() {
    const REFUSALS: usize = 1000;
    let peer = Peer::bind().await;
    let (connection, mut seen) = observed(quick());
    // Whatever is published meanwhile waits for as long as it takes.
    let patient = ProducerConfig::default()
        .connection(connection)
        .publish_timeout(Duration::from_secs(24 * 60 * 60));
    let (producer, conversation) = connected(&peer, patient).await;
    // From here on only the pauses between the attempts take time, and they take none.
    tokio::time::pause();
    drop(conversation);
    let orders = topic("orders");
    let mut publishing = std::pin::pin!(producer.publish(&orders, body("x")));
    let refusing = async {
        let mut failures = 0;
        while failures < REFUSALS {
            drop(peer.accept_silently().await);
            while let Some(event) = seen.try_next() {
                failures += usize::from(matches!(event.change, ConnectionChange::Failed { .. }));
            }
        }
    };
    tokio::select! {
        published = &mut publishing => panic!("{published:?}"),
        () = refusing => {}
    }
    tokio::time::resume();
    let confirming = async {
        let mut broker = peer.accept().await;
        assert_eq!(broker.published().await, "x");
        broker.ok().await;
        broker
    };
    let (published, _broker) = tokio::join!(soon(publishing), confirming);
    assert_eq!(published, Ok(()));
}
