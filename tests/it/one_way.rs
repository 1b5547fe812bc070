//! Calls that want no answer: sent, and run once somebody serves them.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use almanet::{
    CallError, Codec, Context, Id, OutgoingCall, Procedure, RpcError, Service, ServiceHandle, Session,
    layer::{self, Next},
    procedure,
    transport::{Publication, PublishError},
};
use almanet_tests::{TestBroker, echo, unique};
use tokio::sync::{Semaphore, mpsc};

use crate::spy::{Spy, unconfirmed};

/// What a procedure learns of its call.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) text: String,
    pub(crate) call: Id,
    caller: Id,
    tenant: Option<String>,
    pub(crate) remaining: Option<Duration>,
    attempt: u16,
}

/// A procedure that tells what it sees.
pub(crate) fn noting(uri: &str) -> (Procedure, mpsc::UnboundedReceiver<Seen>) {
    let (notes, noted) = mpsc::unbounded_channel();
    let procedure = Procedure::new(uri, move |context: Context, text: String| {
        let seen = Seen {
            text,
            call: context.call_id(),
            caller: context.caller_id(),
            tenant: context.headers().get("tenant").map(str::to_owned),
            remaining: context.remaining(),
            attempt: context.attempt(),
        };
        let _ = notes.send(seen);
        async { Ok::<_, Infallible>(()) }
    });
    (procedure, noted)
}

pub(crate) async fn start(session: &Session, procedure: Procedure) -> ServiceHandle {
    Service::new().procedure(procedure).start(session).await.unwrap()
}

/// A session whose publications are noted.
pub(crate) async fn noted_session(
    broker: &TestBroker,
    codec: Codec,
) -> (Session, Arc<Mutex<Vec<Publication>>>) {
    let noted = Arc::<Mutex<Vec<Publication>>>::default();
    let notes = Arc::clone(&noted);
    let spy = Spy::connect(broker).await.on_publish(move |publication| {
        notes.lock().unwrap().push(publication.clone());
        Ok(())
    });
    let session = Session::builder().transport(spy).codec(codec);
    (session.connect().await.unwrap(), noted)
}

#[tokio::test]
async fn a_one_way_call_runs_and_is_not_answered() {
    let broker = TestBroker::start().await;
    let (serving, published) = noted_session(&broker, Codec::MessagePack).await;
    for codec in [Codec::MessagePack, Codec::Json] {
        let calling = broker.session_with(|builder| builder.codec(codec)).await;
        let uri = unique("test.note");
        let (procedure, mut noted) = noting(&uri);
        let service = start(&serving, procedure).await;

        let call = calling.send(&uri, "hi").header("tenant", "acme");
        let named = call.id();
        assert_eq!(call.await.unwrap(), named);
        let expected = Seen {
            text: "hi".to_owned(),
            call: named,
            caller: calling.id(),
            tenant: Some("acme".to_owned()),
            remaining: None,
            attempt: 1,
        };
        assert_eq!(noted.recv().await.unwrap(), expected, "{codec:?}");
        // What runs has ended, and the message is finished: nothing is left to be run again.
        service.stop().await;
        let (procedure, mut again) = noting(&uri);
        let _service = start(&serving, procedure).await;
        calling.send(&uri, "next").await.unwrap();
        assert_eq!(again.recv().await.unwrap().text, "next");
        serving.introspect().ping().await.unwrap();
    }
    let published = published.lock().unwrap();
    let answers = published.iter().filter(|publication| {
        let topic = publication.topic.as_str();
        topic.starts_with("_rpc_.")
            && !topic.contains("_control_")
            && !topic.contains(&serving.id().to_string())
    });
    assert_eq!(answers.count(), 0);
}

#[tokio::test]
async fn it_waits_for_a_service_for_longer_than_calls_wait() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let calling = broker
        .session_with(|builder| builder.call_timeout(Duration::from_millis(20)))
        .await;
    let uri = unique("test.note");
    calling.send(&uri, "early").await.unwrap();
    let late = calling.call::<()>(unique("test.nobody"), &());
    late.await.unwrap_err();

    let (procedure, mut noted) = noting(&uri);
    // A limit to how long calls may have waited is for those whose caller waits.
    let procedure = procedure.queue_time(Duration::from_millis(1));
    let _service = start(&serving, procedure).await;
    assert_eq!(noted.recv().await.unwrap().text, "early");
}

