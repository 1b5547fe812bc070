use almanet_nsq::{
    Compression, ConnectError, ConnectionConfig, Consumer, ConsumerConfig, DeflateLevel, Feature, Producer,
    ProducerConfig, PublishError, Window,
};
use almanet_nsq_proto::{Command, Frame, HEARTBEAT};
use bytes::Bytes;

use crate::{
    packing::Packing,
    peer::{Conversation, Peer, body, channel, id, quick, soon, topic},
};

const BOTH: [Compression; 2] = [Compression::Snappy, Compression::Deflate(DeflateLevel::FASTEST)];

fn compressed(compression: Compression) -> ConnectionConfig {
    quick().compression(compression)
}

/// A peer that grants whatever is asked for.
async fn granting() -> Peer {
    let mut peer = Peer::bind().await;
    peer.answer.snappy = true;
    peer.answer.deflate = true;
    peer.answer.deflate_level = 6;
    peer
}

async fn accept(peer: &Peer, compression: Compression) -> Conversation {
    let mut conversation = peer.accept().await;
    conversation.pack(Packing::new(compression)).await;
    conversation
}

async fn producer(peer: &Peer, compression: Compression) -> (Producer, Conversation) {
    let config = ProducerConfig::default().connection(compressed(compression));
    let connecting = Producer::connect(&peer.address, config);
    let (producer, conversation) = tokio::join!(soon(connecting), accept(peer, compression));
    (producer.unwrap(), conversation)
}

#[tokio::test]
async fn publishes_travel_compressed() {
    for compression in BOTH {
        let peer = granting().await;
        let (producer, mut conversation) = producer(&peer, compression).await;
        let topic = topic("t");
        // Beyond what fits into one chunk, one write or one read.
        let large = Bytes::from(vec![b'x'; 1024 * 1024]);
        for body in [body("small"), large, body("small again")] {
            let publishing = producer.publish(&topic, body.clone());
            let confirming = async {
                assert_eq!(conversation.published().await, body);
                conversation.ok().await;
            };
            let (published, ()) = tokio::join!(soon(publishing), confirming);
            assert_eq!(published, Ok(()), "{compression:?}");
        }
        producer.close().await;
        conversation.until_closed().await;
    }
}

#[tokio::test]
async fn messages_travel_compressed_and_heartbeats_are_answered() {
    for compression in BOTH {
        let peer = granting().await;
        let config = ConsumerConfig::default()
            .connection(compressed(compression))
            .window(Window::Fixed(10));
        let connecting = Consumer::connect([&peer.address], topic("t"), channel("c"), config);
        let subscribing = async {
            let mut conversation = accept(&peer, compression).await;
            assert!(matches!(conversation.next().await, Some(Command::Sub { .. })));
            conversation.ok().await;
            conversation.expect(Command::Rdy(10)).await;
            conversation
        };
        let (consumer, mut conversation) = tokio::join!(soon(connecting), subscribing);
        let mut consumer = consumer.unwrap();
        for number in 1..=3 {
            conversation.message(number, "hello").await;
            conversation
                .send(Frame::Response(Bytes::from_static(HEARTBEAT)))
                .await;
            let delivery = soon(consumer.recv()).await.unwrap();
            assert_eq!(delivery.body(), &body("hello"));
            conversation.expect(Command::Nop).await;
            delivery.finish().unwrap();
            conversation.expect(Command::Fin(id(number))).await;
        }
    }
}

#[tokio::test]
async fn identify_asks_for_the_one_that_is_configured() {
    let peer = granting().await;
    let (_producer, conversation) = producer(&peer, Compression::Snappy).await;
    let asked = |conversation: &Conversation| {
        let identify = &conversation.identify;
        (identify.snappy, identify.deflate, identify.deflate_level)
    };
    assert_eq!(asked(&conversation), (Some(true), None, None));
    let (_producer, conversation) = producer(&peer, Compression::Deflate(DeflateLevel::SMALLEST)).await;
    assert_eq!(asked(&conversation), (None, Some(true), Some(9)));
}

#[tokio::test]
async fn without_a_buffer_nsqd_is_asked_for_a_timer_that_flushes_its_deflate() {
    let peer = granting().await;
    let unbuffered = async |compression| {
        let config = ConsumerConfig::default()
            .connection(compressed(compression))
            .window(Window::Unbuffered);
        let connecting = Consumer::connect([&peer.address], topic("t"), channel("c"), config);
        let subscribing = async {
            let mut conversation = accept(&peer, compression).await;
            assert!(matches!(conversation.next().await, Some(Command::Sub { .. })));
            conversation.ok().await;
            conversation.identify
        };
        let (consumer, identify) = tokio::join!(soon(connecting), subscribing);
        consumer.unwrap();
        (identify.output_buffer_size, identify.output_buffer_timeout)
    };
    assert_eq!(unbuffered(BOTH[0]).await, (Some(-1), None));
    assert_eq!(unbuffered(BOTH[1]).await, (None, Some(25)));
}

#[tokio::test]
async fn a_broker_that_does_not_grant_it_is_an_error() {
    for (compression, feature) in BOTH.into_iter().zip([Feature::Snappy, Feature::Deflate]) {
        let peer = Peer::bind().await;
        let config = ProducerConfig::default().connection(compressed(compression));
        let connecting = Producer::connect(&peer.address, config);
        let (connected, mut conversation) = tokio::join!(soon(connecting), peer.accept());
        let error = connected.unwrap_err();
        assert!(
            matches!(&error, ConnectError::NotGranted { feature: missing, .. } if *missing == feature),
            "{error:?}"
        );
        let start = format!("{} does not grant {feature}", peer.address);
        assert!(error.to_string().starts_with(&start), "{error}");
        conversation.until_closed().await;
    }
}

#[tokio::test]
async fn what_does_not_unpack_ends_the_connection_and_the_next_one_works() {
    for compression in BOTH {
        let peer = granting().await;
        let (producer, conversation) = producer(&peer, compression).await;
        conversation.babble(b"\xff\xff\xff\xff what is this").await;

        let mut next = accept(&peer, compression).await;
        let topic = topic("t");
        let publishing = producer.publish(&topic, body("x"));
        let confirming = async {
            next.published().await;
            next.ok().await;
        };
        let (published, ()) = tokio::join!(soon(publishing), confirming);
        assert_eq!(published, Ok(()));
    }
}

#[tokio::test]
async fn a_frame_beyond_the_limit_is_refused_however_small_it_was_made() {
    for compression in BOTH {
        let peer = granting().await;
        let (_producer, mut conversation) = producer(&peer, compression).await;
        let mut frame = vec![0; 8 * 1024 * 1024];
        frame[..4].copy_from_slice(&(8 * 1024 * 1024_i32 - 4).to_be_bytes());
        // The client hangs up on the head, so the rest may find nobody.
        let _ = soon(conversation.try_raw(&frame)).await;
        conversation.until_closed().await;
        let _next = accept(&peer, compression).await;
    }
}

#[tokio::test]
async fn a_publish_that_was_written_and_not_confirmed_may_have_happened() {
    for compression in BOTH {
        let peer = granting().await;
        let (producer, mut conversation) = producer(&peer, compression).await;
        let topic = topic("t");
        let publishing = producer.publish(&topic, body("x"));
        let breaking = async {
            conversation.published().await;
            conversation.hang_up().await;
        };
        let (published, ()) = tokio::join!(soon(publishing), breaking);
        assert!(
            matches!(published, Err(PublishError::Unconfirmed { .. })),
            "{published:?}"
        );
    }
}
