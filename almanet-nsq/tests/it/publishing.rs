use std::{error::Error, time::Duration};

use almanet_nsq::{ErrorCode, Producer, ProducerConfig, ProtocolError, PublishError};
use almanet_nsq_proto::Command;
use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};

use crate::peer::{Conversation, Peer, body, quick, soon, topic};

pub(crate) async fn connected(peer: &Peer, config: ProducerConfig) -> (Producer, Conversation) {
    let (producer, conversation) =
        tokio::join!(soon(Producer::connect(&peer.address, config)), peer.accept());
    (producer.unwrap(), conversation)
}

pub(crate) fn config() -> ProducerConfig {
    ProducerConfig::default().connection(quick())
}

#[tokio::test]
async fn a_publish_resolves_when_the_broker_confirms_it() {
    let peer = Peer::bind().await;
    let (producer, mut broker) = connected(&peer, config()).await;
    let topic = topic("orders");
    let mut publishing = Box::pin(producer.publish(&topic, body("tea")));
    assert!(publishing.as_mut().now_or_never().is_none());
    broker
        .expect(Command::Pub {
            topic: topic.clone(),
            body: body("tea"),
        })
        .await;
    assert!(publishing.as_mut().now_or_never().is_none());
    broker.ok().await;
    assert_eq!(soon(publishing).await, Ok(()));
}

#[tokio::test]
async fn several_messages_and_deferred_ones_have_their_own_commands() {
    let peer = Peer::bind().await;
    let (producer, mut broker) = connected(&peer, config()).await;
    let topic = topic("orders");
    let delay = Duration::from_millis(1500);
    let publishing = async {
        let bodies = vec![body("a"), body("b")];
        producer.publish_many(&topic, bodies).await?;
        producer.publish_after(&topic, delay, body("c")).await
    };
    let answering = async {
        let bodies = vec![body("a"), body("b")];
        let topic = topic.clone();
        broker
            .expect(Command::Mpub {
                topic: topic.clone(),
                bodies,
            })
            .await;
        broker.ok().await;
        broker
            .expect(Command::Dpub {
                topic,
                delay,
                body: body("c"),
            })
            .await;
        broker.ok().await;
    };
    let (published, ()) = tokio::join!(soon(publishing), answering);
    assert_eq!(published, Ok(()));
}

#[tokio::test]
async fn what_nsq_does_not_take_is_refused_before_it_is_sent() {
    let peer = Peer::bind().await;
    let connection = quick().max_message_size(10).max_body_size(20);
    let (producer, mut broker) = connected(&peer, config().connection(connection)).await;
    let topic = topic("orders");
    let too_large = |size, limit| {
        Err(PublishError::TooLarge {
            topic: topic.clone(),
            size,
            limit,
        })
    };
    let empty = Err(PublishError::Empty { topic: topic.clone() });
    let eleven = body("eleven bytes".get(..11).unwrap());
    assert_eq!(producer.publish(&topic, eleven.clone()).await, too_large(11, 10));
    assert_eq!(
        producer.publish_many(&topic, vec![eleven.clone()]).await,
        too_large(11, 10)
    );
    assert_eq!(
        producer.publish_after(&topic, Duration::ZERO, eleven).await,
        too_large(11, 10)
    );
    let ten = body("ten bytes!");
    assert_eq!(
        producer.publish_many(&topic, vec![ten.clone(), ten]).await,
        too_large(4 + 2 * 14, 20)
    );
    assert_eq!(producer.publish(&topic, Bytes::new()).await, empty);
    assert_eq!(producer.publish_many(&topic, vec![]).await, empty);
    assert_eq!(producer.publish_many(&topic, vec![Bytes::new()]).await, empty);

    producer.close().await;
    assert_eq!(broker.next().await, None, "nothing was sent");
}

