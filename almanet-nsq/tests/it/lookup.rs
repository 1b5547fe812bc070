use std::time::Duration;

use almanet_broker::{Broker, BrokerConfig};
use almanet_nsq::{
    Consumer, ConsumerConfig, Lookup, LookupConfig, LookupError, Nodes, Producer, ProducerConfig,
};
use almanet_nsq_proto::{CLOSE_WAIT, Command, Frame};
use bytes::Bytes;

use crate::{
    lookupd::{Lookupd, Says},
    peer::{Conversation, Peer, body, channel, id, quick, soon, topic},
};

/// Asks so often that tests do not wait.
fn eager() -> LookupConfig {
    LookupConfig::default().poll_interval(Duration::from_millis(2))
}

fn lookup(lookupds: &[&Lookupd], config: LookupConfig) -> Lookup {
    let addresses = lookupds.iter().map(|lookupd| lookupd.address.as_str());
    Lookup::new(addresses, config).unwrap()
}

async fn every_node(lookupds: &[&Lookupd]) -> Nodes {
    soon(lookup(lookupds, eager()).every_node()).await.unwrap()
}

async fn discover(nodes: Nodes) -> Consumer {
    let config = ConsumerConfig::default().connection(quick());
    soon(Consumer::discover(nodes, topic("t"), channel("c"), config)).await
}

fn shown(nodes: &mut Nodes) -> Vec<String> {
    nodes.current().iter().map(|node| node.to_string()).collect()
}

async fn changed(nodes: &mut Nodes) -> Vec<String> {
    soon(nodes.changed()).await;
    shown(nodes)
}

async fn broker() -> (Broker, String) {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let address = broker.tcp_addr().to_string();
    (broker, address)
}

async fn publish(node: &str, text: &'static str) {
    let config = ProducerConfig::default().connection(quick());
    let producer = soon(Producer::connect(node, config)).await.unwrap();
    soon(producer.publish(&topic("t"), body(text))).await.unwrap();
    soon(producer.close()).await;
}

/// Takes the next message, which has to be this one, and finishes it.
async fn finish_next(consumer: &mut Consumer, text: &str) {
    let delivery = soon(consumer.recv()).await.unwrap();
    assert_eq!(delivery.body(), text);
    delivery.finish().unwrap();
}

/// The next command that is not RDY.
async fn next_but_ready(node: &mut Conversation) -> Option<Command> {
    loop {
        match node.next().await {
            Some(Command::Rdy(_)) => {}
            other => return other,
        }
    }
}

#[tokio::test]
async fn the_answers_of_several_lookupds_and_the_fixed_nodes_are_merged() {
    let one = Lookupd::listing(["a:1", "b:1"]).await;
    let two = Lookupd::listing(["c:1", "a:1"]).await;
    let config = eager().fixed_nodes(["d:1", "a:1"]);
    let lookup = lookup(&[&one, &two], config);
    let mut nodes = soon(lookup.every_node()).await.unwrap();
    assert_eq!(shown(&mut nodes), ["a:1", "b:1", "c:1", "d:1"]);
    assert!(one.was_asked("/nodes") && two.was_asked("/nodes"));
    let mut nodes = soon(lookup.nodes_with(&topic("t#ephemeral"))).await.unwrap();
    assert_eq!(shown(&mut nodes), ["a:1", "b:1", "c:1", "d:1"]);
    assert!(two.was_asked("/lookup?topic=t%23ephemeral"));
}

#[tokio::test]
async fn nodes_are_shown_as_they_come_and_go() {
    let lookupd = Lookupd::listing(["a:1"]).await;
    let mut nodes = every_node(&[&lookupd]).await;
    let mut other = nodes.clone();
    lookupd.lists(["a:1", "b:1"]);
    assert_eq!(changed(&mut nodes).await, ["a:1", "b:1"]);
    assert_eq!(changed(&mut other).await, ["a:1", "b:1"]);
    drop(nodes);
    lookupd.lists(["b:1"]);
    assert_eq!(changed(&mut other).await, ["b:1"]);
}

#[tokio::test]
async fn a_topic_that_nobody_has_yet_has_no_nodes() {
    let unknown = r#"{"message":"TOPIC_NOT_FOUND"}"#;
    let lookupd = Lookupd::start(Says::Text("404 Not Found", unknown.to_owned())).await;
    let lookup = lookup(&[&lookupd], eager());
    let mut nodes = soon(lookup.nodes_with(&topic("t"))).await.unwrap();
    assert!(shown(&mut nodes).is_empty());
    lookupd.lists(["a:1"]);
    assert_eq!(changed(&mut nodes).await, ["a:1"]);
}

