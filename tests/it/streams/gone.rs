//! One side is gone and has told nobody: the other one notices.

use std::{sync::Arc, time::Duration};

use almanet::{
    CallError, Codec, Id, Invocation, Payload, Service, Session, StreamItems,
    testing::{Fault, MemoryBroker, TestBed},
    transport::{ChannelName, Publication, SubscribeOptions, TopicName, Transport as _},
};
use almanet_tests::{TestBroker, unique};
use tokio::time::Instant;

use super::{all, count, quiet, soon, start};

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_quiet_is_not_taken_for_dead() {
    let (procedure, sees) = quiet("test.quiet");
    let bed = TestBed::in_memory(Service::new().procedure(procedure))
        .await
        .unwrap();
    let call = bed.session().call::<u64>("test.quiet", &2).stream();
    let mut items = call.timeout(Duration::from_secs(3)).await.unwrap();
    for expected in 0..2 {
        assert_eq!(items.next().await.unwrap().unwrap(), expected);
    }
    let hour = Duration::from_secs(3600);
    let silent = tokio::time::timeout(hour, items.next()).await;
    assert!(silent.is_err(), "{silent:?}");
    // Nor does the service take a caller for gone that does not ask for the next item.
    tokio::time::sleep(hour).await;
    assert_eq!(sees.borrow().dropped, 1, "the numbers before the silence");
    drop(items);
    let mut sees = sees;
    sees.wait_for(|seen| seen.dropped == 2).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_silent_is_given_up_after_the_timeout() {
    let (procedure, _sees) = quiet("test.quiet");
    let bed = TestBed::in_memory(Service::new().procedure(procedure))
        .await
        .unwrap();
    let timeout = Duration::from_secs(7);
    let call = bed
        .session()
        .call::<u64>("test.quiet", &1)
        .stream()
        .timeout(timeout);
    let mut items = call.await.unwrap();
    assert_eq!(items.next().await.unwrap().unwrap(), 0);
    // From here on nothing comes through, as if the process were gone.
    bed.faults().inject(Fault::drop_message().of_replies());
    let begun = Instant::now();
    let error = items.next().await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    assert!(begun.elapsed() <= timeout, "{:?}", begun.elapsed());
    assert!(items.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn nobody_who_serves_is_a_timeout() {
    let bed = TestBed::builder().in_memory().start().await.unwrap();
    let begun = Instant::now();
    let call = bed.session().call::<u64>("test.nobody", &1).stream();
    let (items, error) = {
        let mut items = call.timeout(Duration::from_secs(2)).await.unwrap();
        (items.next().await, items.next().await)
    };
    assert!(matches!(items, Some(Err(CallError::Timeout { .. }))), "{items:?}");
    assert!(error.is_none());
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn an_item_that_was_lost_is_missed_and_nothing_behind_it_comes_out() {
    let (procedure, _) = count("test.count");
    let bed = TestBed::in_memory(Service::new().procedure(procedure))
        .await
        .unwrap();
    let call = bed.session().call::<u64>("test.count", &None::<u64>).stream();
    let mut items = call.credit(4).await.unwrap();
    for expected in 0..2 {
        assert_eq!(items.next().await.unwrap().unwrap(), expected);
    }
    bed.faults().inject(Fault::drop_message().of_replies().times(1));
    let mut taken = 2;
    let error = loop {
        match items.next().await.unwrap() {
            Ok(item) => assert_eq!(item, taken),
            Err(error) => break error,
        }
        taken += 1;
    };
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    assert!(taken < 10, "{taken}");
}

/// The next items that a caller without a session gets.
async fn next_items(replies: &mut almanet::transport::Subscription) -> StreamItems {
    loop {
        let delivery = replies.recv().await.unwrap();
        let items = StreamItems::decode(&delivery.body).unwrap();
        delivery.finish().unwrap();
        if !items.items.is_empty() {
            return items;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_gone_is_noticed_and_its_stream_dropped() {
    let broker = MemoryBroker::new();
    let serving = Session::builder()
        .transport(broker.transport())
        .connect()
        .await
        .unwrap();
    let (procedure, mut sees) = count("test.count");
    let service = start(&serving, procedure).await;

    // It asks for a stream, reads what it gets, and never says a word.
    let caller = broker.transport();
    let topic = TopicName::new(format!("_rpc_._reply_.{}#ephemeral", Id::random())).unwrap();
    let channel = ChannelName::new("almanet#ephemeral").unwrap();
    let mut replies = caller
        .subscribe(&topic, &channel, SubscribeOptions::default())
        .await
        .unwrap();
    let payload = Payload::encode(Codec::MessagePack, &None::<u64>).unwrap();
    let mut invocation = Invocation::new(Id::random(), payload);
    invocation.reply_topic = Some(topic);
    invocation.timeout = Some(Duration::from_secs(9));
    invocation.headers.insert("stream-credit", "5");
    let procedure = TopicName::new("_rpc_.test.count").unwrap();
    let begun = Instant::now();
    caller
        .publish(Publication::new(procedure, invocation.encode().unwrap()))
        .await
        .unwrap();
    assert_eq!(next_items(&mut replies).await.items.len(), 5);
    sees.wait_for(|seen| seen.dropped == 1).await.unwrap();
    let waited = begun.elapsed();
    assert!(
        Duration::from_secs(9) <= waited && waited < Duration::from_secs(13),
        "{waited:?}"
    );
    assert_eq!(sees.borrow().made, 5);
    let cancelled: u64 = service.counts().map(|(_, counts)| counts.cancelled).sum();
    assert_eq!(cancelled, 1);
}

#[tokio::test]
async fn a_stream_whose_broker_is_lost_ends_at_once() {
    let (procedure, _sees) = quiet("test.quiet");
    let mut bed = TestBed::start(Service::new().procedure(procedure)).await.unwrap();
    let mut items = bed
        .session()
        .call::<u64>("test.quiet", &1)
        .stream()
        .await
        .unwrap();
    assert_eq!(soon(items.next()).await.unwrap().unwrap(), 0);
    bed.kill_node(0).await.unwrap();
    let error = soon(items.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Disconnected { .. }), "{error:?}");
}

#[tokio::test]
async fn a_service_that_loses_its_way_to_the_broker_is_followed_by_another() {
    let broker = TestBroker::start().await;
    for taken in [0, 3] {
        let uri = unique("test.count");
        let cut = Arc::new(std::sync::atomic::AtomicBool::new(taken == 0));
        let cuts = Arc::clone(&cut);
        let spy = crate::spy::Spy::connect(&broker)
            .await
            .on_publish(move |publication| {
                let carries_items = publication.bodies.iter().any(|body| StreamItems::sniff(body));
                if carries_items && cuts.load(std::sync::atomic::Ordering::SeqCst) {
                    return Err(crate::spy::unconfirmed(publication));
                }
                Ok(())
            });
        let (first, second, calling) = (
            spy.session().await,
            broker.session().await,
            broker.session().await,
        );
        let (procedure, _) = count(&uri);
        let service = start(&first, procedure).await;
        let call = calling.call::<u64>(&uri, &Some(20)).stream().credit(4);
        let mut items = call.await.unwrap();
        for expected in 0..taken {
            assert_eq!(soon(items.next()).await.unwrap().unwrap(), expected);
        }
        cut.store(true, std::sync::atomic::Ordering::SeqCst);
        let (procedure, _) = count(&uri);
        let _other = start(&second, procedure).await;
        // The first gets its own message again and again, until it stops.
        let stopping = tokio::spawn(service.stop());
        let (rest, error) = all(items).await;
        stopping.await.unwrap();
        match taken {
            0 => {
                assert!(error.is_none(), "{error:?}");
                assert_eq!(rest, (0..20).collect::<Vec<_>>());
            }
            _ => {
                let Some(CallError::Interrupted { .. }) = error else {
                    panic!("{error:?}")
                };
                assert!(rest.len() < 20);
                assert!(rest.iter().zip(taken..).all(|(item, expected)| *item == expected));
            }
        }
    }
}
