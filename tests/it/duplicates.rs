//! Work that has a key is done once by an instance, however often it is asked for.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use almanet::{CallError, Context, Procedure, RpcError, Service};
use almanet_tests::{TestBroker, unique};
use tokio::sync::Semaphore;

use crate::spy::{Spy, is_reply_topic, unconfirmed};

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum PayError {
    #[error("{0} is too much")]
    TooMuch(u32),
}

/// A procedure that counts what it has paid, and answers with the number of the payment.
fn pay(uri: &str, gate: Option<Arc<Semaphore>>) -> (Procedure, Arc<AtomicU32>) {
    let paid = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&paid);
    let procedure = Procedure::new(uri, move |_: Context, amount: u32| {
        let (number, gate) = (count.fetch_add(1, Ordering::SeqCst) + 1, gate.clone());
        async move {
            if let Some(gate) = gate {
                gate.acquire().await.unwrap().forget();
            }
            match amount {
                0..100 => Ok(number),
                _ => Err(PayError::TooMuch(amount)),
            }
        }
    });
    (procedure, paid)
}

#[tokio::test]
async fn a_key_that_came_before_gets_the_first_answer() {
    let broker = TestBroker::start().await;
    let (serving, calling, other) = (
        broker.session().await,
        broker.session().await,
        broker.session().await,
    );
    let uri = unique("test.pay");
    let (procedure, paid) = pay(&uri, None);
    let service = Service::new().procedure(procedure).start(&serving).await.unwrap();

    let keyed = |amount: u32, key: &str| calling.call::<u32>(&uri, &amount).idempotency_key(key);
    assert_eq!(keyed(7, "a").await.unwrap(), 1);
    assert_eq!(keyed(7, "a").await.unwrap(), 1);
    let by_other = other.call::<u32>(&uri, &7).idempotency_key("a");
    assert_eq!(by_other.await.unwrap(), 1);
    assert_eq!(keyed(7, "b").await.unwrap(), 2);
    assert_eq!(
        calling.call::<u32>(&uri, &7).await.unwrap(),
        3,
        "no key, no memory"
    );
    assert_eq!(calling.call::<u32>(&uri, &7).await.unwrap(), 4);

    for _ in 0..2 {
        let error = keyed(100, "c").expecting::<PayError>().await.unwrap_err();
        assert!(
            matches!(error, CallError::Remote(PayError::TooMuch(100))),
            "{error:?}"
        );
    }
    assert_eq!(paid.load(Ordering::SeqCst), 5);
    let replayed: u64 = service.counts().map(|(_, counts)| counts.replayed).sum();
    assert_eq!(replayed, 3);

    let error = keyed(8, "a").await.unwrap_err();
    let CallError::InvalidPayload { reason, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(reason.contains("with another payload"), "{reason}");
}

#[tokio::test]
async fn duplicates_that_come_while_the_first_runs_wait_for_its_answer() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.pay");
    let gate = Arc::new(Semaphore::new(0));
    let (procedure, paid) = pay(&uri, Some(Arc::clone(&gate)));
    let _service = Service::new().procedure(procedure).start(&session).await.unwrap();

    let keyed = || {
        let call = session.call::<u32>(&uri, &7).idempotency_key("a");
        tokio::spawn(call.into_future())
    };
    let calls: Vec<_> = (0..5).map(|_| keyed()).collect();
    while paid.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1);
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), 1);
    }
}

#[tokio::test]
async fn a_call_that_is_delivered_again_because_its_answer_was_lost_is_not_run_again() {
    let broker = TestBroker::start().await;
    let replies = AtomicU32::new(0);
    let spy = Spy::connect(&broker).await.on_publish(move |publication| {
        if is_reply_topic(&publication.topic) && replies.fetch_add(1, Ordering::SeqCst) < 2 {
            return Err(unconfirmed(publication));
        }
        Ok(())
    });
    let (serving, calling) = (spy.session().await, broker.session().await);
    let uri = unique("test.pay");
    let (procedure, paid) = pay(&uri, None);
    let _service = Service::new().procedure(procedure).start(&serving).await.unwrap();
    let call = calling.call::<u32>(&uri, &7).idempotency_key("a");
    assert_eq!(call.await.unwrap(), 1);
    assert_eq!(paid.load(Ordering::SeqCst), 1);
}
