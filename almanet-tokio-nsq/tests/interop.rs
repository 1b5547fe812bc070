//! Sessions over tokio-nsq and sessions over Almanet's own client understand each other.
//!
//! Over the embedded broker, or the nsqd that `ALMANET_TEST_NSQD` names.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use almanet::{
    CallError, Context, Procedure, Service, ServiceHandle, Session,
    transport::{ChannelName, Publication, PublishError, SubscribeOptions, TopicName, Transport},
};
use almanet_tests::{
    TestBroker,
    proxy::{Cut, Proxy},
    unique,
};
use almanet_tokio_nsq::{TokioNsqTransport, TokioNsqTransportConfig};
use bytes::Bytes;

async fn transport(broker: &TestBroker) -> TokioNsqTransport {
    TokioNsqTransport::connect([broker.address().to_owned()], TokioNsqTransportConfig::default())
        .await
        .expect("a transport")
}

async fn tokio_nsq_session(broker: &TestBroker) -> Session {
    let transport = transport(broker).await;
    Session::builder()
        .transport(transport)
        .connect()
        .await
        .expect("a session")
}

async fn serve_doubling(session: &Session, uri: &str) -> ServiceHandle {
    let double = Procedure::new(uri, |_: Context, number: u32| async move {
        Ok::<_, Infallible>(number * 2)
    });
    Service::new()
        .procedure(double)
        .start(session)
        .await
        .expect("a service")
}

/// Makes a hundred calls at once and sees that each gets its own answer.
async fn call_a_hundred_times(caller: &Session, uri: &str) {
    let calls: Vec<_> = (0..100_u32)
        .map(|number| {
            let (caller, uri) = (caller.clone(), uri.to_owned());
            tokio::spawn(async move { (number, caller.call::<u32>(&uri, &number).await) })
        })
        .collect();
    for call in calls {
        let (number, answer) = call.await.unwrap();
        assert_eq!(answer.unwrap(), number * 2);
    }
}

#[tokio::test]
async fn a_native_session_calls_a_service_over_tokio_nsq() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (tokio_nsq_session(&broker).await, broker.session().await);
    let uri = unique("interop.double");
    let service = serve_doubling(&serving, &uri).await;
    call_a_hundred_times(&calling, &uri).await;
    service.stop().await;
    serving.leave().await.unwrap();
    calling.leave().await.unwrap();
}

#[tokio::test]
async fn a_session_over_tokio_nsq_calls_a_native_service() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, tokio_nsq_session(&broker).await);
    let uri = unique("interop.double");
    let service = serve_doubling(&serving, &uri).await;
    call_a_hundred_times(&calling, &uri).await;
    service.stop().await;
    serving.leave().await.unwrap();
    calling.leave().await.unwrap();
}

#[tokio::test]
async fn a_call_that_nobody_answers_times_out_over_tokio_nsq() {
    let broker = TestBroker::start().await;
    let calling = tokio_nsq_session(&broker).await;
    let uri = unique("interop.nobody");
    let answer = calling
        .call::<u32>(&uri, &1)
        .timeout(Duration::from_millis(300))
        .await;
    assert!(matches!(answer, Err(CallError::Timeout { .. })), "{answer:?}");
    calling.leave().await.unwrap();
}

#[tokio::test]
async fn events_go_from_tokio_nsq_to_native_and_back() {
    let broker = TestBroker::start().await;
    let (ours, theirs) = (broker.session().await, tokio_nsq_session(&broker).await);
    for (from, to) in [(&ours, &theirs), (&theirs, &ours)] {
        let topic = unique("interop.event");
        let mut consumer = to.consume_topic::<String>(&topic, "reader").await.unwrap();
        from.produce(&topic, "hello").await.unwrap();
        let event = consumer.recv().await.unwrap().unwrap();
        assert_eq!(*event, "hello");
        event.ack().unwrap();
        consumer.close().await;
    }
    ours.leave().await.unwrap();
    theirs.leave().await.unwrap();
}

