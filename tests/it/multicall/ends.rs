//! When a multicall ends, and what ends with it.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use almanet::{CallError, Context, Control, MulticallEnd, Procedure, Service, Session};
use almanet_tests::{TestBroker, unique};
use futures_util::StreamExt as _;
use tokio::sync::{Semaphore, mpsc};

use super::{Instances, numbers, soon};
use crate::spy::Spy;

#[tokio::test]
async fn it_ends_by_count_by_silence_or_when_its_time_is_up() {
    let broker = TestBroker::start().await;
    let instances = Instances::start(&broker, 2, Procedure::broadcast).await;
    let calling = broker.session().await;
    let call = || calling.multicall::<u64>(&instances.uri, &());

    let mut answers = call().count(1).await.unwrap();
    assert_eq!(answers.end(), None);
    assert!(soon(answers.next()).await.unwrap().outcome.is_ok());
    assert!(soon(answers.next()).await.is_none());
    assert_eq!(answers.end(), Some(MulticallEnd::Count));

    let begun = Instant::now();
    let answers = call().quiet(Duration::from_millis(200)).await.unwrap();
    let mut answers = soon(async {
        let mut answers = answers;
        assert!(answers.next().await.is_some() && answers.next().await.is_some());
        assert!(answers.next().await.is_none());
        answers
    })
    .await;
    assert_eq!(answers.end(), Some(MulticallEnd::Quiet));
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert!(answers.next().await.is_none(), "it stays over");

    let begun = Instant::now();
    let timeout = Duration::from_millis(300);
    let mut answers = call().timeout(timeout).await.unwrap();
    let mut count = 0;
    // As a stream, too.
    while answers.by_ref().next().await.is_some() {
        count += 1;
    }
    assert_eq!((count, answers.end()), (2, Some(MulticallEnd::Timeout)));
    assert!(begun.elapsed() >= timeout && begun.elapsed() < Duration::from_secs(20));

    // That nobody answers is no error, and silence counts from an answer.
    let nobody = calling.multicall::<u64>(unique("test.nobody"), &());
    let begun = Instant::now();
    let nobody = nobody.quiet(Duration::from_millis(1)).timeout(timeout);
    assert!(nobody.collect().await.unwrap().is_empty());
    assert!(begun.elapsed() >= timeout);
}

/// A broadcast procedure that is held until there is a permit; it tells when it has begun and when it is dropped.
fn held(uri: &str, gate: &Arc<Semaphore>) -> (Procedure, mpsc::UnboundedReceiver<&'static str>) {
    struct TellsWhenDropped(mpsc::UnboundedSender<&'static str>);
    impl Drop for TellsWhenDropped {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }
    let (tell, told) = mpsc::unbounded_channel();
    let gate = Arc::clone(gate);
    let procedure = Procedure::new(uri, move |_: Context, (): ()| {
        let (gate, tells) = (Arc::clone(&gate), TellsWhenDropped(tell.clone()));
        async move {
            tells.0.send("begun").unwrap();
            gate.acquire().await.unwrap().forget();
            Ok::<_, Infallible>(7)
        }
    });
    (procedure.broadcast(), told)
}

/// A session that tells of each control message that it gets, and counts those that it sends.
async fn heeding(broker: &TestBroker) -> (Session, mpsc::UnboundedReceiver<()>, Arc<AtomicUsize>) {
    let (tell, told) = mpsc::unbounded_channel();
    let cancels = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&cancels);
    let spy = Spy::connect(broker)
        .await
        .on_receive(move |_, delivery| {
            if Control::sniff(&delivery.body) {
                let _ = tell.send(());
            }
        })
        .on_publish(move |publication| {
            let sent = publication.bodies.iter().filter(|body| Control::sniff(body));
            count.fetch_add(sent.count(), Ordering::SeqCst);
            Ok(())
        });
    (spy.session().await, told, cancels)
}

