//! Faults of all kinds in an order that nobody chose.

use std::time::Instant;

use almanet_tests::{
    TestBroker,
    proxy::{Cut, Direction, Proxy},
};
use fastrand::Rng;

use super::{MAX_IN_FLIGHT, MSG_TIMEOUT, consumer, load::Load, producer, unique_topic};

const FAULTS: usize = 40;

/// Does something bad to the way through this proxy, and says what.
fn harm(proxy: &Proxy, random: &mut Rng) -> String {
    let direction = if random.bool() {
        Direction::ToBroker
    } else {
        Direction::ToClient
    };
    let how = if random.bool() { Cut::Fin } else { Cut::Reset };
    match random.u8(0..6) {
        0 => {
            proxy.cut(how);
            format!("cut, {how:?}")
        }
        1 => {
            let bytes = random.u64(1..20_000);
            proxy.cut_after(direction, bytes, how);
            format!("cut after {bytes} bytes {direction:?}, {how:?}")
        }
        2 => {
            proxy.stall(direction);
            format!("stall {direction:?}")
        }
        3 => {
            proxy.swallow(direction);
            // What is lost on its way without the connection being lost is what TCP does not do.
            proxy.cut(how);
            format!("swallow {direction:?} and cut, {how:?}")
        }
        4 => {
            let size = random.usize(1..50);
            proxy.chunk(direction, size);
            format!("chunks of {size} {direction:?}")
        }
        _ => {
            proxy.refuse(true);
            proxy.cut(how);
            format!("refuse and cut, {how:?}")
        }
    }
}

/// Another run of the same faults: `ALMANET_TEST_SEED=<seed>`. The moments at which they strike differ all the same.
#[tokio::test]
async fn whatever_happens_to_the_connections_the_books_balance() {
    let seed = std::env::var("ALMANET_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("ALMANET_TEST_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let (first, second) = (TestBroker::start().await, TestBroker::start().await);
    // One way for the producer and one for the consumer, to each of two nodes.
    let mut ways = Vec::new();
    for node in [&first, &second] {
        for _ in 0..2 {
            ways.push(Proxy::to(node.address()).await);
        }
    }
    let mut load = Load::new(unique_topic());
    load.consume(consumer([ways[0].address(), ways[2].address()], &load.topic).await);
    load.publish(producer(ways[1].address()).await);
    load.publish(producer(ways[3].address()).await);
    load.goes_on(100).await;
    let begun = Instant::now();
    for fault in 0..FAULTS {
        // The second node is left alone, so that there is always something to wait for.
        let proxy = &ways[random.usize(..2)];
        let what = harm(proxy, &mut random);
        println!("{fault}: {what}");
        load.goes_on(random.u64(20..200)).await;
        if random.bool() {
            proxy.refuse(false);
            proxy.resume();
        }
    }
    for proxy in &ways {
        proxy.refuse(false);
        proxy.resume();
        // What a swallowed handshake waits for does not come any more.
        proxy.cut(Cut::Fin);
    }
    load.goes_on(100).await;
    let balance = load.settle().await;
    // What was on a connection that was lost, and what a stalled one kept for longer than its timeout.
    let lost = ways[0].counts().accepted + ways[2].counts().accepted - 2;
    let timed_out = begun.elapsed().as_secs() / MSG_TIMEOUT.as_secs();
    balance.check(
        "a random schedule",
        (lost + timed_out) as usize * MAX_IN_FLIGHT,
        0,
    );
    balance.check_that_faults_struck();
}
