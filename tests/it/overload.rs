//! A service that has too much to do says so.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use almanet::{
    CallError, Codec, Context, Procedure, Retry, Service, ServiceHandle, Session, service,
    testing::MemoryBroker,
};
use almanet_tests::{TestBroker, echo, unique};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};

use crate::spy::Spy;

/// A procedure that runs one call at a time, tells when one has begun, and ends it for each permit.
fn one_at_a_time(uri: &str) -> (Procedure, mpsc::UnboundedReceiver<()>, Arc<Semaphore>) {
    let (begun, has_begun) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let ends = Arc::clone(&gate);
    let procedure = Procedure::new(uri, move |_: Context, text: String| {
        let (begun, ends) = (begun.clone(), Arc::clone(&ends));
        async move {
            let _ = begun.send(());
            ends.acquire().await.unwrap().forget();
            Ok::<_, Infallible>(text)
        }
    });
    (procedure.concurrency(1), has_begun, gate)
}

/// A contract of which one call runs at a time, and none waits.
#[service(prepath = "almanet.test.overload")]
trait Till {
    #[procedure(concurrency = 1, queue = 0)]
    async fn pay(&self, amount: u32) -> u32;

    /// Answers are remembered for the shortest time.
    #[procedure(remember = "1ms")]
    async fn count(&self) -> u32;
}

struct SlowTill {
    begun: mpsc::UnboundedSender<()>,
    ends: Arc<Semaphore>,
    counted: AtomicU32,
}

impl Till for SlowTill {
    async fn pay(&self, amount: u32) -> u32 {
        let _ = self.begun.send(());
        self.ends.acquire().await.unwrap().forget();
        amount
    }

    async fn count(&self) -> u32 {
        self.counted.fetch_add(1, Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_contract_says_how_many_calls_wait_and_how_long_answers_are_remembered() {
    let broker = TestBroker::embedded().await;
    let session = broker.session().await;
    let (begun, mut has_begun) = mpsc::unbounded_channel();
    let ends = Arc::new(Semaphore::new(0));
    let till = SlowTill {
        begun,
        ends: Arc::clone(&ends),
        counted: AtomicU32::new(0),
    };
    let service = till.into_service().start(&session).await.unwrap();
    let client = TillClient::new(&session);

    let pays = tokio::spawn(client.pay(1).into_future());
    has_begun.recv().await.unwrap();
    let error = client.pay(2).await.unwrap_err();
    assert!(matches!(error, CallError::Overloaded { .. }), "{error:?}");
    ends.add_permits(1);
    assert_eq!(pays.await.unwrap().unwrap(), 1);
    assert_eq!(overloaded(&service), 1);

    // It is counted again as soon as the answer is forgotten.
    let counting = async { while client.count().idempotency_key("key").await.unwrap() == 0 {} };
    timeout(Duration::from_secs(20), counting)
        .await
        .expect("the answer is forgotten");
}

fn overloaded(service: &ServiceHandle) -> u64 {
    service.counts().map(|(_, counts)| counts.overloaded).sum()
}

#[tokio::test]
async fn a_call_for_which_there_is_no_place_is_refused_at_once() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let uri = unique("test.busy");
    let (procedure, mut has_begun, gate) = one_at_a_time(&uri);
    let service = Service::new().procedure(procedure.queue(0));
    let service = service.start(&serving).await.unwrap();

    for codec in [Codec::MessagePack, Codec::Json] {
        let calling = broker.session_with(|builder| builder.codec(codec)).await;
        let runs = tokio::spawn(calling.call::<String>(&uri, "runs").into_future());
        has_begun.recv().await.unwrap();
        let error = calling.call::<String>(&uri, "too much").await.unwrap_err();
        let CallError::Overloaded { reason, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(reason, "too many calls wait");
        gate.add_permits(1);
        assert_eq!(runs.await.unwrap().unwrap(), "runs");
    }
    assert_eq!(overloaded(&service), 2);
}

#[tokio::test]
async fn as_many_calls_wait_as_there_are_places() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.busy");
    let (procedure, mut has_begun, gate) = one_at_a_time(&uri);
    let service = Service::new().procedure(procedure.queue(3));
    let service = service.start(&session).await.unwrap();

    let call = |text: &str| tokio::spawn(session.call::<String>(&uri, text).into_future());
    let mut calls = vec![call("runs")];
    has_begun.recv().await.unwrap();
    calls.extend((0..10).map(|number| call(&number.to_string())));
    while overloaded(&service) < 7 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(4);
    let mut answered = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => answered += 1,
            Err(error) => assert!(matches!(error, CallError::Overloaded { .. }), "{error:?}"),
        }
    }
    assert_eq!((answered, overloaded(&service)), (4, 7));
}

#[tokio::test]
async fn a_call_that_waits_too_long_is_refused() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.busy");
    let (procedure, mut has_begun, gate) = one_at_a_time(&uri);
    let procedure = procedure.queue(5).queue_time(Duration::from_millis(50));
    let _service = Service::new().procedure(procedure).start(&session).await.unwrap();

    let runs = tokio::spawn(session.call::<String>(&uri, "runs").into_future());
    has_begun.recv().await.unwrap();
    let error = session.call::<String>(&uri, "waits").await.unwrap_err();
    let CallError::Overloaded { reason, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(reason, "the call has waited too long");
    gate.add_permits(1);
    runs.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_that_was_old_when_it_came_is_refused() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.late");
    let early = tokio::spawn(session.call::<String>(&uri, "early").into_future());
    // The call waits in the broker for longer than the service will allow.
    let nobody = session
        .call::<()>(unique("test.nobody"), &())
        .timeout(Duration::from_millis(100));
    nobody.await.unwrap_err();
    let procedure = echo(&uri).queue_time(Duration::from_millis(20));
    let _service = Service::new().procedure(procedure).start(&session).await.unwrap();
    let error = early.await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Overloaded { .. }), "{error:?}");
}