#[tokio::test]
async fn one_that_takes_a_while_is_answered_and_one_that_is_dropped_ends_in_all_instances() {
    let broker = TestBroker::start().await;
    let (calling, mut heard, cancels) = heeding(&broker).await;
    let uri = unique("test.held");
    let gate = Arc::new(Semaphore::new(0));
    let mut instances = Vec::new();
    for _ in 0..2 {
        let session = broker.session().await;
        let (procedure, told) = held(&uri, &gate);
        let service = Service::new().procedure(procedure);
        instances.push((service.start(&session).await.unwrap(), told, session));
    }

    // They have said where they run, and are let go on.
    let call = calling.multicall::<u64>(&uri, &()).count(2).await.unwrap();
    for _ in 0..2 {
        soon(heard.recv()).await.unwrap();
    }
    // Whatever would be said to them by now has been said when this is over.
    calling.introspect().ping().await.unwrap();
    assert_eq!(cancels.load(Ordering::SeqCst), 0);
    gate.add_permits(2);
    let answers: Vec<_> = soon(call.map(|answer| answer.outcome.unwrap()).collect()).await;
    assert_eq!(answers, [7, 7]);
    for (_, told, _) in &mut instances {
        assert_eq!(
            (told.recv().await, told.recv().await),
            (Some("begun"), Some("dropped"))
        );
    }

    // The first answer is enough, and the other instance is told; so are both when the call is dropped. They do not have to
    // say again that they run it, which they do after seconds.
    for answers in [1, 0] {
        let call = calling.multicall::<u64>(&uri, &()).count(1);
        let mut call = call.await.unwrap();
        for (_, told, _) in &mut instances {
            assert_eq!(told.recv().await, Some("begun"));
        }
        for _ in 0..2 {
            soon(heard.recv()).await.unwrap();
        }
        for _ in 0..answers {
            gate.add_permits(1);
            soon(call.next()).await.unwrap();
        }
        drop(call);
        for (_, told, _) in &mut instances {
            assert_eq!(soon(told.recv()).await, Some("dropped"));
        }
        assert!(heard.try_recv().is_err(), "they have said it once");
    }
    let cancelled: u64 = instances
        .iter()
        .flat_map(|(service, _, _)| service.counts())
        .map(|(_, counts)| counts.cancelled)
        .sum();
    assert_eq!(cancelled, 3);
}

#[tokio::test]
async fn it_ends_with_its_session() {
    let broker = TestBroker::start().await;
    let calling = broker.session().await;
    let collected = calling.multicall::<u64>(unique("test.nobody"), &()).collect();
    let collected = tokio::spawn(collected);
    let mut answers = calling
        .multicall::<u64>(unique("test.nobody"), &())
        .await
        .unwrap();
    calling.leave().await.unwrap();
    assert!(soon(answers.next()).await.is_none());
    assert_eq!(answers.end(), Some(MulticallEnd::SessionLeft));
    let error = soon(collected).await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::SessionLeft), "{error:?}");
    let error = calling
        .multicall::<u64>(unique("test.nobody"), &())
        .await
        .unwrap_err();
    assert!(
        matches!(error, CallError::SessionLeft | CallError::Subscribe { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn one_within_a_handler_has_no_more_time_than_the_handler() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (uri, outer) = (unique("test.remaining"), unique("test.outer"));
    let remaining = Procedure::new(&uri, |context: Context, (): ()| async move {
        Ok::<_, Infallible>(context.remaining().unwrap().as_secs())
    });
    let inner = uri.clone();
    let asks = Procedure::new(&outer, move |context: Context, (): ()| {
        let inner = inner.clone();
        async move {
            let call = context.session().multicall::<u64>(&inner, &()).count(1);
            Ok::<_, Infallible>(numbers(call.collect().await.unwrap()))
        }
    });
    let service = Service::new().procedure(remaining.broadcast()).procedure(asks);
    let _service = service.start(&session).await.unwrap();
    let call = session.call::<BTreeSet<u64>>(&outer, &());
    let seconds = call.timeout(Duration::from_secs(10)).await.unwrap();
    assert!(seconds.iter().all(|seconds| *seconds < 10), "{seconds:?}");
}
