//! Items come in order, and no faster than they are taken.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use almanet::{
    Codec, Context, Procedure, StreamItems,
    testing::{Fault, TestBed},
};
use almanet_tests::{TestBroker, unique};
use futures_util::{StreamExt as _, stream};

use super::{all, count, soon, start};
use crate::spy::{Spy, is_reply_topic};

#[tokio::test]
async fn all_items_come_in_order_in_both_codecs_and_whatever_the_credit() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    for codec in [Codec::MessagePack, Codec::Json] {
        let calling = broker.session_with(|builder| builder.codec(codec)).await;
        let uri = unique("test.count");
        let (procedure, _) = count(&uri);
        let _service = start(&serving, procedure).await;
        for credit in [1, 2, 3, 64, 1000] {
            let call = calling.call::<u64>(&uri, &Some(500)).stream().credit(credit);
            let (items, error) = all(call.await.unwrap()).await;
            assert!(error.is_none(), "{error:?}");
            assert_eq!(items, (0..500).collect::<Vec<_>>(), "{codec:?} {credit}");
        }
    }
}

#[tokio::test]
async fn no_more_is_made_than_the_caller_grants() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.count");
    let (procedure, mut sees) = count(&uri);
    let _service = start(&serving, procedure).await;

    let mut items = calling
        .call::<u64>(&uri, &None::<u64>)
        .stream()
        .credit(10)
        .await
        .unwrap();
    soon(sees.wait_for(|seen| seen.made == 10)).await.unwrap();
    for expected in 0..4 {
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), expected);
    }
    // More would have been made by now: another stream comes and goes by the same way.
    let (others, _) = all(calling.call::<u64>(&uri, &Some(5)).stream().await.unwrap()).await;
    assert_eq!(others.len(), 5);
    assert_eq!(sees.borrow().made, 10 + 5, "less than half has been taken");
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), 4);
    soon(sees.wait_for(|seen| seen.made == 15 + 5)).await.unwrap();
    for expected in 5..100 {
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), expected);
        assert!(sees.borrow().made <= 5 + expected + 1 + 10, "{expected}");
    }
}

#[tokio::test]
async fn items_that_are_ready_together_travel_together_and_the_last_ones_with_the_end() {
    let broker = TestBroker::start().await;
    let parts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&parts);
    let spy = Spy::connect(&broker).await.on_publish(move |publication| {
        let of_streams = publication.bodies.iter().filter(|body| StreamItems::sniff(body));
        let with_items = of_streams.filter(|body| {
            let items = StreamItems::decode(body).unwrap();
            is_reply_topic(&publication.topic) && (!items.items.is_empty() || items.end.is_some())
        });
        counted.fetch_add(with_items.count(), Ordering::SeqCst);
        Ok(())
    });
    let (serving, calling) = (spy.session().await, broker.session().await);
    let uri = unique("test.count");
    let (procedure, _) = count(&uri);
    let _service = start(&serving, procedure).await;
    let (items, _) = all(calling.call::<u64>(&uri, &Some(50)).stream().await.unwrap()).await;
    assert_eq!(items.len(), 50);
    assert_eq!(parts.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn large_items_come_one_by_one_and_are_not_mixed_up() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.large");
    let large = Procedure::streaming(&uri, |_: Context, ()| async {
        let sizes = stream::iter((0..20_usize).map(|number| (number % 5) * 150_000));
        Ok(sizes.map(|size| Ok::<_, Infallible>("x".repeat(size))))
    });
    let _service = start(&serving, large).await;
    let (items, error) = all(calling.call::<String>(&uri, &()).stream().await.unwrap()).await;
    assert!(error.is_none(), "{error:?}");
    let sizes: Vec<usize> = items.iter().map(String::len).collect();
    let expected: Vec<usize> = (0..20).map(|number| (number % 5) * 150_000).collect();
    assert_eq!(sizes, expected);
}

#[tokio::test]
async fn messages_that_come_twice_or_late_change_nothing() {
    for fault in [
        Fault::duplicate().of_replies(),
        Fault::delay(std::time::Duration::from_millis(3)).of_replies(),
    ] {
        let (procedure, _) = count("test.count");
        let bed = TestBed::start(almanet::Service::new().procedure(procedure))
            .await
            .unwrap();
        bed.faults().inject(fault);
        let call = bed.session().call::<u64>("test.count", &Some(300)).stream();
        let (items, error) = all(call.credit(7).await.unwrap()).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(items, (0..300).collect::<Vec<_>>());
        assert!(bed.faults().made() > 10);
        bed.stop().await;
    }
}

#[tokio::test]
async fn streams_of_one_session_do_not_wait_for_each_other() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.count");
    let (procedure, _) = count(&uri);
    let _service = start(&serving, procedure).await;
    let mut slow = calling.call::<u64>(&uri, &None::<u64>).stream().await.unwrap();
    assert_eq!(soon(slow.next()).await.unwrap().unwrap(), 0);
    let streams = (0..20).map(async |_| {
        let call = calling.call::<u64>(&uri, &Some(1000)).stream();
        all(call.await.unwrap()).await.0.len()
    });
    let lengths = futures_util::future::join_all(streams).await;
    assert_eq!(lengths, [1000; 20]);
    assert_eq!(soon(slow.next()).await.unwrap().unwrap(), 1);
}
