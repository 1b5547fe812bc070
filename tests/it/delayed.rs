//! Calls that are made after a while.

use std::time::{Duration, Instant};

use almanet::{CallError, Codec, Invocation, transport::Publication};
use almanet_tests::{TestBroker, unique};

use crate::one_way::{noted_session, noting, start};

#[tokio::test]
async fn a_delayed_call_runs_when_its_delay_has_passed() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.note");
    let (procedure, mut noted) = noting(&uri);
    let _service = start(&serving, procedure).await;

    // nsqd looks for deferred messages of a new channel only every few seconds, so there is no telling how late it comes.
    let (begun, delay) = (Instant::now(), Duration::from_millis(300));
    let call = calling.send(&uri, "later").after(delay);
    call.expires(Duration::from_secs(20)).await.unwrap();
    calling.send(&uri, "at once").await.unwrap();
    assert_eq!(noted.recv().await.unwrap().text, "at once");
    let later = noted.recv().await.unwrap();
    assert_eq!(later.text, "later");
    assert!(begun.elapsed() >= delay, "{:?}", begun.elapsed());
    // It expires so long after the delay, however late it comes.
    let remaining = later.remaining.unwrap() + begun.elapsed();
    assert!(
        remaining >= Duration::from_secs(20) + delay * 9 / 10,
        "{remaining:?}"
    );
}

#[tokio::test]
async fn a_delay_beyond_the_brokers_is_refused_before_anything_is_sent() {
    let broker = TestBroker::start().await;
    let (session, published) = noted_session(&broker, Codec::MessagePack).await;
    let uri = unique("test.note");
    let limit = Duration::from_secs(60 * 60);
    let error = session
        .send(&uri, "never")
        .after(limit + Duration::from_millis(1));
    let error = error.await.unwrap_err();
    assert!(
        matches!(&error, CallError::DelayTooLong { limit: told, .. } if *told == limit),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("{uri} cannot be called after 3600.001s: "))
            && text.contains("3600s at most"),
        "{text}"
    );
    assert!(published.lock().unwrap().is_empty());

    // The limit itself is the broker's, too.
    session.send(&uri, "much later").after(limit).await.unwrap();
    assert_eq!(published.lock().unwrap()[0].delay, Some(limit));
    let shorter = broker
        .session_with(|builder| builder.max_deferral(Duration::from_secs(1)))
        .await;
    let error = shorter
        .send(&uri, "never")
        .after(Duration::from_secs(2))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::DelayTooLong { .. }), "{error:?}");
}

#[tokio::test]
async fn it_has_the_bytes_of_the_python_packages_delayed_call() {
    let broker = TestBroker::start().await;
    let (session, published) = noted_session(&broker, Codec::Json).await;
    let call = session
        .send(unique("test.note"), "hi")
        .after(Duration::from_millis(50));
    let id = call.await.unwrap();
    let published = published.lock().unwrap();
    let [Publication { bodies, delay, .. }] = published.as_slice() else {
        panic!("{published:?}")
    };
    assert_eq!(*delay, Some(Duration::from_millis(50)));
    // A year, which is as long as it takes: the package drops what expires, however long it was held back.
    let expected = format!(
        r#"{{"id":"{id}","caller_id":"{}","payload":"\"hi\"","reply_topic":"","expires":31536000}}"#,
        session.id()
    );
    assert_eq!(std::str::from_utf8(&bodies[0]).unwrap(), expected);
    assert_eq!(Invocation::decode(&bodies[0]).unwrap().timeout, None);
}
