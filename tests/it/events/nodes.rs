//! Consumers over several nodes: what each of them has arrives, also when one dies and another appears, and a drain is in
//! order on all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use almanet::{
    Consumer, EventContext, PushConsumer, Received, Session,
    transport::{ConnectionChange, ConnectionRole},
};
use almanet_tests::unique;
use tokio::{sync::Semaphore, time::timeout};

use super::tally::{PATIENCE, Tally};
use crate::{
    discovery::{Events, broker, eager, is_connected},
    lookupd::Lookupd,
};

/// Waits until this has happened to the connections of both channels of `topic` at `node`.
async fn both_channels(
    seen: &mut Events,
    node: &str,
    topic: &str,
    is_wanted: impl Fn(&ConnectionChange) -> bool,
) {
    let mut channels = BTreeSet::new();
    while channels.len() < 2 {
        let event = timeout(PATIENCE, seen.recv()).await.unwrap().unwrap();
        if let ConnectionRole::Consumer { topic: read, channel } = &event.role
            && read.as_str() == topic
            && &*event.address == node
            && is_wanted(&event.change)
        {
            channels.insert(channel.to_string());
        }
    }
}

/// Publishes these numbers through this node alone.
async fn publish(node: &str, topic: &str, numbers: std::ops::Range<u64>) {
    let session = Session::connect(node).await.unwrap();
    for number in numbers {
        session.produce(topic, &number).await.unwrap();
    }
    session.leave().await.unwrap();
}

/// Takes so many events, and notes how often each came from which node.
async fn take(consumer: &mut Consumer<u64>, count: usize, nodes: &mut BTreeMap<String, Vec<u64>>) {
    for _ in 0..count {
        let event = consumer
            .recv_timeout(PATIENCE)
            .await
            .expect("an event in time")
            .unwrap();
        let node = event.delivery().node.to_string();
        nodes.entry(node).or_default().push(*event);
        event.ack().unwrap();
    }
}

#[tokio::test]
async fn events_of_all_nodes_arrive_while_one_dies_and_another_appears() {
    const EACH: u64 = 50;
    let ((one, first), (two, second), (three, third)) = (broker().await, broker().await, broker().await);
    let lookupd = Lookupd::listing([first.clone(), second.clone()]).await;
    let (builder, mut seen) = eager(&lookupd);
    let session = builder.connect().await.unwrap();
    let topic = unique("test.nodes");
    let (pushed, nodes) = (Tally::default(), Arc::new(Mutex::new(BTreeSet::new())));
    let push = PushConsumer::new(&topic, "push", {
        let (pushed, nodes) = (pushed.clone(), Arc::clone(&nodes));
        move |context: EventContext, number: u64| {
            nodes.lock().unwrap().insert(context.node().to_owned());
            let pushed = pushed.clone();
            async move { pushed.add(number) }
        }
    });
    let running = push.start(&session).await.unwrap();
    let mut pull = session.consume_topic::<u64>(&topic, "pull").await.unwrap();
    let mut pulled = BTreeMap::new();

    publish(&first, &topic, 0..EACH).await;
    publish(&second, &topic, EACH..2 * EACH).await;
    take(&mut pull, 2 * EACH as usize, &mut pulled).await;
    pushed.distinct(2 * EACH as usize).await;

    one.stop().await.unwrap();
    let is_lost = |change: &ConnectionChange| matches!(change, ConnectionChange::Lost { .. });
    both_channels(&mut seen, &first, &topic, is_lost).await;
    publish(&second, &topic, 2 * EACH..3 * EACH).await;
    take(&mut pull, EACH as usize, &mut pulled).await;
    pushed.distinct(3 * EACH as usize).await;

    lookupd.lists([second.clone(), third.clone()]);
    both_channels(&mut seen, &third, &topic, is_connected).await;
    publish(&third, &topic, 3 * EACH..4 * EACH).await;
    take(&mut pull, EACH as usize, &mut pulled).await;
    pushed.distinct(4 * EACH as usize).await;

    println!(
        "published {}, pushed {}, pulled {pulled:?}",
        4 * EACH,
        pushed.total()
    );
    assert_eq!(u64::from(pushed.total()), 4 * EACH, "each once");
    assert_eq!(nodes.lock().unwrap().len(), 3);
    for (node, numbers) in [
        (first, 0..EACH),
        (second, EACH..3 * EACH),
        (third, 3 * EACH..4 * EACH),
    ] {
        let mut taken = pulled.remove(&node).unwrap();
        taken.sort_unstable();
        assert_eq!(taken, numbers.collect::<Vec<_>>(), "{node}");
    }
    running.stop().await;
    session.leave().await.unwrap();
    two.stop().await.unwrap();
    three.stop().await.unwrap();
}

