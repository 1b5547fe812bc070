//! A call finds its procedure and brings its answer back.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use almanet::{CallError, Codec, Context, Id, Procedure, Service};
use almanet_tests::{TestBroker, echo, unique};
use futures_util::future::{join_all, try_join_all};
use tokio::sync::Barrier;

#[tokio::test]
async fn a_call_by_name_brings_the_answer() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.echo");
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&serving)
        .await
        .unwrap();

    let answer: String = calling.call(&uri, "hello").await.unwrap();
    assert_eq!(answer, "hello");
}

#[tokio::test]
async fn a_service_answers_in_the_codec_it_was_asked_in() {
    let broker = TestBroker::start().await;
    let serving = broker
        .session_with(|builder| builder.codec(Codec::MessagePack))
        .await;
    let uri = unique("test.echo");
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&serving)
        .await
        .unwrap();

    for codec in [Codec::Json, Codec::MessagePack] {
        let calling = broker.session_with(|builder| builder.codec(codec)).await;
        let answer: String = calling.call(&uri, "\"quoted\" ünïcode").await.unwrap();
        assert_eq!(answer, "\"quoted\" ünïcode", "{codec:?}");
    }
}

#[tokio::test]
async fn a_procedure_learns_the_circumstances_of_its_call() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.who");
    let who = Procedure::new(&uri, |context: Context, (): ()| async move {
        Ok::<_, Infallible>((
            context.caller_id(),
            context.headers().get("tenant").map(str::to_owned),
            context.remaining(),
            context.attempt(),
            context.procedure().to_string(),
        ))
    });
    let _service = Service::new().procedure(who).start(&serving).await.unwrap();

    type Circumstances = (Id, Option<String>, Option<Duration>, u16, String);
    let call = calling.call::<Circumstances>(&uri, &());
    let call = call.header("tenant", "acme").timeout(Duration::from_secs(30));
    let (caller, tenant, remaining, attempt, procedure) = call.await.unwrap();
    assert_eq!(caller, calling.id());
    assert_eq!(tenant.as_deref(), Some("acme"));
    let remaining = remaining.unwrap();
    assert!(
        remaining <= Duration::from_secs(30) && remaining > Duration::from_secs(20),
        "{remaining:?}"
    );
    assert_eq!(attempt, 1);
    assert_eq!(procedure, uri);
}

#[tokio::test]
async fn a_thousand_calls_at_once_each_get_their_own_answer() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.echo");
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&serving)
        .await
        .unwrap();

    let calls = (0..1000).map(|number| {
        let call = calling.call::<String>(&uri, &number.to_string());
        async move { (number, call.await) }
    });
    for (number, answer) in join_all(calls).await {
        assert_eq!(answer.unwrap(), number.to_string());
    }
}

#[tokio::test]
async fn instances_on_one_channel_share_the_calls() {
    let broker = TestBroker::start().await;
    let uri = unique("test.meet");
    // Two calls meet at the barrier only if two instances, each of which runs one call at a time, serve them.
    let meet = Arc::new(Barrier::new(2));
    let mut instances = Vec::new();
    for name in ["first", "second"] {
        let meet = Arc::clone(&meet);
        let procedure = Procedure::new(&uri, move |_: Context, (): ()| {
            let meet = Arc::clone(&meet);
            async move {
                meet.wait().await;
                Ok::<_, Infallible>(name.to_owned())
            }
        });
        let session = broker.session().await;
        let service = Service::new().procedure(procedure.concurrency(1));
        instances.push((service.start(&session).await.unwrap(), session));
    }

    let calling = broker.session().await;
    let calls = (0..2).map(|_| calling.call::<String>(&uri, &()).into_future());
    let names: BTreeSet<String> = try_join_all(calls).await.unwrap().into_iter().collect();
    assert_eq!(names, BTreeSet::from(["first".to_owned(), "second".to_owned()]));
}

#[tokio::test]
async fn concurrency_bounds_the_calls_that_run_at_once() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.bounded");
    let running = Arc::new(Mutex::new((0, 0)));
    let seen = Arc::clone(&running);
    let procedure = Procedure::new(&uri, move |_: Context, (): ()| {
        let running = Arc::clone(&running);
        async move {
            {
                let (now, most) = &mut *running.lock().unwrap();
                *now += 1;
                *most = (*most).max(*now);
            }
            tokio::task::yield_now().await;
            running.lock().unwrap().0 -= 1;
            Ok::<_, Infallible>(())
        }
    });
    let _service = Service::new()
        .procedure(procedure.concurrency(3))
        .start(&session)
        .await
        .unwrap();

    let calls = (0..200).map(|_| session.call::<()>(&uri, &()).into_future());
    try_join_all(calls).await.unwrap();
    let (now, most) = *seen.lock().unwrap();
    assert_eq!(now, 0);
    assert!((1..=3).contains(&most), "{most} ran at once");
}

