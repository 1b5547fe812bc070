//! A broker that restarts in the middle of a batch.

use std::{collections::BTreeMap, path::Path};

use almanet::{Batch, Broker, BrokerConfig, Consumer, Session};
use almanet_tests::unique;
use tokio::time::timeout;

use super::{books::Books, faults::session, tally::PATIENCE};

const ORDERS: u64 = 5;

/// A broker at `address` that keeps its messages in `kept`, if that is somewhere.
async fn start(address: &str, kept: Option<&Path>) -> Broker {
    let config = BrokerConfig::default().tcp_address(address.parse().unwrap());
    let config = match kept {
        Some(directory) => config.data_path(directory),
        None => config,
    };
    Broker::start(config).await.unwrap()
}

/// A batch that bills all orders that there are.
async fn bill(session: &Session, source: &mut Consumer<u64>, invoices: &str) -> Batch {
    let mut taken = source.recv_batch(ORDERS as usize, PATIENCE).await.unwrap();
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

#[tokio::test]
async fn a_broker_that_keeps_its_messages_restarts_and_the_orders_are_billed_twice() {
    let kept = tempfile::tempdir().unwrap();
    let broker = start("127.0.0.1:0", Some(kept.path())).await;
    let address = broker.tcp_addr().to_string();
    let session = session(&address).await;
    let (orders, invoiced) = (unique("t.orders"), unique("t.invoices"));
    let mut source = session.consume_topic::<u64>(&orders, "billing").await.unwrap();
    let mut books = Books::of(&orders);
    books.publish(&session, 0..ORDERS).await;
    let batch = bill(&session, &mut source, &invoiced).await;
    broker.stop().await.unwrap();
    let broker = start(&address, Some(kept.path())).await;
    // All that the batch publishes is confirmed by the broker that came back, which does not know of its acknowledgements.
    batch.commit().await.unwrap();
    let again = bill(&session, &mut source, &invoiced).await;
    again.commit().await.unwrap();

    let mut billed = session.consume_topic::<u64>(&invoiced, "test").await.unwrap();
    let numbers = invoices(&mut billed, 2 * ORDERS as usize).await;
    let balance = books.balance_with(numbers, []);
    assert_eq!((balance.handled, balance.again), (5, 5), "each was billed twice");
    // Acknowledged, they do not come any more: the next is a new one.
    session.produce(&orders, &ORDERS).await.unwrap();
    let order = source.recv_timeout(PATIENCE).await.unwrap().unwrap();
    assert_eq!((*order, order.attempts()), (ORDERS, 1));
    order.ack().unwrap();
    broker.stop().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_keeps_nothing_restarts_and_what_a_batch_publishes_is_there() {
    let broker = start("127.0.0.1:0", None).await;
    let address = broker.tcp_addr().to_string();
    let session = session(&address).await;
    let (orders, invoiced) = (unique("t.orders"), unique("t.invoices"));
    let mut source = session.consume_topic::<u64>(&orders, "billing").await.unwrap();
    let mut books = Books::of(&orders);
    books.publish(&session, 0..ORDERS).await;
    let batch = bill(&session, &mut source, &invoiced).await;
    broker.stop().await.unwrap();
    let broker = start(&address, None).await;
    batch.commit().await.unwrap();
    let mut billed = session.consume_topic::<u64>(&invoiced, "test").await.unwrap();
    let numbers = invoices(&mut billed, ORDERS as usize).await;
    let balance = books.balance_with(numbers, []);
    assert_eq!((balance.handled, balance.again), (5, 0));
    // The orders were in memory only, so they are not delivered again; new ones are.
    session.produce(&orders, &ORDERS).await.unwrap();
    let order = source.recv_timeout(PATIENCE).await.unwrap().unwrap();
    assert_eq!((*order, order.attempts()), (ORDERS, 1));
    order.ack().unwrap();
    broker.stop().await.unwrap();
}
