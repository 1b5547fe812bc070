//! Two nodes of which one dies.

use std::ops::RangeInclusive;

use almanet_nsq::Duplicates;
use almanet_tests::{
    TestBroker,
    proxy::{Cut, Direction, Proxy},
};

use super::{
    MAX_IN_FLIGHT, consumer,
    ledger::Balance,
    load::{Load, PUBLISHERS},
    pool, producer,
    program::Program,
    unique_topic,
};

const DEATHS: usize = 3;

#[tokio::test]
async fn while_one_of_two_nodes_is_dead_the_other_works_and_what_the_dead_one_has_comes_later() {
    // With one nsqd for all tests, these are two ways to it.
    let (first, second) = (TestBroker::start().await, TestBroker::start().await);
    let (dying, living) = (
        Proxy::to(first.address()).await,
        Proxy::to(second.address()).await,
    );
    let mut load = Load::new(unique_topic());
    load.consume(consumer([dying.address(), living.address()], &load.topic).await);
    load.publish(producer(dying.address()).await);
    load.publish(producer(living.address()).await);
    load.goes_on(500).await;
    for _ in 0..DEATHS {
        let living_before = living.counts();
        dying.refuse(true);
        dying.cut(Cut::Reset);
        dying.open(0).await;
        load.goes_on(500).await;
        assert_eq!(
            living.counts().accepted,
            living_before.accepted,
            "the living one was disturbed"
        );
        dying.refuse(false);
        dying.open(2).await;
        load.goes_on(500).await;
    }
    let balance = load.settle().await;
    // Each of the two may have half of it.
    balance.check("one of two nodes dies", DEATHS * MAX_IN_FLIGHT / 2, 0);
    balance.check_that_faults_struck();
}

/// How many publishes can be under way when a node dies, and at least one of each death is.
const LOST_WITH_A_NODE: RangeInclusive<usize> = DEATHS..=DEATHS * PUBLISHERS;

/// Publishes through a pool of two nodes. One of them dies again and again, and each time it has taken in messages whose
/// confirmations are lost with it.
async fn one_of_two_dies_before_it_confirms(duplicates: Duplicates) -> Balance {
    let (first, second) = (TestBroker::start().await, TestBroker::start().await);
    let (dying, living) = (
        Proxy::to(first.address()).await,
        Proxy::to(second.address()).await,
    );
    let mut load = Load::new(unique_topic());
    let nodes = [&first, &second].map(|node| node.address().to_owned());
    load.consume(consumer(nodes, &load.topic).await);
    load.publish_pool(pool([dying.address(), living.address()], duplicates).await);
    for _ in 0..DEATHS {
        load.goes_on(200).await;
        // It has its share again: a node that was dead is first tried with one publish.
        let sent = dying.counts().to_broker;
        dying.forwarded(Direction::ToBroker, sent + 10_000).await;
        dying.stall(Direction::ToClient);
        let sent = dying.counts().to_broker;
        dying.forwarded(Direction::ToBroker, sent + 1).await;
        load.until(|now| now.ahead >= PUBLISHERS as u64).await;
        dying.refuse(true);
        dying.cut(Cut::Reset);
        dying.open(0).await;
        load.goes_on(200).await;
        dying.resume();
        dying.refuse(false);
        dying.open(1).await;
    }
    assert_eq!(living.counts().accepted, 1, "the living one was disturbed");
    load.settle().await
}

#[tokio::test]
async fn a_pool_sends_nothing_twice_and_tells_of_each_publish_that_a_node_took_with_it() {
    let balance = one_of_two_dies_before_it_confirms(Duplicates::Never).await;
    balance.check("one of two nodes of a pool dies", 0, 0);
    assert!(LOST_WITH_A_NODE.contains(&balance.unconfirmed), "{balance}");
    assert_eq!(balance.failed, 0, "the other node was there: {balance}");
}

#[tokio::test]
async fn a_pool_that_may_send_twice_confirms_everything_while_one_node_lives() {
    let balance = one_of_two_dies_before_it_confirms(Duplicates::Allowed).await;
    let most = *LOST_WITH_A_NODE.end();
    balance.check("one of two nodes of a pool dies, duplicates allowed", 0, most);
    assert!(balance.doubled > 0, "nothing was sent twice: {balance}");
    assert_eq!((balance.unconfirmed, balance.failed), (0, 0), "{balance}");
}

#[tokio::test]
async fn a_pool_confirms_everything_while_one_of_two_processes_is_killed_and_comes_back() {
    let (mut dying, living) = (Program::start(), Program::start());
    let mut load = Load::new(unique_topic());
    let nodes = [&dying, &living].map(|node| node.address.to_string());
    load.consume(consumer(nodes.clone(), &load.topic).await);
    load.publish_pool(pool(nodes.clone(), Duplicates::Allowed).await);
    load.goes_on(500).await;
    let mut left = 0;
    for _ in 0..DEATHS {
        dying.kill();
        left += load.node_was_replaced(&nodes[0]);
        load.goes_on(500).await;
        dying.replace();
        load.goes_on(500).await;
    }
    let balance = load.settle().await;
    balance.check("one of two processes is killed", 0, DEATHS * PUBLISHERS);
    assert_eq!((balance.unconfirmed, balance.failed), (0, 0), "{balance}");
    assert!(balance.gone_with_a_broker <= left, "more than {left}: {balance}");
}
