use std::time::Duration;

use almanet_nsq::{
    Compression, ConnectError, Consumer, ConsumerConfig, DeflateLevel, Feature, Producer, ProducerConfig,
    PublishError,
};
use almanet_nsq_proto::{Command, Frame, OK};
use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    certificates::{Authority, acceptor},
    packing::Packing,
    peer::{Peer, body, channel, id, quick, soon, topic},
    tls_peer::{accept, agreeing, confirm_one, connected, producer, trusting},
};

#[tokio::test]
async fn publishes_travel_encrypted() {
    let authority = Authority::new();
    let acceptor = acceptor(&authority.broker("127.0.0.1"), None);
    let peer = agreeing().await;
    let (producer, mut conversation) = connected(&peer, &acceptor, trusting(&authority)).await;
    for body in [
        body("small"),
        Bytes::from(vec![b'x'; 1024 * 1024]),
        body("small again"),
    ] {
        confirm_one(&producer, &mut conversation, body).await;
    }
    producer.close().await;
    conversation.until_closed().await;
}

#[tokio::test]
async fn messages_travel_encrypted() {
    let authority = Authority::new();
    let acceptor = acceptor(&authority.broker("127.0.0.1"), None);
    let peer = agreeing().await;
    let tls = trusting(&authority).build().unwrap();
    let config = ConsumerConfig::default()
        .connection(quick().tls(tls))
        .max_in_flight(1);
    let connecting = Consumer::connect([&peer.address], topic("t"), channel("c"), config);
    let subscribing = async {
        let mut conversation = accept(&peer, &acceptor).await.unwrap();
        assert!(matches!(conversation.next().await, Some(Command::Sub { .. })));
        conversation.ok().await;
        conversation.expect(Command::Rdy(1)).await;
        conversation.message(7, "hello").await;
        conversation
    };
    let (consumer, mut conversation) = tokio::join!(soon(connecting), subscribing);
    let mut consumer = consumer.unwrap();
    let delivery = soon(consumer.recv()).await.unwrap();
    assert_eq!(delivery.body(), &body("hello"));
    delivery.finish().unwrap();
    conversation.expect(Command::Fin(id(7))).await;
}

#[tokio::test]
async fn compression_goes_inside() {
    let authority = Authority::new();
    let acceptor = acceptor(&authority.broker("127.0.0.1"), None);
    for compression in [Compression::Snappy, Compression::Deflate(DeflateLevel::default())] {
        let mut peer = agreeing().await;
        (peer.answer.snappy, peer.answer.deflate) = (true, true);
        let tls = trusting(&authority).build().unwrap();
        let connection = quick().tls(tls).compression(compression);
        let config = ProducerConfig::default().connection(connection);
        let connecting = Producer::connect(&peer.address, config);
        let accepting = async {
            let mut conversation = accept(&peer, &acceptor).await.unwrap();
            conversation.pack(Packing::new(compression)).await;
            conversation
        };
        let (producer, mut conversation) = tokio::join!(soon(connecting), accepting);
        let producer = producer.unwrap();
        for body in [
            body("small"),
            Bytes::from(vec![b'x'; 1024 * 1024]),
            body("small again"),
        ] {
            confirm_one(&producer, &mut conversation, body).await;
        }
    }
}

#[tokio::test]
async fn a_lost_connection_is_made_again_with_tls() {
    let authority = Authority::new();
    let acceptor = acceptor(&authority.broker("127.0.0.1"), None);
    let peer = agreeing().await;
    let (producer, conversation) = connected(&peer, &acceptor, trusting(&authority)).await;
    drop(conversation);
    let mut next = accept(&peer, &acceptor).await.unwrap();
    confirm_one(&producer, &mut next, body("x")).await;
}

#[tokio::test]
async fn a_publish_that_was_encrypted_and_not_confirmed_may_have_happened() {
    let authority = Authority::new();
    let acceptor = acceptor(&authority.broker("127.0.0.1"), None);
    let peer = agreeing().await;
    let (producer, mut conversation) = connected(&peer, &acceptor, trusting(&authority)).await;
    let topic = topic("t");
    let publishing = producer.publish(&topic, body("x"));
    let breaking = async {
        conversation.published().await;
        drop(conversation);
    };
    let (published, ()) = tokio::join!(soon(publishing), breaking);
    assert!(
        matches!(published, Err(PublishError::Unconfirmed { .. })),
        "{published:?}"
    );
}

