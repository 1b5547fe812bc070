use std::{error::Error, time::Duration};

use almanet_nsq::{ErrorCode, Producer, ProducerConfig, ProtocolError, PublishError, TopicName};
use almanet_nsq_proto::Command;
use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};

use crate::peer::{Conversation, Peer, body, quick, soon, topic};

async fn connected(peer: &Peer, config: ProducerConfig) -> (Producer, Conversation) {
    let (producer, conversation) =
        tokio::join!(soon(Producer::connect(&peer.address, config)), peer.accept());
    (producer.unwrap(), conversation)
}

fn config() -> ProducerConfig {
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
async fn publishes_to_one_topic_that_are_queued_together_leave_as_one_command() {
    let peer = Peer::bind().await;
    let (producer, mut broker) = connected(&peer, config()).await;
    let (orders, invoices) = (topic("orders"), topic("invoices"));
    let mpub = |topic: &TopicName, bodies: &[&'static str]| Command::Mpub {
        topic: topic.clone(),
        bodies: bodies.iter().copied().map(body).collect(),
    };
    let publishes = join_all([
        producer.publish(&orders, body("a")),
        producer.publish(&invoices, body("b")),
        producer.publish(&orders, body("c")),
        producer.publish(&invoices, body("d")),
    ]);
    let confirming = async {
        broker.expect(mpub(&orders, &["a", "c"])).await;
        broker.expect(mpub(&invoices, &["b", "d"])).await;
        broker.ok().await;
        broker.error(ErrorCode::MpubFailed, "disk full").await;
        broker.hang_up().await;
    };
    let (outcomes, ()) = tokio::join!(soon(publishes), confirming);
    let confirmed: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(confirmed, [true, false, true, false]);
    for outcome in outcomes.into_iter().filter_map(Result::err) {
        assert!(
            matches!(&outcome, PublishError::Refused { cause, .. } if cause.code == ErrorCode::MpubFailed),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn what_users_publish_together_or_deferred_is_not_merged_and_keeps_its_place() {
    let peer = Peer::bind().await;
    let (producer, mut broker) = connected(&peer, config()).await;
    let topic = topic("orders");
    let (one, another) = (
        producer.publish(&topic, body("a")),
        producer.publish(&topic, body("b")),
    );
    let many = producer.publish_many(&topic, vec![body("c"), body("d")]);
    let after = producer.publish_after(&topic, Duration::from_millis(5), body("e"));
    let last = producer.publish(&topic, body("f"));
    let confirming = async {
        for bodies in [["a", "b"], ["c", "d"]] {
            let (topic, bodies) = (topic.clone(), bodies.map(body).to_vec());
            broker.expect(Command::Mpub { topic, bodies }).await;
        }
        let expected = Command::Dpub {
            topic: topic.clone(),
            delay: Duration::from_millis(5),
            body: body("e"),
        };
        broker.expect(expected).await;
        assert_eq!(broker.published().await, "f");
        for _ in 0..4 {
            broker.ok().await;
        }
    };
    let publishes = async { tokio::join!(one, another, many, after, last) };
    let (published, ()) = tokio::join!(soon(publishes), confirming);
    assert_eq!(published, (Ok(()), Ok(()), Ok(()), Ok(()), Ok(())));
}

#[tokio::test]
async fn a_message_that_is_refused_here_does_not_take_others_down() {
    let peer = Peer::bind().await;
    let connection = quick().max_message_size(4);
    let (producer, mut broker) = connected(&peer, config().connection(connection)).await;
    let topic = topic("orders");
    let publishes = join_all([
        producer.publish(&topic, body("a")),
        producer.publish(&topic, body("too large")),
        producer.publish(&topic, body("")),
        producer.publish(&topic, body("b")),
    ]);
    let confirming = async {
        let bodies = vec![body("a"), body("b")];
        broker
            .expect(Command::Mpub {
                topic: topic.clone(),
                bodies,
            })
            .await;
        broker.ok().await;
    };
    let (outcomes, ()) = tokio::join!(soon(publishes), confirming);
    let confirmed: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(confirmed, [true, false, false, true]);
}

#[tokio::test]
async fn merged_publishes_that_were_not_sent_whole_go_out_again() {
    let peer = Peer::bind().await;
    let (producer, broker) = connected(&peer, config()).await;
    let (orders, invoices) = (topic("orders"), topic("invoices"));
    let publishes = join_all([
        producer.publish(&invoices, body("refused")),
        producer.publish(&orders, body("a")),
        producer.publish(&invoices, body("refused too")),
        producer.publish(&orders, body("b")),
    ]);
    let refusing = async {
        let mut broker = broker;
        assert!(matches!(broker.next().await, Some(Command::Mpub { .. })));
        broker.error(ErrorCode::BadMessage, "not these").await;
        broker.hang_up().await;
        let mut next = peer.accept().await;
        let bodies = vec![body("a"), body("b")];
        next.expect(Command::Mpub {
            topic: orders.clone(),
            bodies,
        })
        .await;
        next.ok().await;
        next
    };
    let (outcomes, _broker) = tokio::join!(soon(publishes), refusing);
    let confirmed: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(confirmed, [false, true, false, true]);
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
async fn what_is_queued_while_the_broker_is_away_goes_out_when_it_is_back() {
    let peer = Peer::bind().await;
    let (producer, broker) = connected(&peer, config()).await;
    let orders = topic("orders");
    drop(broker);
    let mut silent = peer.accept_silently().await;
    while producer.is_connected() {
        tokio::task::yield_now().await;
    }
    let other = topic("invoices");
    let publishes = join_all([
        producer.publish(&orders, body("a")),
        producer.publish(&other, body("b")),
    ]);
    let returning = async {
        tokio::io::AsyncWriteExt::shutdown(&mut silent).await.unwrap();
        let mut broker = peer.accept().await;
        assert_eq!(broker.published().await, "a");
        assert_eq!(broker.published().await, "b");
        broker.ok().await;
        broker.ok().await;
        broker
    };
    let (published, _broker) = tokio::join!(soon(publishes), returning);
    assert_eq!(published, [Ok(()), Ok(())]);
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_cannot_be_sent_says_so_after_the_publish_timeout() {
    // A port that nobody listens on: the listener is gone.
    let address = Peer::bind().await.address;
    let config = config().publish_timeout(Duration::from_secs(15));
    let producer = Producer::connect_lazily(&address, config);
    let topic = topic("orders");
    let begun = tokio::time::Instant::now();
    let outcome = producer.publish(&topic, body("a")).await;
    let Err(PublishError::NotSent {
        address: named,
        waited,
        ..
    }) = outcome
    else {
        panic!("{outcome:?} is not NotSent");
    };
    assert_eq!(&*named, address);
    assert!(waited >= Duration::from_secs(15), "{waited:?}");
    assert!(begun.elapsed() < Duration::from_secs(16), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_publish_that_was_given_up_is_never_sent() {
    let peer = Peer::bind().await;
    let config = config().publish_timeout(Duration::from_millis(50));
    let producer = Producer::connect_lazily(&peer.address, config);
    let topic = topic("orders");
    // The peer has taken the connection and says nothing, so nothing can be published yet.
    let silent = peer.accept_silently().await;
    let dropped = producer.publish(&topic, body("dropped")).now_or_never();
    assert_eq!(dropped, None);
    let late = soon(producer.publish(&topic, body("late"))).await;
    assert!(matches!(late, Err(PublishError::NotSent { .. })), "{late:?}");

    drop(silent);
    let mut broker = peer.accept().await;
    let confirming = async {
        assert_eq!(broker.published().await, "in time");
        broker.ok().await;
    };
    let (published, ()) = tokio::join!(soon(producer.publish(&topic, body("in time"))), confirming);
    assert_eq!(published, Ok(()));
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_not_taken_for_the_next_ones() {
    let peer = Peer::bind().await;
    let config = config().publish_timeout(Duration::from_millis(50));
    let (producer, mut broker) = connected(&peer, config).await;
    let topic = topic("orders");
    let late = soon(producer.publish(&topic, body("a"))).await;
    let Err(PublishError::Unconfirmed { reason, .. }) = late else {
        panic!("{late:?} is not Unconfirmed");
    };
    assert_eq!(&*reason, "no answer within 50ms");

    assert_eq!(broker.published().await, "a");
    broker.ok().await;
    let refusing = async {
        assert_eq!(broker.published().await, "b");
        broker.error(ErrorCode::PubFailed, "PUB failed").await;
    };
    let (refused, ()) = tokio::join!(soon(producer.publish(&topic, body("b"))), refusing);
    assert!(
        matches!(refused, Err(PublishError::Refused { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn publishes_wait_for_room_in_the_queue() {
    let peer = Peer::bind().await;
    // Room for one publish only.
    let (producer, mut broker) = connected(&peer, config().max_queued_bytes(150)).await;
    let topic = topic("orders");
    let publishes = join_all([
        producer.publish(&topic, body("a")),
        producer.publish(&topic, body("b")),
    ]);
    let confirming = async {
        assert_eq!(broker.published().await, "a");
        let mut byte = [0];
        assert!(
            broker.stream.try_read(&mut byte).is_err(),
            "the second publish did not wait"
        );
        broker.ok().await;
        assert_eq!(broker.published().await, "b");
        broker.ok().await;
    };
    let (published, ()) = tokio::join!(soon(publishes), confirming);
    assert_eq!(published, [Ok(()), Ok(())]);
}

#[tokio::test]
async fn a_publish_that_finds_no_room_in_time_was_not_sent() {
    let peer = Peer::bind().await;
    let config = config()
        .max_queued_bytes(150)
        .publish_timeout(Duration::from_millis(50));
    let producer = Producer::connect_lazily(&peer.address, config);
    let _silent = peer.accept_silently().await;
    let topic = topic("orders");
    let publishes = [
        producer.publish(&topic, body("queued")),
        producer.publish(&topic, body("no room")),
    ];
    for outcome in soon(join_all(publishes)).await {
        assert!(
            matches!(outcome, Err(PublishError::NotSent { .. })),
            "{outcome:?}"
        );
    }
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