#[tokio::test]
async fn a_call_made_before_the_service_runs_is_answered_when_it_starts() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.echo");

    let call = tokio::spawn(calling.call::<String>(&uri, "early").into_future());
    // The consumer on another topic tells that the broker has taken in what was published before.
    calling.produce(unique("test.after"), &()).await.unwrap();
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&serving)
        .await
        .unwrap();
    assert_eq!(call.await.unwrap().unwrap(), "early");
}

#[tokio::test]
async fn a_call_that_nobody_serves_times_out_and_says_so() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.nobody");

    let error = session
        .call::<()>(&uri, &())
        .timeout(Duration::from_millis(50))
        .await
        .unwrap_err();
    let CallError::Timeout { procedure, waited } = &error else {
        panic!("not a timeout: {error:?}")
    };
    assert_eq!(procedure.as_str(), uri);
    assert!(*waited >= Duration::from_millis(50), "{waited:?}");
    assert!(
        error
            .to_string()
            .starts_with(&format!("{uri} did not answer within ")),
        "{error}"
    );
}

#[tokio::test]
async fn a_call_whose_time_is_up_does_not_run() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.log");
    calling
        .call::<()>(&uri, "expired")
        .timeout(Duration::from_millis(50))
        .await
        .unwrap_err();
    // The callee counts from when the message was published, which is a little later: let as much time pass again.
    calling
        .call::<()>(unique("test.nobody"), &())
        .timeout(Duration::from_millis(50))
        .await
        .unwrap_err();

    let ran = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&ran);
    let procedure = Procedure::new(&uri, move |_: Context, text: String| {
        ran.lock().unwrap().push(text);
        async { Ok::<_, Infallible>(()) }
    });
    // One at a time, so that the second call runs after the first was looked at.
    let _service = Service::new()
        .procedure(procedure.concurrency(1))
        .start(&serving)
        .await
        .unwrap();
    calling.call::<()>(&uri, "in time").await.unwrap();
    assert_eq!(*log.lock().unwrap(), ["in time"]);
}

#[tokio::test]
async fn a_handler_that_outlives_its_deadline_is_dropped_and_its_token_fires() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.stuck");
    let (sender, mut cancelled) = tokio::sync::mpsc::unbounded_channel();
    let procedure = Procedure::new(&uri, move |context: Context, (): ()| {
        let sender = sender.clone();
        async move {
            tokio::spawn(async move {
                context.cancellation().cancelled().await;
                let _ = sender.send(());
            });
            std::future::pending::<Result<(), Infallible>>().await
        }
    });
    let _service = Service::new().procedure(procedure).start(&serving).await.unwrap();

    let error = calling
        .call::<()>(&uri, &())
        .timeout(Duration::from_millis(100))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    cancelled.recv().await.unwrap();
}

#[tokio::test]
async fn a_procedure_that_takes_longer_than_its_own_limit_ends_the_call_at_once() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.limited");
    let stuck = Procedure::new(&uri, |_: Context, (): ()| {
        std::future::pending::<Result<(), Infallible>>()
    });
    let service = Service::new().procedure(stuck.timeout(Duration::from_millis(50)));
    let _service = service.start(&session).await.unwrap();

    let error = session
        .call::<()>(&uri, &())
        .timeout(Duration::from_secs(60))
        .await
        .unwrap_err();
    let CallError::Timeout { waited, .. } = error else {
        panic!("not a timeout: {error:?}")
    };
    assert!(waited < Duration::from_secs(30), "{waited:?}");
}

#[tokio::test]
async fn a_tower_layer_around_a_procedure_sees_its_calls() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.echo");
    let refuse = tower::layer::layer_fn(|inner| {
        tower::util::MapRequest::new(inner, |request: almanet::Request| {
            assert_ne!(request.context.headers().get("token"), None, "no token");
            request
        })
    });
    let _service = Service::new()
        .procedure(echo(&uri).layer(refuse))
        .start(&session)
        .await
        .unwrap();

    let answer: String = session.call(&uri, "hi").header("token", "secret").await.unwrap();
    assert_eq!(answer, "hi");
    let error = session.call::<String>(&uri, "hi").await.unwrap_err();
    assert!(matches!(error, CallError::Internal { .. }), "{error:?}");
}