#[tokio::test]
async fn one_that_has_expired_is_not_run() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.note");
    let expires = Duration::from_millis(50);
    session.send(&uri, "expired").expires(expires).await.unwrap();
    session
        .send(&uri, "kept")
        .expires(Duration::from_secs(60))
        .await
        .unwrap();
    // Twice as much time passes.
    let waited = session
        .call::<()>(unique("test.nobody"), &())
        .timeout(2 * expires);
    waited.await.unwrap_err();

    let (procedure, mut noted) = noting(&uri);
    let service = start(&session, procedure.concurrency(1)).await;
    let kept = noted.recv().await.unwrap();
    assert_eq!(kept.text, "kept");
    let remaining = kept.remaining.unwrap();
    assert!(
        remaining > Duration::from_secs(30) && remaining <= Duration::from_secs(60),
        "{remaining:?}"
    );
    session.send(&uri, "next").await.unwrap();
    assert_eq!(noted.recv().await.unwrap().text, "next");
    let expired: u64 = service.counts().map(|(_, counts)| counts.expired).sum();
    assert_eq!(expired, 1);
}

#[tokio::test]
async fn one_that_no_broker_confirms_is_an_error_and_is_sent_again_only_if_that_does_no_harm() {
    let broker = TestBroker::start().await;
    let duplicates = Arc::<Mutex<Vec<_>>>::default();
    let noted = Arc::clone(&duplicates);
    let spy = Spy::connect(&broker).await.on_publish(move |publication| {
        noted.lock().unwrap().push(publication.duplicates);
        Err(unconfirmed(publication))
    });
    let session = spy.session().await;
    let uri = unique("test.note");
    for call in [session.send(&uri, "hi"), session.send(&uri, "hi").idempotent()] {
        let error = call.await.unwrap_err();
        let CallError::Publish { source, procedure } = &error else {
            panic!("{error:?}")
        };
        assert!(matches!(source, PublishError::Unconfirmed { .. }), "{source:?}");
        assert_eq!(procedure.as_str(), uri);
    }
    use almanet_nsq::Duplicates::{Allowed, Never};
    assert_eq!(*duplicates.lock().unwrap(), [Never, Allowed]);
}

#[derive(Debug, thiserror::Error, RpcError)]
#[error("sold out")]
struct SoldOut;

#[tokio::test]
async fn an_error_that_nobody_hears_is_counted_and_the_call_is_over() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.fails");
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let fails = Procedure::new(&uri, move |_: Context, text: String| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            match text.as_str() {
                "bomb" => panic!("the password is 1234"),
                "fine" => Ok(()),
                _ => Err(SoldOut),
            }
        }
    });
    // One at a time, so that the last shows that the others are over.
    let service = start(&session, fails.concurrency(1)).await;
    session.send(&uri, "tea").await.unwrap();
    session.send(&uri, "bomb").await.unwrap();
    session.send(&uri, &5).await.unwrap();
    session.call::<()>(&uri, "fine").await.unwrap();
    let unheard = |service: &ServiceHandle| service.counts().map(|(_, counts)| counts.unheard).sum::<u64>();
    // Messages keep no order on nsqd, so the last may have come before others.
    while unheard(&service) < 3 {
        session.call::<()>(&uri, "fine").await.unwrap();
    }
    assert_eq!(unheard(&service), 3);
    let fine = runs.load(Ordering::SeqCst) - 2;
    service.stop().await;
    let runs_before = runs.load(Ordering::SeqCst);
    assert_eq!(runs_before, fine + 2, "none of them ran again");
}

#[tokio::test]
async fn one_for_which_there_is_no_place_comes_back_later() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.busy");
    let (begun, mut has_begun) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let ends = Arc::clone(&gate);
    let busy = Procedure::new(&uri, move |context: Context, text: String| {
        let (begun, ends) = (begun.clone(), Arc::clone(&ends));
        async move {
            begun.send((text, context.attempt())).unwrap();
            ends.acquire().await.unwrap().forget();
            Ok::<_, Infallible>(())
        }
    });
    let service = start(&session, busy.concurrency(1).queue(0)).await;
    session.send(&uri, "first").await.unwrap();
    assert_eq!(has_begun.recv().await.unwrap(), ("first".to_owned(), 1));
    session.send(&uri, "second").await.unwrap();
    // The next call that comes is refused, so the second has been looked at.
    let refused = session.call::<()>(&uri, "third").await.unwrap_err();
    assert!(matches!(refused, CallError::Overloaded { .. }), "{refused:?}");
    gate.add_permits(2);
    let (text, attempt) = has_begun.recv().await.unwrap();
    assert_eq!(text, "second");
    assert!(attempt > 1, "it has been given back");
    let overloaded: u64 = service.counts().map(|(_, counts)| counts.overloaded).sum();
    assert_eq!(overloaded, 1);
}