/// All that can be wrong with an answer, and what the error says.
fn troubles() -> Vec<(Says, &'static str)> {
    let text = |status, text: &str| Says::Text(status, text.to_owned());
    vec![
        (Says::HangUp, "broke its answer off"),
        (Says::Nothing, "did not answer within 400ms"),
        (Says::Dribble, "did not answer within 400ms"),
        (Says::Noise, "does not answer as nsqlookupd does"),
        (Says::Endless, "larger than the limit of 10000 bytes"),
        (text("200 OK", "{}"), "cannot be read: missing field `producers`"),
        (text("404 Not Found", "no such page"), "status 404"),
        (text("500 Internal Server Error", "{}"), "status 500"),
        (text("302 Found", ""), "status 302"),
    ]
}

/// Gives up soon, but not so soon that a busy machine cannot answer.
fn impatient() -> LookupConfig {
    let config = eager().request_timeout(Duration::from_millis(400));
    config.max_answer_size(10_000)
}

#[tokio::test]
async fn a_lookupd_in_trouble_does_not_disturb_the_other_one() {
    for (trouble, _) in troubles() {
        let good = Lookupd::listing(["a:1"]).await;
        let bad = Lookupd::start(trouble).await;
        let lookup = lookup(&[&good, &bad], impatient());
        let mut nodes = soon(lookup.every_node()).await.unwrap();
        assert_eq!(shown(&mut nodes), ["a:1"]);
        good.lists(["b:1"]);
        assert_eq!(changed(&mut nodes).await, ["a:1", "b:1"]);
        assert_eq!(changed(&mut nodes).await, ["b:1"]);
    }
}

#[tokio::test]
async fn without_any_answer_at_the_start_each_trouble_is_told() {
    for (trouble, told) in troubles() {
        let lookupd = Lookupd::start(trouble).await;
        let failed = soon(lookup(&[&lookupd], impatient()).every_node()).await;
        let error = failed.unwrap_err();
        assert!(matches!(error, LookupError::NoneAnswered(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(told) && text.contains(&lookupd.address), "{text}");
    }
}

#[tokio::test]
async fn nodes_that_are_known_stay_while_no_lookupd_answers() {
    let lookupd = Lookupd::listing(["a:1"]).await;
    let mut nodes = soon(lookup(&[&lookupd], impatient()).every_node()).await.unwrap();
    for (trouble, _) in troubles() {
        lookupd.says(trouble);
        lookupd.is_asked(4).await;
        assert_eq!(shown(&mut nodes), ["a:1"]);
    }
    lookupd.lists(["b:1"]);
    changed(&mut nodes).await;
    assert_eq!(changed(&mut nodes).await, ["b:1"]);
}

#[tokio::test]
async fn an_answer_that_is_slow_and_in_time_counts() {
    let quick = Lookupd::listing(["a:1"]).await;
    let late = Says::Late(Duration::from_millis(100), vec!["b:1".to_owned()]);
    let slow = Lookupd::start(late).await;
    let lookup = lookup(&[&quick, &slow], impatient());
    let mut nodes = soon(lookup.every_node()).await.unwrap();
    assert_eq!(shown(&mut nodes), ["a:1", "b:1"]);
    quick.lists(["c:1"]);
    assert_eq!(changed(&mut nodes).await, ["a:1", "b:1", "c:1"]);
    assert_eq!(changed(&mut nodes).await, ["b:1", "c:1"]);
}

#[tokio::test]
async fn a_consumer_goes_on_receiving_whatever_is_wrong_with_lookupd() {
    let (_broker, address) = broker().await;
    let lookupd = Lookupd::listing([&*address]).await;
    let nodes = soon(lookup(&[&lookupd], impatient()).every_node()).await.unwrap();
    let mut consumer = discover(nodes).await;
    publish(&address, "before").await;
    finish_next(&mut consumer, "before").await;
    for (trouble, told) in troubles() {
        lookupd.says(trouble);
        // More often than it may leave a node out.
        lookupd.is_asked(4).await;
        publish(&address, told).await;
        finish_next(&mut consumer, told).await;
    }
    // There is nobody any more to ask.
    drop(lookupd);
    publish(&address, "after").await;
    finish_next(&mut consumer, "after").await;
    soon(consumer.close()).await;
}

#[tokio::test]
async fn fixed_nodes_are_there_even_if_no_lookupd_is() {
    let lookup = Lookup::new(["127.0.0.1:1"], eager().fixed_nodes(["a:1"])).unwrap();
    let mut nodes = soon(lookup.every_node()).await.unwrap();
    assert_eq!(shown(&mut nodes), ["a:1"]);
    let lookup = Lookup::new(["127.0.0.1:1"], eager()).unwrap();
    let error = soon(lookup.every_node()).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("cannot connect to nsqlookupd at 127.0.0.1:1"),
        "{error}"
    );
}

#[tokio::test]
async fn nobody_is_asked_any_more_once_nobody_wants_to_know() {
    let lookupd = Lookupd::listing(["a:1"]).await;
    let patient = eager().request_timeout(Duration::from_secs(3600));
    let nodes = soon(lookup(&[&lookupd], patient).every_node()).await.unwrap();
    lookupd.says(Says::Nothing);
    lookupd.is_asked(1).await;
    let other = nodes.clone();
    drop(nodes);
    assert!(!lookupd.is_hung_up());
    drop(other);
    lookupd.hung_up().await;
}

#[test]
fn a_lookup_needs_an_address_that_is_one() {
    let new = |addresses: &[&str]| Lookup::new(addresses.iter().copied(), LookupConfig::default());
    assert_eq!(new(&[]).unwrap_err(), LookupError::NoAddress);
    let error = new(&["a:1", "https://a:1"]).unwrap_err();
    assert!(matches!(error, LookupError::InvalidAddress { .. }), "{error:?}");
    new(&["a:1", "http://b:1/"]).unwrap();
}

#[tokio::test]
async fn a_consumer_reads_from_every_node_that_was_found_at_the_start() {
    let ((_one, one), (_two, two)) = (broker().await, broker().await);
    let lookupd = Lookupd::listing([&*one, &two]).await;
    publish(&one, "from one").await;
    publish(&two, "from two").await;
    let mut consumer = discover(every_node(&[&lookupd]).await).await;
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let delivery = soon(consumer.recv()).await.unwrap();
        bodies.push(delivery.body().clone());
        delivery.finish().unwrap();
    }
    bodies.sort();
    assert_eq!(bodies, ["from one", "from two"]);
    soon(consumer.close()).await;
}

