//! A broker that restarts in the middle of a batch.

use std::{collections::BTreeMap, path::Path};

use almanet::{Batch, Broker, BrokerConfig, Consumer, Session};
use almanet_tests::{start_again, unique};
use tokio::time::timeout;

use super::{books::Books, faults::session, tally::PATIENCE};
use crate::nsq::{lasting_address, program::Program};

const ORDERS: u64 = 5;

/// A broker at `address` that keeps its messages in `kept`, if that is somewhere.
async fn start(address: &str, kept: Option<&Path>) -> Broker {
    let config = BrokerConfig::default().tcp_address(address.parse().unwrap());
    let config = match kept {
        Some(directory) => config.data_path(directory),
        None => config,
    };
    start_again(&config).await.unwrap()
}

/// A batch that bills all orders that there are.
async fn bill(session: &Session, source: &mut Consumer<u64>, invoices: &str) -> Batch {
    let taking = source.recv_batch(ORDERS as usize, PATIENCE);
    let mut taken = timeout(PATIENCE, taking).await.unwrap().unwrap();
    while taken.events.len() < ORDERS as usize {
        let more = source.recv_timeout(PATIENCE).await.expect("an order in time");
        taken.events.push(more.unwrap());
    }
    let mut batch = session.batch();
    for order in taken.values() {
        batch.produce(invoices, order).unwrap();
    }
    batch.ack_all(taken);
    batch
}

/// The next invoices, and how often each is there.
async fn invoices(billed: &mut Consumer<u64>, count: usize) -> BTreeMap<u64, u32> {
    let mut numbers = BTreeMap::new();
    for _ in 0..count {
        let invoice = timeout(PATIENCE, billed.recv()).await.unwrap().unwrap().unwrap();
        *numbers.entry(*invoice).or_default() += 1;
        invoice.ack().unwrap();
    }
    numbers
}

/// Bills all orders in a batch that is committed only after the broker at `address` has restarted, and once more what
/// comes again, if the broker has kept the orders. Returns what `restart` did.
async fn bill_over_a_restart<B>(address: &str, keeps: bool, restart: impl AsyncFnOnce() -> B) -> B {
    let session = session(address).await;
    let (orders, invoiced) = (unique("t.orders"), unique("t.invoices"));
    let mut source = session.consume_topic::<u64>(&orders, "billing").await.unwrap();
    let mut books = Books::of(&orders);
    books.publish(&session, 0..ORDERS).await;
    let batch = bill(&session, &mut source, &invoiced).await;
    let restarted = restart().await;
    // All that the batch publishes is confirmed by the broker that came back, which does not know of its acknowledgements.
    batch.commit().await.unwrap();
    let mut times = 1;
    if keeps {
        let again = bill(&session, &mut source, &invoiced).await;
        again.commit().await.unwrap();
        times = 2;
    }

    let mut billed = session.consume_topic::<u64>(&invoiced, "test").await.unwrap();
    let numbers = invoices(&mut billed, times * ORDERS as usize).await;
    let balance = books.balance_with(numbers, []);
    assert_eq!(
        (balance.handled, balance.again),
        (ORDERS as usize, (times - 1) * ORDERS as usize)
    );
    // Neither what was acknowledged nor what was lost comes any more: the next is a new one.
    session.produce(&orders, &ORDERS).await.unwrap();
    let order = source.recv_timeout(PATIENCE).await.unwrap().unwrap();
    assert_eq!((*order, order.attempts()), (ORDERS, 1));
    order.ack().unwrap();
    restarted
}

#[tokio::test]
async fn a_broker_that_keeps_its_messages_restarts_and_the_orders_are_billed_twice() {
    let kept = tempfile::tempdir().unwrap();
    let address = lasting_address().to_string();
    let broker = start(&address, Some(kept.path())).await;
    let restart = async || {
        broker.stop().await.unwrap();
        start(&address, Some(kept.path())).await
    };
    let broker = bill_over_a_restart(&address, true, restart).await;
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_keeps_nothing_restarts_and_what_a_batch_publishes_is_there() {
    let address = lasting_address().to_string();
    let broker = start(&address, None).await;
    let restart = async || {
        broker.stop().await.unwrap();
        start(&address, None).await
    };
    let broker = bill_over_a_restart(&address, false, restart).await;
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn nsqd_restarts_in_the_middle_of_a_batch() {
    let Some(mut nsqd) = lasting_nsqd() else { return };
    let address = nsqd.address.to_string();
    bill_over_a_restart(&address, true, async || nsqd.stop_and_restart()).await;
}

/// What nsqd has in flight, it has in memory only, as well as what waits below `--mem-queue-size`.
#[tokio::test]
async fn nsqd_is_killed_in_the_middle_of_a_batch() {
    let Some(mut nsqd) = lasting_nsqd() else { return };
    let address = nsqd.address.to_string();
    bill_over_a_restart(&address, false, async || nsqd.kill_and_restart()).await;
}

/// An nsqd that goes and comes back, where its program is named.
fn lasting_nsqd() -> Option<Program> {
    Program::nsqd(&[format!("--tcp-address={}", lasting_address())])
}