#[tokio::test]
async fn one_that_a_handler_sends_is_not_bound_to_its_deadline() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (uri, outer) = (unique("test.note"), unique("test.outer"));
    let (procedure, mut noted) = noting(&uri);
    let inner = uri.clone();
    let sends = Procedure::new(&outer, move |context: Context, (): ()| {
        let inner = inner.clone();
        async move {
            // Also when the call that it is made for has ended.
            let session = context.session().clone();
            tokio::spawn(async move {
                context.cancellation().cancelled().await;
                session.send(&inner, "behind").await.unwrap();
                let layered = session.layer(layer::from_fn(
                    |call: OutgoingCall, next: Next<almanet::Caller>| next.run(call),
                ));
                layered.send(&inner, "behind").await.unwrap();
            });
            Ok::<_, Infallible>(())
        }
    });
    let service = Service::new().procedure(procedure).procedure(sends);
    let _service = service.start(&session).await.unwrap();
    let call = session.call::<()>(&outer, &()).timeout(Duration::from_secs(5));
    call.await.unwrap();
    for _ in 0..2 {
        let seen = noted.recv().await.unwrap();
        assert_eq!((seen.text.as_str(), seen.remaining), ("behind", None));
    }
}

#[tokio::test]
async fn layers_see_it_and_can_stop_it() {
    let broker = TestBroker::start().await;
    let (session, published) = noted_session(&broker, Codec::MessagePack).await;
    let uri = unique("test.note");
    let (procedure, mut noted) = noting(&uri);
    let serving = broker.session().await;
    let _service = start(&serving, procedure).await;

    let tenant = layer::from_fn(|mut call: OutgoingCall, next: Next<_>| {
        call.headers.insert("tenant", "acme");
        next.run(call)
    });
    let id = session.layer(tenant).send(&uri, "hi").await.unwrap();
    let seen = noted.recv().await.unwrap();
    assert_eq!((seen.call, seen.tenant.as_deref()), (id, Some("acme")));

    published.lock().unwrap().clear();
    let closed = layer::from_fn(|call: OutgoingCall, _: Next<almanet::Caller>| async move {
        Err::<almanet::Payload, _>(CallError::Cancelled {
            procedure: call.procedure,
        })
    });
    let error = session.layer(closed).send(&uri, "hi").await.unwrap_err();
    assert!(matches!(error, CallError::Cancelled { .. }), "{error:?}");
    assert!(published.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_cannot_be_sent_says_why() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let error = session.send("net..example", "hi").await.unwrap_err();
    assert!(matches!(error, CallError::InvalidUri(_)), "{error:?}");
    let error = session
        .send("net.example", "hi")
        .reply_to("1st")
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::InvalidUri(_)), "{error:?}");
    let error = session
        .send("net.example", "hi")
        .errors_to("1st")
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::InvalidUri(_)), "{error:?}");
    session.leave().await.unwrap();
    let error = session.send("net.example", "hi").await.unwrap_err();
    assert!(matches!(error, CallError::SessionLeft), "{error:?}");
}

#[procedure(uri = "net.example.one_way.typed", timeout = "50ms", idempotent)]
async fn typed(left: i64, right: i64) -> Result<i64, SoldOut> {
    RAN.add_permits(usize::try_from(left + right).unwrap());
    Ok(left + right)
}

static RAN: Semaphore = Semaphore::const_new(0);

#[tokio::test]
async fn a_generated_caller_sends_as_well() {
    let broker = TestBroker::embedded().await;
    let session = broker.session().await;
    typed::call(&session, 2, 3).send().await.unwrap();
    // The procedure's own time limit is none of a call that waits for it to be served.
    session
        .call::<()>(unique("test.nobody"), &())
        .timeout(Duration::from_millis(100))
        .await
        .unwrap_err();
    let _service = Service::new()
        .procedure(typed::procedure())
        .procedure(echo("net.example.one_way.echo"))
        .start(&session)
        .await
        .unwrap();
    RAN.acquire_many(5).await.unwrap().forget();
}