/// What a channel still has, at all nodes; the last event published is `last`.
async fn rest(session: &Session, topic: &str, count: usize) -> BTreeMap<u64, u32> {
    let mut consumer = session.consume_topic::<u64>(topic, "worker").await.unwrap();
    let mut rest = BTreeMap::<u64, u32>::new();
    for _ in 0..count {
        let event = consumer
            .recv_timeout(PATIENCE)
            .await
            .expect("the rest in time")
            .unwrap();
        *rest.entry(*event).or_default() += 1;
        event.ack().unwrap();
    }
    let more = consumer.recv_timeout(Duration::from_millis(100)).await;
    assert!(more.is_none(), "{more:?} was dealt with");
    rest
}

#[tokio::test]
async fn a_drain_ends_what_runs_for_both_nodes_and_gives_back_the_rest() {
    const EACH: u64 = 20;
    const AT_ONCE: usize = 8;
    let ((one, first), (two, second)) = (broker().await, broker().await);
    let session = Session::connect(format!("{first},{second}")).await.unwrap();
    let topic = unique("test.drain");
    let (started, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
    let (begun, done) = (Tally::default(), Tally::default());
    let consumer = PushConsumer::new(&topic, "worker", {
        let (started, gate) = (Arc::clone(&started), Arc::clone(&gate));
        let (begun, done) = (begun.clone(), done.clone());
        move |context: EventContext, number: u64| {
            started.lock().unwrap().push(context.node().to_owned());
            begun.add(number);
            let (gate, done) = (Arc::clone(&gate), done.clone());
            async move {
                gate.acquire().await.unwrap().forget();
                done.add(number);
            }
        }
    });
    let running = consumer.concurrency(AT_ONCE).start(&session).await.unwrap();
    publish(&first, &topic, 0..EACH).await;
    publish(&second, &topic, EACH..2 * EACH).await;
    // Those of one node may have taken all places: they go on until both have some.
    begun.distinct(AT_ONCE).await;
    loop {
        let nodes: Vec<String> = started
            .lock()
            .unwrap()
            .iter()
            .rev()
            .take(AT_ONCE)
            .cloned()
            .collect();
        if nodes.contains(&first) && nodes.contains(&second) {
            break;
        }
        let running = begun.now().len();
        gate.add_permits(1);
        begun.distinct(running + 1).await;
    }

    let mut stopping = std::pin::pin!(running.stop());
    assert!(futures_util::poll!(&mut stopping).is_pending());
    gate.add_permits(AT_ONCE);
    timeout(PATIENCE, stopping).await.expect("it drains in time");
    let handled = done.now();
    assert_eq!(handled, begun.now(), "what had begun was cut off");

    let left = 2 * EACH as usize - handled.len();
    let given_back = rest(&session, &topic, left).await;
    println!(
        "published {}, handled {}, given back {}",
        2 * EACH,
        handled.len(),
        given_back.len()
    );
    let all: BTreeMap<u64, u32> = handled.into_iter().chain(given_back).collect();
    assert_eq!(all, (0..2 * EACH).map(|number| (number, 1)).collect());
    session.leave().await.unwrap();
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}

#[tokio::test]
async fn closing_a_pull_consumer_waits_for_what_is_out_on_both_nodes() {
    const EACH: u64 = 20;
    let ((one, first), (two, second)) = (broker().await, broker().await);
    let session = Session::connect(format!("{first},{second}")).await.unwrap();
    let topic = unique("test.close");
    let mut consumer = session.consume_topic::<u64>(&topic, "worker").await.unwrap();
    publish(&first, &topic, 0..EACH).await;
    publish(&second, &topic, EACH..2 * EACH).await;
    let mut out: Vec<Received<u64>> = Vec::new();
    let has = |out: &[Received<u64>], node: &str| out.iter().any(|event| *event.delivery().node == *node);
    while !(has(&out, &first) && has(&out, &second)) {
        out.push(consumer.recv_timeout(PATIENCE).await.unwrap().unwrap());
    }
    let mut closing = std::pin::pin!(consumer.close());
    assert!(futures_util::poll!(&mut closing).is_pending());
    let taken: BTreeMap<u64, u32> = out.iter().map(|event| (**event, 1)).collect();
    for event in out {
        event.ack().unwrap();
    }
    timeout(PATIENCE, closing).await.expect("it ends in time");

    let given_back = rest(&session, &topic, 2 * EACH as usize - taken.len()).await;
    println!(
        "published {}, taken {}, given back {}",
        2 * EACH,
        taken.len(),
        given_back.len()
    );
    let all: BTreeMap<u64, u32> = taken.into_iter().chain(given_back).collect();
    assert_eq!(all, (0..2 * EACH).map(|number| (number, 1)).collect());
    session.leave().await.unwrap();
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}