#[tokio::test]
async fn a_consumer_starts_without_a_node_and_takes_up_those_that_come() {
    let ((_one, one), (_two, two)) = (broker().await, broker().await);
    let lookupd = Lookupd::listing([]).await;
    let mut consumer = discover(every_node(&[&lookupd]).await).await;
    publish(&one, "from one").await;
    publish(&two, "from two").await;
    lookupd.lists([&*one]);
    finish_next(&mut consumer, "from one").await;
    lookupd.lists([&*one, &two]);
    finish_next(&mut consumer, "from two").await;
    publish(&one, "again").await;
    finish_next(&mut consumer, "again").await;
    soon(consumer.close()).await;
}

#[tokio::test]
async fn a_consumer_reads_from_a_fixed_node_and_from_what_is_found() {
    let ((_one, one), (_two, two)) = (broker().await, broker().await);
    let lookupd = Lookupd::start(Says::HangUp).await;
    let lookup = lookup(&[&lookupd], eager().fixed_nodes([one.as_str()]));
    let nodes = soon(lookup.nodes_with(&topic("t"))).await.unwrap();
    let mut consumer = discover(nodes).await;
    publish(&one, "from one").await;
    finish_next(&mut consumer, "from one").await;
    publish(&two, "from two").await;
    lookupd.lists([&*two]);
    finish_next(&mut consumer, "from two").await;
    soon(consumer.close()).await;
}