#[tokio::test]
async fn an_event_that_is_refused_or_dropped_over_tokio_nsq_comes_again() {
    let broker = TestBroker::start().await;
    let session = tokio_nsq_session(&broker).await;
    let topic = unique("interop.again");
    let mut consumer = session.consume_topic::<String>(&topic, "reader").await.unwrap();
    session.produce(&topic, "hello").await.unwrap();

    let first = consumer.recv().await.unwrap().unwrap();
    assert_eq!(first.attempts(), 1);
    first.nack(Duration::from_millis(1)).unwrap();
    let second = consumer.recv().await.unwrap().unwrap();
    assert_eq!(second.attempts(), 2);
    drop(second);
    let third = consumer.recv().await.unwrap().unwrap();
    assert_eq!((third.attempts(), third.as_str()), (3, "hello"));
    third.ack().unwrap();
    consumer.close().await;
    session.leave().await.unwrap();
}

#[tokio::test]
async fn what_a_closed_subscription_had_not_handed_out_goes_to_the_next_one() {
    let broker = TestBroker::start().await;
    let session = tokio_nsq_session(&broker).await;
    let topic = unique("interop.left");
    let mut first = session.consume_topic::<u32>(&topic, "reader").await.unwrap();
    for number in 0..20_u32 {
        session.produce(&topic, &number).await.unwrap();
    }
    let handled = first.recv().await.unwrap().unwrap();
    let mut seen = vec![*handled];
    handled.ack().unwrap();
    first.close().await;

    let native = broker.session().await;
    let mut second = native.consume_topic::<u32>(&topic, "reader").await.unwrap();
    while seen.len() < 20 {
        let event = second.recv().await.unwrap().unwrap();
        seen.push(*event);
        event.ack().unwrap();
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
    second.close().await;
    native.leave().await.unwrap();
    session.leave().await.unwrap();
}

#[tokio::test]
async fn several_messages_are_published_together_and_read_one_by_one() {
    let broker = TestBroker::start().await;
    let transport = transport(&broker).await;
    let (topic, channel) = (TopicName::new(unique("interop.many")).unwrap(), "reader");
    let channel = ChannelName::new(channel).unwrap();
    let mut subscription = transport
        .subscribe(&topic, &channel, SubscribeOptions::default())
        .await
        .unwrap();
    let mut publication = Publication::new(topic, Bytes::from_static(b"0"));
    publication
        .bodies
        .extend([Bytes::from_static(b"1"), Bytes::from_static(b"2")]);
    transport.publish(publication).await.unwrap();

    let mut bodies = Vec::new();
    for _ in 0..3 {
        let delivery = subscription.recv().await.unwrap();
        bodies.push(delivery.body.clone());
        delivery.finish().unwrap();
    }
    bodies.sort_unstable();
    assert_eq!(bodies, ["0", "1", "2"]);
    subscription.close().await;
    transport.close().await;
}

#[tokio::test]
async fn one_transport_publishes_to_several_nodes_and_reads_all_of_them() {
    // Of their own, so that there are two even where one nsqd is named.
    let (one, two) = (TestBroker::embedded().await, TestBroker::embedded().await);
    let addresses = [&one, &two].map(|broker| broker.address().to_owned());
    let config = TokioNsqTransportConfig::default();
    let transport = TokioNsqTransport::connect(addresses.clone(), config)
        .await
        .unwrap();
    let topic = TopicName::new(unique("interop.nodes")).unwrap();
    let channel = ChannelName::new("reader").unwrap();
    let mut subscription = transport
        .subscribe(&topic, &channel, SubscribeOptions::default())
        .await
        .unwrap();
    for number in 0..10 {
        let publication = Publication::new(topic.clone(), Bytes::from(number.to_string()));
        transport.publish(publication).await.unwrap();
    }
    let (mut bodies, mut nodes) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..10 {
        let delivery = subscription.recv().await.unwrap();
        bodies.insert(delivery.body.clone());
        nodes.insert(delivery.node.to_string());
        delivery.finish().unwrap();
    }
    assert_eq!(
        bodies,
        (0..10).map(|number| Bytes::from(number.to_string())).collect()
    );
    assert_eq!(nodes, BTreeSet::from(addresses));
    subscription.close().await;
    transport.close().await;
}

#[tokio::test]
async fn connections_that_were_cut_come_back_and_carry_messages_again() {
    let broker = TestBroker::start().await;
    let proxy = Proxy::to(broker.address()).await;
    let config = TokioNsqTransportConfig::default().publish_timeout(Duration::from_secs(2));
    let transport = TokioNsqTransport::connect([proxy.address()], config)
        .await
        .unwrap();
    let topic = TopicName::new(unique("interop.cut")).unwrap();
    let channel = ChannelName::new("reader").unwrap();
    let mut subscription = transport
        .subscribe(&topic, &channel, SubscribeOptions::default())
        .await
        .unwrap();
    let before = Publication::new(topic.clone(), Bytes::from_static(b"before"));
    transport.publish(before).await.unwrap();
    let delivery = subscription.recv().await.unwrap();
    assert_eq!(delivery.body, "before");
    delivery.finish().unwrap();

    let connections = proxy.counts().accepted;
    proxy.cut(Cut::Reset);
    proxy.accepted(2 * connections).await;
    // What is published while the connection comes back can be lost, and its publisher is told.
    let after = Publication::new(topic.clone(), Bytes::from_static(b"after"));
    while let Err(error) = transport.publish(after.clone()).await {
        assert!(!matches!(error, PublishError::Closed), "{error}");
    }
    // Where the answer to the first was cut off, it comes again.
    let mut body = Bytes::new();
    while body != "after" {
        let delivery = subscription.recv().await.unwrap();
        body = delivery.body.clone();
        delivery.finish().unwrap();
    }
    transport.close().await;
}

#[tokio::test]
async fn a_publish_that_the_broker_refuses_fails_and_later_ones_succeed() {
    let broker = TestBroker::start().await;
    let transport = transport(&broker).await;
    let topic = TopicName::new(unique("interop.refused")).unwrap();
    let mut too_late = Publication::new(topic.clone(), Bytes::from_static(b"in two hours"));
    too_late.delay = Some(Duration::from_secs(2 * 60 * 60));
    let refused = transport.publish(too_late).await;
    assert!(
        matches!(refused, Err(PublishError::Unconfirmed { .. })),
        "{refused:?}"
    );
    let now = Publication::new(topic.clone(), Bytes::from_static(b"now"));
    transport.publish(now.clone()).await.unwrap();
    transport.close().await;
    assert_eq!(transport.publish(now).await, Err(PublishError::Closed));
}

#[tokio::test]
async fn an_empty_or_too_large_message_is_refused_before_it_is_sent() {
    let broker = TestBroker::start().await;
    let transport = transport(&broker).await;
    let topic = TopicName::new(unique("interop.size")).unwrap();
    let empty = Publication::new(topic.clone(), Bytes::new());
    let refused = transport.publish(empty).await;
    assert!(matches!(refused, Err(PublishError::Empty { .. })), "{refused:?}");
    let large = Publication::new(topic, vec![b'x'; 1024 * 1024 + 1].into());
    let refused = transport.publish(large).await;
    assert!(
        matches!(refused, Err(PublishError::TooLarge { .. })),
        "{refused:?}"
    );
    transport.close().await;
}

#[tokio::test]
async fn an_address_that_nothing_listens_on_is_named() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let config = TokioNsqTransportConfig::default().connect_timeout(Duration::from_millis(100));
    let error = TokioNsqTransport::connect([address.clone()], config)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no answer from {address} within 100ms: is nsqd or almanet-broker running there?")
    );
}

#[test]
fn a_runtime_that_shuts_down_first_takes_nothing_else_with_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let (transport, subscription) = runtime.block_on(async {
        let broker = TestBroker::start().await;
        let transport = transport(&broker).await;
        let topic = TopicName::new(unique("interop.shutdown")).unwrap();
        let channel = ChannelName::new("reader").unwrap();
        let options = SubscribeOptions::default();
        let subscription = transport.subscribe(&topic, &channel, options).await.unwrap();
        (transport, subscription)
    });
    // tokio-nsq's consumer may panic when it is dropped by the runtime, in the task that holds it.
    drop(runtime);
    drop(subscription);
    drop(transport);
}
