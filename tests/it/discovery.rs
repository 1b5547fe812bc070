//! Sessions that find their brokers through nsqlookupd.

use std::time::Duration;

use almanet::{
    Broker, BrokerConfig, Service, Session, SessionBuilder,
    transport::{
        ConnectionChange, ConnectionConfig, ConnectionEvent, ConnectionRole, LookupConfig, NsqTransportConfig,
    },
};
use almanet_tests::{echo, unique};
use tokio::{sync::mpsc, time::timeout};

use crate::lookupd::Lookupd;

pub(crate) type Events = mpsc::UnboundedReceiver<ConnectionEvent>;

/// A broker of the test's own, since it stops it and lists it.
pub(crate) async fn broker() -> (Broker, String) {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let address = broker.tcp_addr().to_string();
    (broker, address)
}

/// A session that asks often, and what happens to its connections.
pub(crate) fn eager(lookupd: &Lookupd) -> (SessionBuilder, Events) {
    let (sender, events) = mpsc::unbounded_channel();
    let connection = ConnectionConfig::default()
        .reconnect_delay(Duration::from_millis(1)..=Duration::from_millis(20))
        .observer(move |event| {
            let _ = sender.send(event.clone());
        });
    let nsq = NsqTransportConfig::default()
        .connection(connection)
        .lookup(LookupConfig::default().poll_interval(Duration::from_millis(5)));
    let builder = Session::builder().lookupd([lookupd.address.as_str()]).nsq(nsq);
    (builder, events)
}

/// Waits until this has happened to a connection to `node`, which reads `topic` or, without one, publishes.
async fn happened(
    events: &mut Events,
    node: &str,
    topic: Option<&str>,
    is_wanted: impl Fn(&ConnectionChange) -> bool,
) {
    let waiting = async {
        loop {
            let event = events.recv().await.unwrap();
            let is_role = match (&event.role, topic) {
                (ConnectionRole::Consumer { topic: read, .. }, Some(topic)) => read.as_str() == topic,
                (ConnectionRole::Producer, None) => true,
                _ => false,
            };
            if is_role && &*event.address == node && is_wanted(&event.change) {
                return;
            }
        }
    };
    timeout(Duration::from_secs(20), waiting).await.unwrap();
}

pub(crate) fn is_connected(change: &ConnectionChange) -> bool {
    matches!(change, ConnectionChange::Connected { .. })
}

#[tokio::test]
async fn calls_and_events_go_through_every_node_that_is_listed() {
    let ((_one, first), (_two, second)) = (broker().await, broker().await);
    let lookupd = Lookupd::listing([first, second]).await;
    let serving = eager(&lookupd).0.connect().await.unwrap();
    let calling = eager(&lookupd).0.connect().await.unwrap();
    let (uri, topic) = (unique("test.echo"), unique("test.topic"));
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&serving)
        .await
        .unwrap();
    let mut consumer = serving.consume_topic::<u32>(&topic, "worker").await.unwrap();
    for number in 0..4 {
        assert_eq!(calling.call::<String>(&uri, "hello").await.unwrap(), "hello");
        calling.produce(&topic, &number).await.unwrap();
        let event = consumer.recv().await.unwrap().unwrap();
        assert_eq!(*event, number);
        event.ack().unwrap();
    }
    calling.leave().await.unwrap();
    serving.leave().await.unwrap();
}

#[tokio::test]
async fn a_node_that_appears_gets_every_subscription_and_serves_when_the_first_is_gone() {
    let ((one, first), (_two, second)) = (broker().await, broker().await);
    let lookupd = Lookupd::listing([first.clone()]).await;
    let (serving, mut served) = eager(&lookupd);
    let (calling, mut called) = eager(&lookupd);
    let serving = serving.connect().await.unwrap();
    let calling = calling.connect().await.unwrap();
    let uri = unique("test.echo");
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&serving)
        .await
        .unwrap();
    assert_eq!(calling.call::<String>(&uri, "first").await.unwrap(), "first");

    lookupd.lists([first.clone(), second.clone()]);
    let topic = format!("_rpc_.{uri}");
    let replies = format!("_rpc_._reply_.{}#ephemeral", calling.id());
    happened(&mut served, &second, Some(&topic), is_connected).await;
    happened(&mut called, &second, Some(&replies), is_connected).await;
    one.stop().await.unwrap();
    happened(&mut called, &first, None, |change| {
        matches!(change, ConnectionChange::Lost { .. })
    })
    .await;
    for _ in 0..5 {
        assert_eq!(calling.call::<String>(&uri, "second").await.unwrap(), "second");
    }
}

#[tokio::test]
async fn a_node_that_vanishes_is_let_go_by_subscriptions_and_publications() {
    let ((_one, first), (_two, second)) = (broker().await, broker().await);
    let lookupd = Lookupd::listing([first.clone(), second.clone()]).await;
    let (session, mut seen) = eager(&lookupd);
    let session = session.connect().await.unwrap();
    let topic = unique("test.topic");
    let mut consumer = session.consume_topic::<u32>(&topic, "worker").await.unwrap();

    lookupd.lists([first]);
    // In either order.
    let mut closed = Vec::new();
    while closed.len() < 2 {
        let event = timeout(Duration::from_secs(20), seen.recv())
            .await
            .unwrap()
            .unwrap();
        if event.change == ConnectionChange::Closed {
            assert_eq!(*event.address, *second);
            closed.push(event.role);
        }
    }
    assert!(closed.contains(&ConnectionRole::Producer), "{closed:?}");
    for number in 0..4 {
        session.produce(&topic, &number).await.unwrap();
        let event = consumer.recv().await.unwrap().unwrap();
        assert_eq!(*event, number);
        event.ack().unwrap();
    }
}

#[tokio::test]
async fn addresses_are_reached_besides_what_is_listed() {
    let (_broker, address) = broker().await;
    let nobody = Lookupd::listing([]).await;
    let session = eager(&nobody).0.address(address).connect().await.unwrap();
    let uri = unique("test.echo");
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&session)
        .await
        .unwrap();
    assert_eq!(session.call::<String>(&uri, "here").await.unwrap(), "here");
}

#[tokio::test]
async fn an_nsqlookupd_that_cannot_be_reached_is_an_error_that_names_it() {
    let gone = Lookupd::listing([]).await.address;
    let error = Session::builder()
        .lookupd([gone.as_str()])
        .connect()
        .await
        .unwrap_err();
    assert!(error.to_string().contains(&gone), "{error}");
}

#[tokio::test]
async fn listed_nodes_that_cannot_be_reached_are_an_error_that_names_them() {
    let (broker, address) = broker().await;
    broker.stop().await.unwrap();
    let lookupd = Lookupd::listing([address.clone()]).await;
    let error = eager(&lookupd).0.connect().await.unwrap_err();
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn a_session_that_was_left_asks_no_more() {
    let (_broker, address) = broker().await;
    let lookupd = Lookupd::listing([address.clone()]).await;
    let control = Lookupd::listing([address]).await;
    let _other = eager(&control).0.connect().await.unwrap();
    let session = eager(&lookupd).0.connect().await.unwrap();
    lookupd.is_asked(2).await;
    session.leave().await.unwrap();
    let asked = lookupd.asked();
    control.is_asked(10).await;
    // One question may have been on its way.
    assert!(lookupd.asked() <= asked + 1, "{} more", lookupd.asked() - asked);
    drop(session);
}
