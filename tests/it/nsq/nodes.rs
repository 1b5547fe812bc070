//! Two nodes of which one dies.

use almanet_tests::{
    TestBroker,
    proxy::{Cut, Proxy},
};

use super::{MAX_IN_FLIGHT, consumer, load::Load, producer, unique_topic};

#[tokio::test]
async fn while_one_of_two_nodes_is_dead_the_other_works_and_what_the_dead_one_has_comes_later() {
    const DEATHS: usize = 3;
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
    balance.check("one of two nodes dies", DEATHS * MAX_IN_FLIGHT);
}
