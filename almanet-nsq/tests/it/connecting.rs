use std::{error::Error, time::Duration};

use almanet_nsq::{
    ConnectError, ConnectionChange, ConnectionConfig, Consumer, ConsumerConfig, ErrorCode, Producer,
    ProducerConfig,
};
use almanet_nsq_proto::{Command, Frame, HEARTBEAT};
use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::{Instant, sleep, timeout},
};

use crate::{
    observed::observed,
    peer::{Peer, channel, quick, soon, topic},
};

fn producer(connection: ConnectionConfig) -> ProducerConfig {
    ProducerConfig::default().connection(connection)
}

async fn unused_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn an_unreachable_address_is_named_with_its_cause() {
    let address = unused_address().await;
    let error = soon(Producer::connect(&address, ProducerConfig::default()))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot connect to {address}: connection refused; is nsqd or almanet-broker running there?")
    );
    assert!(error.source().is_none(), "the text holds the cause already");
}

#[tokio::test]
async fn an_address_without_a_port_is_refused_with_advice() {
    let error = soon(Producer::connect("localhost", ProducerConfig::default()))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("localhost"), "{error}");
    assert!(error.to_string().ends_with("write it as host:port"), "{error}");
}

#[tokio::test]
async fn a_consumer_names_every_address_that_failed() {
    let addresses = [unused_address().await, unused_address().await];
    let connecting = Consumer::connect(
        addresses.clone(),
        topic("t"),
        channel("c"),
        ConsumerConfig::default(),
    );
    let error = soon(connecting).await.unwrap_err();
    assert!(matches!(&error, ConnectError::AllFailed(errors) if errors.len() == 2));
    for address in addresses {
        let cause = format!("{address}: connection refused");
        assert!(error.to_string().contains(&cause), "{error}");
    }
}

#[tokio::test]
async fn a_consumer_needs_an_address() {
    let none: [&str; 0] = [];
    let error = Consumer::connect(none, topic("t"), channel("c"), ConsumerConfig::default())
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::NoAddress));
}

#[tokio::test]
async fn a_silent_peer_is_given_up_after_the_connect_timeout() {
    let peer = Peer::bind().await;
    let config = producer(quick().connect_timeout(Duration::from_millis(100)));
    let error = soon(Producer::connect(&peer.address, config)).await.unwrap_err();
    let expected = format!("cannot connect to {}: no answer within 100ms", peer.address);
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[tokio::test]
async fn an_http_server_is_recognised_as_no_broker() {
    let peer = Peer::bind().await;
    let connecting = Producer::connect(&peer.address, ProducerConfig::default());
    let answering = async {
        let mut stream = peer.accept_silently().await;
        stream.read_u8().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        stream
    };
    let (connected, _stream) = tokio::join!(soon(connecting), answering);
    let error = connected.unwrap_err();
    assert!(matches!(error, ConnectError::NotNsq { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .starts_with(&format!("{} does not speak NSQ", peer.address)),
        "{error}"
    );
}

#[tokio::test]
async fn a_peer_that_hangs_up_before_it_answers_is_named() {
    let peer = Peer::bind().await;
    let connecting = Producer::connect(&peer.address, ProducerConfig::default());
    let hanging_up = async { drop(peer.accept_silently().await) };
    let (connected, ()) = tokio::join!(soon(connecting), hanging_up);
    let error = connected.unwrap_err();
    assert!(matches!(error, ConnectError::Lost { .. }), "{error:?}");
    assert!(error.to_string().contains(&peer.address), "{error}");
}

#[tokio::test]
async fn a_refused_subscription_is_an_error_with_the_brokers_words() {
    let peer = Peer::bind().await;
    let connecting = Consumer::connect(
        [&peer.address],
        topic("t"),
        channel("c"),
        ConsumerConfig::default(),
    );
    let refusing = async {
        let mut conversation = peer.accept().await;
        conversation.next().await;
        conversation.error(ErrorCode::SubFailed, "channel is full").await;
        conversation
    };
    let (connected, _conversation) = tokio::join!(soon(connecting), refusing);
    let error = connected.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} refuses the connection: E_SUB_FAILED channel is full",
            peer.address
        )
    );
}

