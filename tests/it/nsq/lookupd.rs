//! Discovery by the nsqlookupd and the nsqd that `ALMANET_TEST_NSQLOOKUPD_PROGRAM` and `ALMANET_TEST_NSQD_PROGRAM` name.

use std::{collections::BTreeSet, time::Duration};

use almanet::{
    Service, Session,
    transport::{LookupConfig, NsqTransportConfig},
};
use almanet_nsq::{
    ChannelName, ConnectionChange, ConnectionEvent, Consumer, ConsumerConfig, Lookup, Nodes, TopicName,
};
use almanet_tests::{echo, unique};
use tokio::sync::mpsc;

use super::{
    next, producer,
    program::{Lookupd, Program},
    quick, soon, unique_topic,
};

/// nsqlookupd, and two nsqd that register there.
fn cluster() -> Option<(Lookupd, [Program; 2])> {
    let lookupd = Lookupd::start()?;
    let flags = [format!("--lookupd-tcp-address={}", lookupd.tcp)];
    let nodes = [Program::nsqd(&flags)?, Program::nsqd(&flags)?];
    Some((lookupd, nodes))
}

/// Asks so often that tests do not wait.
fn eager() -> LookupConfig {
    LookupConfig::default().poll_interval(Duration::from_millis(5))
}

fn lookup(lookupd: &Lookupd) -> Lookup {
    Lookup::new([lookupd.http.to_string()], eager()).unwrap()
}

/// Waits until just these nodes are listed.
async fn lists<'a>(nodes: &mut Nodes, wanted: impl IntoIterator<Item = &'a Program>) {
    let wanted: BTreeSet<_> = wanted.into_iter().map(|node| node.address.to_string()).collect();
    let listing = async {
        let mut listed = nodes.current();
        while listed
            .iter()
            .map(|node| node.to_string())
            .collect::<BTreeSet<_>>()
            != wanted
        {
            listed = nodes.changed().await;
        }
    };
    soon(listing).await;
}

/// Publishes on this node alone.
async fn publish(node: &Program, topic: &TopicName, text: &'static str) {
    let producer = producer(node.address.to_string()).await;
    soon(producer.publish(topic, text.into())).await.unwrap();
}

/// Takes the next message, which has to be this one, from this node, and finishes it.
async fn finish_next(consumer: &mut Consumer, node: &Program, text: &str) {
    let delivery = next(consumer).await;
    assert_eq!(
        (delivery.body().as_ref(), delivery.node()),
        (text.as_bytes(), &node.address.to_string().into())
    );
    delivery.finish().unwrap();
}

#[tokio::test]
async fn every_node_that_registers_is_found_and_one_that_dies_is_gone() {
    let Some((lookupd, [mut dying, living])) = cluster() else {
        return;
    };
    let mut nodes = soon(lookup(&lookupd).every_node()).await.unwrap();
    lists(&mut nodes, [&dying, &living]).await;
    dying.kill();
    lists(&mut nodes, [&living]).await;
}

#[tokio::test]
async fn a_consumer_reads_where_its_topic_is_and_lets_a_node_go_that_died() {
    let Some((lookupd, [mut dying, living])) = cluster() else {
        return;
    };
    let topic = unique_topic();
    let mut nodes = soon(lookup(&lookupd).nodes_with(&topic)).await.unwrap();
    // That nobody has it is no error.
    lists(&mut nodes, []).await;

    let (sender, mut seen) = mpsc::unbounded_channel::<ConnectionEvent>();
    let connection = quick().observer(move |event| _ = sender.send(event.clone()));
    let config = ConsumerConfig::default().connection(connection);
    let channel = ChannelName::new("test").unwrap();
    let mut consumer = soon(Consumer::discover(nodes.clone(), topic.clone(), channel, config)).await;

    publish(&dying, &topic, "first").await;
    finish_next(&mut consumer, &dying, "first").await;
    lists(&mut nodes, [&dying]).await;
    publish(&living, &topic, "second").await;
    finish_next(&mut consumer, &living, "second").await;
    lists(&mut nodes, [&dying, &living]).await;

    dying.kill();
    lists(&mut nodes, [&living]).await;
    let closed = async {
        loop {
            let event = seen.recv().await.unwrap();
            if event.change == ConnectionChange::Closed {
                return event.address.to_string();
            }
        }
    };
    assert_eq!(soon(closed).await, dying.address.to_string());
    publish(&living, &topic, "third").await;
    finish_next(&mut consumer, &living, "third").await;
    soon(consumer.close()).await;
}

#[tokio::test]
async fn topics_are_listed_and_whether_anybody_reads_them() {
    let Some((lookupd, [first, second])) = cluster() else {
        return;
    };
    let (read, unread) = (unique_topic(), unique_topic());
    publish(&first, &unread, "x").await;
    let consumer = super::consumer([second.address.to_string()], &read).await;

    let topics = lookup(&lookupd).topics();
    let listed = async {
        while soon(topics.ask()).await.unwrap() != BTreeSet::from([read.clone(), unread.clone()]) {
            tokio::task::yield_now().await;
        }
    };
    soon(listed).await;
    let nodes = [&first, &second]
        .map(|node| node.address.to_string().into())
        .into();
    assert!(soon(topics.has_subscribers(&read, &nodes)).await.unwrap());
    assert!(!soon(topics.has_subscribers(&unread, &nodes)).await.unwrap());
    soon(consumer.close()).await;
}

#[tokio::test]
async fn sessions_that_know_only_nsqlookupd_reach_each_other() {
    let Some((lookupd, nodes)) = cluster() else {
        return;
    };
    let mut listed = soon(lookup(&lookupd).every_node()).await.unwrap();
    lists(&mut listed, &nodes).await;
    let session = || async {
        let builder = Session::builder()
            .lookupd([lookupd.http.to_string()])
            .nsq(NsqTransportConfig::default().lookup(eager()));
        soon(builder.connect()).await.unwrap()
    };
    let (serving, calling) = (session().await, session().await);
    let uri = unique("test.echo");
    let _service = soon(Service::new().procedure(echo(&uri)).start(&serving))
        .await
        .unwrap();
    // More calls than there are nodes.
    for _ in 0..4 {
        let answer = soon(calling.call::<String>(&uri, "hello").into_future()).await;
        assert_eq!(answer.unwrap(), "hello");
    }
}