#[tokio::test]
async fn ten_thousand_confirmations_find_their_publishes() {
    const COUNT: usize = 10_000;
    let peer = Peer::bind().await;
    let (producer, mut broker) = connected(&peer, config()).await;
    let topics: Vec<_> = (0..COUNT)
        .map(|number| topic(&format!("orders.{number}")))
        .collect();
    let publishes = join_all(topics.iter().enumerate().map(|(number, topic)| {
        let body = Bytes::from(format!("{number}"));
        producer.publish(topic, body)
    }));
    // A refusal in the middle belongs to exactly one of them, and those behind it are sent again.
    let refused = COUNT / 2;
    let answering = async {
        for number in 0..refused {
            assert_eq!(broker.published().await, format!("{number}"));
            broker.ok().await;
        }
        broker.published().await;
        broker.error(ErrorCode::BadMessage, "not this one").await;
        broker.hang_up().await;
        let mut next = peer.accept().await;
        for number in refused + 1..COUNT {
            assert_eq!(next.published().await, format!("{number}"));
            next.ok().await;
        }
        next
    };
    let (outcomes, _broker) = tokio::join!(soon(publishes), answering);
    for (number, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome.is_err(), number == refused, "{number}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_refusal_has_the_brokers_words_and_the_next_publish_works() {
    let peer = Peer::bind().await;
    let (producer, mut broker) = connected(&peer, config()).await;
    let topic = topic("orders");
    let refusing = async {
        broker.published().await;
        broker.error(ErrorCode::PubFailed, "disk full").await;
        broker.hang_up().await;
        let mut next = peer.accept().await;
        next.published().await;
        next.ok().await;
        next
    };
    let publishing = async {
        let refused = producer.publish(&topic, body("a")).await;
        (refused, producer.publish(&topic, body("b")).await)
    };
    let ((refused, confirmed), _broker) = tokio::join!(soon(publishing), refusing);
    let error = refused.unwrap_err();
    assert_eq!(
        error,
        PublishError::Refused {
            address: peer.address.as_str().into(),
            topic: topic.clone(),
            cause: ProtocolError::new(ErrorCode::PubFailed, "disk full"),
        }
    );
    assert_eq!(
        error.to_string(),
        format!("{} refused a publish to topic orders", peer.address)
    );
    assert_eq!(error.source().unwrap().to_string(), "E_PUB_FAILED disk full");
    assert_eq!(confirmed, Ok(()));
}

#[tokio::test]
async fn a_publish_that_was_sent_is_unconfirmed_when_the_connection_is_cut() {
    let peer = Peer::bind().await;
    let (producer, mut broker) = connected(&peer, config()).await;
    let topic = topic("orders");
    let cutting = async {
        broker.published().await;
        // Half of an answer is no answer.
        broker.raw(b"\0\0\0\x06\0\0").await;
        drop(broker);
    };
    let (published, ()) = tokio::join!(soon(producer.publish(&topic, body("a"))), cutting);
    let error = published.unwrap_err();
    assert!(matches!(&error, PublishError::Unconfirmed { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains(&peer.address) && text.contains("may have happened or not"),
        "{text}"
    );
}

#[tokio::test]
async fn a_peer_that_closes_only_its_side_is_noticed() {
    let peer = Peer::bind().await;
    let (producer, mut broker) = connected(&peer, config()).await;
    let topic = topic("orders");
    let closing = async {
        broker.published().await;
        tokio::io::AsyncWriteExt::shutdown(&mut broker.stream)
            .await
            .unwrap();
        broker
    };
    let (published, _broker) = tokio::join!(soon(producer.publish(&topic, body("a"))), closing);
    assert!(
        matches!(published, Err(PublishError::Unconfirmed { .. })),
        "{published:?}"
    );
}

#[tokio::test]
async fn an_answer_that_nothing_had_asked_for_ends_the_connection() {
    let peer = Peer::bind().await;
    let (producer, mut broker) = connected(&peer, config()).await;
    broker.ok().await;
    broker.until_closed().await;
    peer.accept().await;
    drop(producer);
}

#[tokio::test]
async fn close_waits_for_the_confirmations_and_refuses_what_comes_after() {
    let peer = Peer::bind().await;
    let (producer, mut broker) = connected(&peer, config()).await;
    let topic = topic("orders");
    let clone = producer.clone();
    let publishing = producer.publish(&topic, body("a"));
    let closing = async {
        assert_eq!(broker.published().await, "a");
        let mut closing = Box::pin(clone.close());
        assert!(closing.as_mut().now_or_never().is_none());
        assert_eq!(clone.publish(&topic, body("b")).await, Err(PublishError::Closed));
        broker.ok().await;
        soon(closing).await;
    };
    let (published, ()) = tokio::join!(soon(publishing), closing);
    assert_eq!(published, Ok(()));
    assert_eq!(broker.next().await, None);
    assert!(!producer.is_connected());
}

#[tokio::test]
async fn close_without_a_broker_ends_with_the_publish_timeout() {
    let address = Peer::bind().await.address;
    let config = config().publish_timeout(Duration::from_millis(50));
    let producer = Producer::connect_lazily(&address, config);
    let topic = topic("orders");
    let publishing = producer.publish(&topic, body("a"));
    let (published, ()) = tokio::join!(soon(publishing), soon(producer.close()));
    assert!(
        matches!(published, Err(PublishError::NotSent { .. })),
        "{published:?}"
    );
}

#[tokio::test]
async fn dropping_the_last_clone_closes_the_connection() {
    let peer = Peer::bind().await;
    let (producer, mut broker) = connected(&peer, config()).await;
    let clone = producer.clone();
    drop(producer);
    let topic = topic("orders");
    let confirming = async {
        broker.published().await;
        broker.ok().await;
    };
    let (published, ()) = tokio::join!(soon(clone.publish(&topic, body("a"))), confirming);
    assert_eq!(published, Ok(()));
    drop(clone);
    assert_eq!(broker.next().await, None);
}

#[test]
fn a_publish_whose_runtime_is_gone_fails_instead_of_waiting_for_ever() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let gone = runtime();
    let producer = gone.block_on(async { Producer::connect_lazily("127.0.0.1:1", config()) });
    drop(gone);
    let topic = topic("orders");
    let outcome = runtime().block_on(soon(producer.publish(&topic, body("a"))));
    assert_eq!(outcome, Err(PublishError::Closed));
}

#[test]
fn a_producer_and_its_publishes_can_move_between_threads() {
    fn moves<T: Send + Sync + 'static>() {}
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    moves::<Producer>();
    let _ = |producer: Producer| is_send(async move { producer.publish(&topic("t"), Bytes::new()).await });
}
