//! Error frames in the middle of good work.

use almanet_nsq::ErrorCode;
use almanet_nsq_proto::{Frame, ProtocolError};
use almanet_tests::{
    TestBroker,
    proxy::{Direction, Proxy},
};
use bytes::{Bytes, BytesMut};

use super::{consumer, next, producer, soon, unique_topic};

fn frame(code: ErrorCode) -> Bytes {
    let mut wire = BytesMut::new();
    Frame::Error(ProtocolError::new(code, "as a test wanted it")).encode(&mut wire);
    wire.freeze()
}

#[tokio::test]
async fn an_error_that_is_not_fatal_costs_nothing() {
    let broker = TestBroker::start().await;
    let topic = unique_topic();
    let proxy = Proxy::to(broker.address()).await;
    let mut consumer = consumer([proxy.address()], &topic).await;
    let producer = producer(proxy.address()).await;
    for (round, code) in [ErrorCode::FinFailed, ErrorCode::ReqFailed, ErrorCode::TouchFailed]
        .into_iter()
        .enumerate()
    {
        // To both connections.
        proxy.inject(frame(code));
        proxy
            .until(|counts| counts.injected == 2 * (round as u64 + 1))
            .await;
        soon(producer.publish(&topic, Bytes::from_static(b"x")))
            .await
            .unwrap();
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.attempts(), 1);
        delivery.finish().unwrap();
    }
    assert_eq!(proxy.counts().accepted, 2, "a connection was given up");
}

#[tokio::test]
async fn a_fatal_error_ends_the_connection_and_the_next_one_works() {
    let broker = TestBroker::start().await;
    let topic = unique_topic();
    let proxy = Proxy::to(broker.address()).await;
    let mut consumer = consumer([proxy.address()], &topic).await;
    let producer = producer(proxy.address()).await;
    for (round, code) in [ErrorCode::Invalid, ErrorCode::BadTopic, ErrorCode::Unauthorized]
        .into_iter()
        .enumerate()
    {
        proxy.inject(frame(code));
        proxy.accepted(2 * (round as u64 + 2)).await;
        proxy.open(2).await;
        soon(producer.publish(&topic, Bytes::from_static(b"x")))
            .await
            .unwrap();
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.attempts(), 1);
        delivery.finish().unwrap();
    }
}

#[tokio::test]
async fn a_fatal_error_while_a_publish_waits_is_its_refusal() {
    let broker = TestBroker::start().await;
    let topic = unique_topic();
    let proxy = Proxy::to(broker.address()).await;
    let producer = producer(proxy.address()).await;
    // The broker does not hear of it, so that only the forged frame can answer it.
    proxy.swallow(Direction::ToBroker);
    let publishing = producer.publish(&topic, Bytes::from_static(b"x"));
    let refusing = async {
        proxy.until(|counts| counts.swallowed > 0).await;
        proxy.inject(frame(ErrorCode::PubFailed));
    };
    let (outcome, ()) = soon(async { tokio::join!(publishing, refusing) }).await;
    let error = outcome.unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    assert!(
        cause
            .as_deref()
            .is_some_and(|cause| cause.contains("E_PUB_FAILED")),
        "{error}: {cause:?}"
    );
}
