//! How large payloads and results may be, and who says so when they are larger.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use almanet::{CallError, Codec, Context, Procedure, Service, Session};
use almanet_tests::{TestBroker, echo, unique};

use crate::spy::Spy;

/// A procedure that answers with a text of so many bytes.
fn long(uri: &str) -> Procedure {
    Procedure::new(uri, |_: Context, length: usize| async move {
        Ok::<_, Infallible>("x".repeat(length))
    })
}

/// A session that counts what it publishes.
async fn counting(broker: &TestBroker, limit: Option<usize>) -> (Session, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let published = Arc::clone(&count);
    let spy = Spy::connect(broker).await.on_publish(move |_| {
        published.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let builder = Session::builder().transport(spy).codec(Codec::Json);
    let builder = match limit {
        Some(limit) => builder.max_payload(limit),
        None => builder,
    };
    (builder.connect().await.unwrap(), count)
}

#[tokio::test]
async fn a_payload_over_the_limit_is_not_sent() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let (calling, published) = counting(&broker, Some(100)).await;
    let uri = unique("test.echo");
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&serving)
        .await
        .unwrap();

    // The quotes count too.
    let too_large = "x".repeat(99);
    let error = calling.call::<String>(&uri, &too_large).await.unwrap_err();
    let CallError::TooLarge {
        procedure,
        size,
        limit,
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!((procedure.as_str(), *size, *limit), (uri.as_str(), 101, 100));
    assert!(
        error.to_string().starts_with(&format!(
            "{uri} was not called: 101 bytes are more than the limit of 100"
        )),
        "{error}"
    );
    let error = calling.send(&uri, &too_large).await.unwrap_err();
    assert!(matches!(error, CallError::TooLarge { .. }), "{error:?}");
    let error = calling.multicall::<String>(&uri, &too_large).await.unwrap_err();
    assert!(matches!(error, CallError::TooLarge { .. }), "{error:?}");
    assert_eq!(published.load(Ordering::SeqCst), 0);

    let fits = "x".repeat(98);
    assert_eq!(calling.call::<String>(&uri, &fits).await.unwrap(), fits);
}

#[tokio::test]
async fn without_a_limit_of_its_own_a_message_has_one() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (uri, answers) = (unique("test.echo"), unique("test.long"));
    let service = Service::new().procedure(echo(&uri)).procedure(long(&answers));
    let _service = service.start(&session).await.unwrap();

    let large = "x".repeat(2 << 20);
    let error = session.call::<String>(&uri, &large).await.unwrap_err();
    let CallError::TooLarge { size, limit, .. } = error else {
        panic!("{error:?}")
    };
    assert!(size > 2 << 20 && size < (2 << 20) + 1000, "{size}");
    assert_eq!(limit, 1 << 20);
    let error = session.call::<String>(&answers, &(2 << 20)).await.unwrap_err();
    let CallError::InvalidReturn { reason, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(
        reason.starts_with("20971") && reason.contains("more than the limit of 1048576"),
        "{reason}"
    );
    // Nothing is broken by that.
    let most = (1 << 20) - 300;
    assert_eq!(session.call::<String>(&answers, &most).await.unwrap().len(), most);
}

#[tokio::test]
async fn a_service_refuses_and_answers_no_more_than_its_limit() {
    let broker = TestBroker::start().await;
    let serving = broker.session_with(|builder| builder.max_payload(100)).await;
    let (uri, answers) = (unique("test.echo"), unique("test.long"));
    let service = Service::new().procedure(echo(&uri)).procedure(long(&answers));
    let _service = service.start(&serving).await.unwrap();
    for codec in [Codec::MessagePack, Codec::Json] {
        let calling = broker.session_with(|builder| builder.codec(codec)).await;
        let error = calling.call::<String>(&uri, &"x".repeat(99)).await.unwrap_err();
        let CallError::InvalidPayload { reason, .. } = &error else {
            panic!("{error:?}")
        };
        assert!(
            reason.starts_with("101 bytes are more than the limit of 100 of the service"),
            "{reason}"
        );
        let error = calling.call::<String>(&answers, &99).await.unwrap_err();
        let CallError::InvalidReturn { reason, .. } = &error else {
            panic!("{error:?}")
        };
        assert!(
            reason.starts_with("101 bytes are more than the limit of 100 of the service"),
            "{reason}"
        );
        assert_eq!(calling.call::<String>(&answers, &98).await.unwrap().len(), 98);
    }
}