#[tokio::test]
async fn identify_asks_for_what_was_configured() {
    let peer = Peer::bind().await;
    let connection = quick()
        .client_id("billing-1")
        .hostname("billing")
        .heartbeat_interval(Duration::from_secs(2));
    let config = ConsumerConfig::default()
        .connection(connection)
        .msg_timeout(Duration::from_secs(10));
    let connecting = Consumer::connect([&peer.address], topic("t"), channel("c"), config);
    let (consumer, conversation) = tokio::join!(soon(connecting), peer.accept_subscriber());
    let identify = &conversation.identify;
    assert_eq!(identify.client_id.as_deref(), Some("billing-1"));
    assert_eq!(identify.hostname.as_deref(), Some("billing"));
    assert_eq!(identify.heartbeat_interval, Some(2000));
    assert_eq!(identify.msg_timeout, Some(10_000));
    assert_eq!(identify.output_buffer_size, None);
    assert_eq!(identify.feature_negotiation, Some(true));
    assert!(identify.user_agent.as_ref().unwrap().starts_with("almanet-nsq/"));
    drop(consumer);
}

#[tokio::test]
async fn heartbeats_are_answered() {
    let peer = Peer::bind().await;
    let connecting = Producer::connect(&peer.address, ProducerConfig::default());
    let (producer, mut conversation) = tokio::join!(soon(connecting), peer.accept());
    for _ in 0..2 {
        conversation
            .send(Frame::Response(Bytes::from_static(HEARTBEAT)))
            .await;
        conversation.expect(Command::Nop).await;
    }
    drop(producer);
    conversation.until_closed().await;
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_left_after_two_heartbeats() {
    const INTERVAL: Duration = Duration::from_secs(60);
    let peer = Peer::bind().await;
    let (connection, mut seen) = observed(quick().heartbeat_interval(INTERVAL));
    let connecting = Producer::connect(&peer.address, producer(connection));
    let (producer, _silent) = tokio::join!(soon(connecting), peer.accept());
    seen.connected(&peer.address).await;
    // Nothing happens but that time passes.
    tokio::time::pause();
    let begun = Instant::now();
    let looking = async {
        loop {
            match seen.try_next() {
                Some(event) => return event,
                None => sleep(Duration::from_millis(100)).await,
            }
        }
    };
    let lost = timeout(10 * INTERVAL, looking).await.unwrap();
    let after = begun.elapsed();
    tokio::time::resume();
    let ConnectionChange::Lost { cause } = lost.change else {
        panic!("{lost:?} is not Lost");
    };
    assert_eq!(cause, "the peer was silent for 120s");
    // It was heard of a moment before the clock stopped.
    let expected = 2 * INTERVAL - Duration::from_secs(1)..=2 * INTERVAL + Duration::from_millis(200);
    assert!(expected.contains(&after), "left after {after:?}");
    let _next = peer.accept().await;
    drop(producer.unwrap());
}

#[tokio::test]
async fn garbage_ends_the_connection_and_the_next_one_works() {
    let peer = Peer::bind().await;
    let connecting = Producer::connect(&peer.address, producer(quick()));
    let (producer, mut conversation) = tokio::join!(soon(connecting), peer.accept());
    let producer = producer.unwrap();
    conversation.raw(b"\x7f\xff\xff\xff\0\0\0\0what is this").await;
    conversation.until_closed().await;

    let mut next = peer.accept().await;
    let topic = topic("t");
    let publishing = producer.publish(&topic, Bytes::from_static(b"x"));
    let confirming = async {
        next.published().await;
        next.ok().await;
    };
    let (published, ()) = tokio::join!(soon(publishing), confirming);
    assert_eq!(published, Ok(()));
}

#[tokio::test]
async fn a_peer_that_takes_nothing_is_left_although_it_sends_heartbeats() {
    let peer = Peer::bind().await;
    let connection = quick().heartbeat_interval(Duration::from_millis(50));
    let connecting = Producer::connect(&peer.address, producer(connection));
    let (producer, mut stalled) = tokio::join!(soon(connecting), peer.accept());
    let producer = producer.unwrap();
    let topic = topic("t");
    // More than the sockets' buffers take.
    let bodies = vec![Bytes::from(vec![0; 1024 * 1024]); 32];
    let publishes = join_all(bodies.into_iter().map(|body| producer.publish(&topic, body)));
    let stalling = async {
        let mut heartbeat = BytesMut::new();
        Frame::Response(Bytes::from_static(HEARTBEAT)).encode(&mut heartbeat);
        let beating = async {
            while stalled.try_raw(&heartbeat).await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let ((), next) = tokio::join!(beating, peer.accept());
        next
    };
    tokio::select! {
        _ = publishes => panic!("nothing was confirmed"),
        _next = soon(stalling) => {}
    }
}