#[tokio::test]
async fn a_refused_call_is_sent_again_where_it_is_told_to() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.busy");
    let (procedure, mut has_begun, gate) = one_at_a_time(&uri);
    let service = Service::new().procedure(procedure.queue(0));
    let service = service.start(&session).await.unwrap();

    let runs = tokio::spawn(session.call::<String>(&uri, "runs").into_future());
    has_begun.recv().await.unwrap();
    let policy = Retry::default().attempts(100);
    let again = tokio::spawn(session.call::<String>(&uri, "again").retry(policy).into_future());
    while overloaded(&service) == 0 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(2);
    assert_eq!(runs.await.unwrap().unwrap(), "runs");
    assert_eq!(again.await.unwrap().unwrap(), "again");
}

#[tokio::test]
async fn calls_that_wait_in_an_instance_go_to_another_when_it_stops() {
    let broker = TestBroker::start().await;
    let received = watch::Sender::new(0);
    let mut seen = received.subscribe();
    let spy = Spy::connect(&broker).await.on_receive(move |_, _| {
        received.send_modify(|received| *received += 1);
    });
    let (serving, calling) = (spy.session().await, broker.session().await);
    let uri = unique("test.busy");
    let (procedure, mut has_begun, gate) = one_at_a_time(&uri);
    let service = Service::new().procedure(procedure.queue(100));
    let service = service.start(&serving).await.unwrap();
    let call = |text: &str| tokio::spawn(calling.call::<String>(&uri, text).into_future());
    let runs = call("runs");
    has_begun.recv().await.unwrap();
    let waits: Vec<_> = (0..5).map(|_| call("waits")).collect();
    seen.wait_for(|received| *received == 6).await.unwrap();
    let stopping = tokio::spawn(service.stop());
    let _other = Service::new()
        .procedure(echo(&uri))
        .start(&broker.session().await)
        .await
        .unwrap();
    for call in waits {
        assert_eq!(call.await.unwrap().unwrap(), "waits");
    }
    gate.add_permits(1);
    assert_eq!(runs.await.unwrap().unwrap(), "runs");
    stopping.await.unwrap();
}

/// Waits until a count of the service is so high.
async fn counts_to(wanted: u64, count: impl Fn() -> u64) {
    let counting = async {
        while count() < wanted {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), counting)
        .await
        .expect("it is counted soon");
}

#[tokio::test]
async fn a_call_whose_time_is_up_leaves_its_place_to_another() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.busy");
    let (procedure, mut has_begun, gate) = one_at_a_time(&uri);
    let service = Service::new().procedure(procedure.queue(1));
    let service = service.start(&session).await.unwrap();

    let call = |text: &str| tokio::spawn(session.call::<String>(&uri, text).into_future());
    let runs = call("runs");
    has_begun.recv().await.unwrap();
    let waits = session
        .call::<String>(&uri, "dies")
        .timeout(Duration::from_millis(50));
    let error = waits.await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    let count = || service.counts().map(|(_, counts)| counts.expired).sum();
    counts_to(1, count).await;

    let lives = call("lives");
    gate.add_permits(2);
    assert_eq!(runs.await.unwrap().unwrap(), "runs");
    assert_eq!(lives.await.unwrap().unwrap(), "lives");
    assert_eq!((count(), overloaded(&service)), (1, 0));
    has_begun.recv().await.unwrap();
    has_begun.try_recv().expect_err("what was dead has not run");
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_its_place_to_another() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.busy");
    let (procedure, mut has_begun, gate) = one_at_a_time(&uri);
    let service = Service::new().procedure(procedure.queue(1));
    let service = service.start(&serving).await.unwrap();

    let call = |text: &str| tokio::spawn(calling.call::<String>(&uri, text).into_future());
    let runs = call("runs");
    has_begun.recv().await.unwrap();
    let waits = calling.call::<String>(&uri, "is given up").into_future();
    timeout(Duration::from_millis(50), waits).await.unwrap_err();
    let count = || service.counts().map(|(_, counts)| counts.cancelled).sum();
    counts_to(1, count).await;

    let lives = call("lives");
    gate.add_permits(2);
    assert_eq!(runs.await.unwrap().unwrap(), "runs");
    assert_eq!(lives.await.unwrap().unwrap(), "lives");
    assert_eq!((count(), overloaded(&service)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_long_is_not_delivered_again() {
    let broker = MemoryBroker::new();
    let session = Session::builder().transport(broker.transport());
    let session = session.connect().await.unwrap();
    let (begun, mut has_begun) = mpsc::unbounded_channel();
    let slow = Procedure::new("test.slow", move |_: Context, name: String| {
        begun.send(name).unwrap();
        async {
            // Longer than a message stays out unless it is touched.
            tokio::time::sleep(Duration::from_secs(30)).await;
            Ok::<_, Infallible>(())
        }
    });
    let service = Service::new().procedure(slow.concurrency(1).queue(1));
    let service = service.start(&session).await.unwrap();
    let call = |name: &str| {
        let call = session.call::<()>("test.slow", name);
        tokio::spawn(call.timeout(Duration::from_secs(120)).into_future())
    };
    let first = call("first");
    assert_eq!(has_begun.recv().await.unwrap(), "first");
    let second = call("second");
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(has_begun.recv().await.unwrap(), "second");
    service.stop().await;
    has_begun.try_recv().expect_err("each call has run once");
}