#[tokio::test]
async fn a_peer_that_takes_nothing_encrypted_is_left() {
    let authority = Authority::new();
    let acceptor = acceptor(&authority.broker("127.0.0.1"), None);
    let peer = agreeing().await;
    let tls = trusting(&authority).build().unwrap();
    let connection = quick().tls(tls).heartbeat_interval(Duration::from_millis(300));
    let config = ProducerConfig::default().connection(connection);
    let connecting = Producer::connect(&peer.address, config);
    let (producer, stalled) = tokio::join!(soon(connecting), accept(&peer, &acceptor));
    let (producer, _stalled) = (producer.unwrap(), stalled.unwrap());
    let topic = topic("t");
    // More than the sockets' buffers take.
    let bodies = vec![Bytes::from(vec![0; 1024 * 1024]); 32];
    let publishes = join_all(bodies.into_iter().map(|body| producer.publish(&topic, body)));
    tokio::select! {
        _ = publishes => panic!("nothing was confirmed"),
        next = accept(&peer, &acceptor) => drop(next.unwrap()),
    }
}

#[tokio::test]
async fn nothing_is_said_in_plain_to_a_broker_without_tls() {
    let peer = Peer::bind().await;
    let config = producer(trusting(&Authority::new()));
    let connecting = Producer::connect(&peer.address, config);
    let (connected, mut conversation) = tokio::join!(soon(connecting), peer.accept());
    let error = connected.unwrap_err();
    assert!(
        matches!(
            &error,
            ConnectError::NotGranted {
                feature: Feature::Tls,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(
        error.to_string(),
        format!(
            "{} does not grant TLS, which is configured: nsqd has it with --tls-cert and --tls-key",
            peer.address
        )
    );
    assert_eq!(conversation.next().await, None);
}

#[tokio::test]
async fn words_in_plain_after_the_agreement_are_not_taken_for_encrypted_ones() {
    let peer = agreeing().await;
    let config = producer(trusting(&Authority::new()));
    let connecting = Producer::connect(&peer.address, config);
    let forging = async {
        let mut stream = peer.accept_silently().await;
        stream.read_u8().await.unwrap();
        // Short enough to be read together with what follows.
        let mut wire = BytesMut::new();
        Frame::Response(Bytes::from_static(br#"{"tls_v1":true}"#)).encode(&mut wire);
        Frame::Response(Bytes::from_static(OK)).encode(&mut wire);
        stream.write_all(&wire).await.unwrap();
        stream
    };
    let (connected, _stream) = tokio::join!(soon(connecting), forging);
    let error = connected.unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("the peer went on in plain after it had agreed to TLS"),
        "{error}"
    );
}

#[tokio::test]
async fn a_peer_that_agrees_and_does_not_speak_tls_is_named() {
    let peer = agreeing().await;
    let connecting = Producer::connect(&peer.address, producer(trusting(&Authority::new())));
    let babbling = async { peer.accept().await.babble(b"HTTP/1.1 400\r\n\r\n").await };
    let (connected, ()) = tokio::join!(soon(connecting), babbling);
    let error = connected.unwrap_err();
    assert!(
        error.to_string().ends_with("the peer answers, but not in TLS"),
        "{error}"
    );
}

#[tokio::test]
async fn a_peer_that_hangs_up_instead_of_a_handshake_is_named() {
    let peer = agreeing().await;
    let connecting = Producer::connect(&peer.address, producer(trusting(&Authority::new())));
    let hanging_up = async {
        let mut stream = peer.accept().await.stream;
        stream.shutdown().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    };
    let (connected, ()) = tokio::join!(soon(connecting), hanging_up);
    let error = connected.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot secure the connection to {}: the peer hung up during the handshake",
            peer.address
        )
    );
}