#[tokio::test]
async fn a_node_that_is_no_longer_listed_is_drained_and_then_left() {
    let ((_staying, staying), leaving) = (broker().await, Peer::bind().await);
    let lookupd = Lookupd::listing([&*staying, &leaving.address]).await;
    let discovering = discover(every_node(&[&lookupd]).await);
    let (mut consumer, mut node) = tokio::join!(discovering, leaving.accept_subscriber());
    let Some(Command::Rdy(1..)) = node.next().await else {
        panic!("the consumer is not ready");
    };
    node.messages(1..=3, "x").await;
    let held = soon(consumer.recv()).await.unwrap();

    lookupd.lists([&*staying]);
    // The user takes nothing more meanwhile, and yet what waits is given back.
    let mut requeued = Vec::new();
    let mut is_stopped = false;
    while requeued.len() < 2 || !is_stopped {
        match node.next().await {
            Some(Command::Req { id, delay }) if delay.is_zero() => requeued.push(id),
            Some(Command::Rdy(count)) => is_stopped = count == 0,
            other => panic!("{other:?} is neither REQ nor RDY"),
        }
    }
    requeued.sort();
    assert_eq!(requeued, [id(2), id(3)]);
    node.message(4, "late").await;
    let Some(Command::Req { id: late, .. }) = next_but_ready(&mut node).await else {
        panic!("what came late was not requeued");
    };
    assert_eq!(late, id(4));

    held.finish().unwrap();
    assert_eq!(next_but_ready(&mut node).await, Some(Command::Fin(id(1))));
    assert_eq!(next_but_ready(&mut node).await, Some(Command::Cls));
    node.send(Frame::Response(Bytes::from_static(CLOSE_WAIT))).await;
    soon(node.until_closed()).await;

    publish(&staying, "still here").await;
    finish_next(&mut consumer, "still here").await;
    soon(consumer.close()).await;
}

#[tokio::test]
async fn a_node_that_is_listed_again_is_taken_up_again() {
    let node = Peer::bind().await;
    let lookupd = Lookupd::listing([node.address.as_str()]).await;
    let discovering = discover(every_node(&[&lookupd]).await);
    let (mut consumer, mut first) = tokio::join!(discovering, node.accept_subscriber());
    first.message(1, "slow").await;
    let slow = soon(consumer.recv()).await.unwrap();
    lookupd.lists([]);
    while first.next().await != Some(Command::Rdy(0)) {}

    lookupd.lists([node.address.as_str()]);
    let mut second = node.accept_subscriber().await;
    second.message(2, "new").await;
    finish_next(&mut consumer, "new").await;
    slow.finish().unwrap();
    assert_eq!(next_but_ready(&mut first).await, Some(Command::Fin(id(1))));
    assert_eq!(next_but_ready(&mut first).await, Some(Command::Cls));
    assert_eq!(next_but_ready(&mut second).await, Some(Command::Fin(id(2))));
}

#[tokio::test]
async fn closing_waits_for_what_was_handed_out_by_a_node_that_is_being_left() {
    let node = Peer::bind().await;
    let lookupd = Lookupd::listing([node.address.as_str()]).await;
    let discovering = discover(every_node(&[&lookupd]).await);
    let (mut consumer, mut conversation) = tokio::join!(discovering, node.accept_subscriber());
    conversation.message(1, "slow").await;
    let slow = soon(consumer.recv()).await.unwrap();
    lookupd.lists([]);
    while conversation.next().await != Some(Command::Rdy(0)) {}

    let broker_side = async {
        slow.finish().unwrap();
        assert_eq!(next_but_ready(&mut conversation).await, Some(Command::Fin(id(1))));
        assert_eq!(next_but_ready(&mut conversation).await, Some(Command::Cls));
        let close_wait = Frame::Response(Bytes::from_static(CLOSE_WAIT));
        conversation.send(close_wait).await;
        conversation.until_closed().await;
    };
    tokio::join!(soon(consumer.close()), soon(broker_side));
}

#[tokio::test]
async fn a_dropped_consumer_leaves_every_node_that_was_found() {
    let node = Peer::bind().await;
    let lookupd = Lookupd::listing([node.address.as_str()]).await;
    let discovering = discover(every_node(&[&lookupd]).await);
    let (consumer, mut conversation) = tokio::join!(discovering, node.accept_subscriber());
    drop(consumer);
    soon(conversation.until_closed()).await;
}

#[test]
fn what_discovers_can_be_sent_between_threads() {
    fn is_send<T: Send>(_: T) {}
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Nodes>();
    is_send_and_sync::<Lookup>();
    let lookup = Lookup::new(["a:1"], LookupConfig::default()).unwrap();
    is_send(lookup.every_node());
    let _ = |nodes| {
        is_send(Consumer::discover(
            nodes,
            topic("t"),
            channel("c"),
            ConsumerConfig::default(),
        ))
    };
}
