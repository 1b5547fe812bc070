use almanet_nsq::{
    ConnectionChange, ConnectionRole, Consumer, ConsumerConfig, Lookup, LookupConfig, Producer,
    ProducerConfig,
};
use std::time::{Duration, SystemTime};

use crate::{
    lookupd::Lookupd,
    observed::observed,
    peer::{Peer, body, channel, quick, soon, topic},
    publishing::{config, connected},
};

#[tokio::test]
async fn an_observer_is_told_how_a_connection_fares_in_order() {
    let mut peer = Peer::bind().await;
    peer.answer.version = "1.2.3".to_owned();
    let (connection, mut seen) = observed(quick());
    let before = SystemTime::now();
    let (producer, broker) = connected(&peer, config().connection(connection)).await;
    let first = seen.next().await;
    assert_eq!(*first.address, *peer.address);
    assert_eq!(first.role, ConnectionRole::Producer);
    assert!((before..=SystemTime::now()).contains(&first.at));
    let there = ConnectionChange::Connected {
        version: "1.2.3".to_owned(),
    };
    assert_eq!(first.change, there);

    drop(broker);
    let ConnectionChange::Lost { cause } = seen.next().await.change else {
        panic!("not Lost");
    };
    assert!(!cause.is_empty());
    let ConnectionChange::BackingOff { delay } = seen.next().await.change else {
        panic!("not BackingOff");
    };
    assert!(delay <= Duration::from_millis(1), "{delay:?}");

    // What answers with nonsense fails to connect.
    peer.accept_silently().await;
    let ConnectionChange::Failed { cause } = seen.next().await.change else {
        panic!("not Failed");
    };
    assert!(cause.contains(&peer.address), "{cause}");
    assert!(matches!(
        seen.next().await.change,
        ConnectionChange::BackingOff { .. }
    ));

    let _broker = peer.accept().await;
    assert_eq!(seen.next().await.change, there);
    soon(producer.close()).await;
    assert_eq!(seen.next().await.change, ConnectionChange::Closed);
}

#[tokio::test]
async fn a_consumers_events_name_its_channel_and_the_nodes_that_come_and_go() {
    let (one, two) = (Peer::bind().await, Peer::bind().await);
    let lookupd = Lookupd::listing([one.address.as_str()]).await;
    let eager = LookupConfig::default().poll_interval(Duration::from_millis(2));
    let lookup = Lookup::new([lookupd.address.as_str()], eager).unwrap();
    let nodes = soon(lookup.every_node()).await.unwrap();
    let (connection, mut seen) = observed(quick());
    let config = ConsumerConfig::default().connection(connection);
    let discovering = Consumer::discover(nodes, topic("t"), channel("c"), config);
    let (_consumer, _one) = tokio::join!(soon(discovering), one.accept_subscriber());
    let event = seen.next().await;
    assert!(matches!(event.change, ConnectionChange::Connected { .. }));
    let role = ConnectionRole::Consumer {
        topic: topic("t"),
        channel: channel("c"),
    };
    assert_eq!(event.role, role);

    lookupd.lists([two.address.as_str()]);
    seen.saw(&two.address, ConnectionChange::Found).await;
    seen.saw(&one.address, ConnectionChange::LetGo).await;
}

#[tokio::test]
async fn a_full_queue_is_told_once_until_there_was_room() {
    let peer = Peer::bind().await;
    let (connection, mut seen) = observed(quick());
    // Room for one publish only.
    let config = config().connection(connection).max_queued_bytes(150);
    let (producer, mut broker) = connected(&peer, config).await;
    let topic = topic("orders");
    for _ in 0..2 {
        let publishes = futures_util::future::join_all([
            producer.publish(&topic, body("a")),
            producer.publish(&topic, body("b")),
            producer.publish(&topic, body("c")),
        ]);
        let confirming = async {
            for _ in 0..3 {
                broker.published().await;
                broker.ok().await;
            }
        };
        let (published, ()) = tokio::join!(soon(publishes), confirming);
        assert_eq!(published, [Ok(()), Ok(()), Ok(())]);
    }
    soon(producer.close()).await;
    let mut told = 0;
    loop {
        match seen.next().await.change {
            ConnectionChange::QueueFull { limit } => {
                assert_eq!(limit, 150);
                told += 1;
            }
            ConnectionChange::Closed => break,
            _ => {}
        }
    }
    assert_eq!(told, 2);
}

#[tokio::test]
async fn an_observer_that_panics_harms_no_connection() {
    let peer = Peer::bind().await;
    let connection = quick().observer(|event| panic!("seen {event:?}"));
    let config = ProducerConfig::default().connection(connection);
    let connecting = Producer::connect(&peer.address, config);
    let (producer, mut broker) = tokio::join!(soon(connecting), peer.accept());
    let producer = producer.unwrap();
    let confirming = async {
        broker.published().await;
        broker.ok().await;
    };
    let topic = topic("orders");
    let (published, ()) = tokio::join!(soon(producer.publish(&topic, body("a"))), confirming);
    assert_eq!(published, Ok(()));
}
