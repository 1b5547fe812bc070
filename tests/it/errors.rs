//! What a caller gets when a call fails: one test for each way.

use std::convert::Infallible;

use almanet::{CallError, Codec, Context, Procedure, RpcError, Service};
use almanet_tests::{TestBroker, unique};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum OrderError {
    #[error("{item} is sold out")]
    SoldOut { item: String, restock_days: Option<u32> },
    #[error("the shop is closed")]
    Closed,
    #[error("{0} is too much")]
    #[rpc_error(name = "too_much")]
    TooMuch(u64),
    #[error("{0} of {1}")]
    Limit(u32, String),
}

/// What an older caller knows of it.
#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum OldOrderError {
    #[error("the shop is closed")]
    Closed,
}

/// What a caller knows of it whose service means something else by the same name.
#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
enum OtherOrderError {
    #[error("{0} is too much")]
    TooMuch(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    item: String,
    count: u64,
}

/// Fails in the way that the item names.
fn order(uri: &str) -> Procedure {
    Procedure::new(uri, |_: Context, order: Order| async move {
        match order.item.as_str() {
            "cake" => Err(OrderError::SoldOut {
                item: order.item,
                restock_days: Some(3),
            }),
            "night" => Err(OrderError::Closed),
            "gold" => Err(OrderError::TooMuch(order.count)),
            "rice" => Err(OrderError::Limit(2, order.item)),
            "bomb" => panic!("the password is 1234"),
            _ => Ok(order.count),
        }
    })
}

fn of(item: &str) -> Order {
    Order {
        item: item.to_owned(),
        count: 7,
    }
}

#[tokio::test]
async fn an_error_is_matched_by_its_type_in_both_codecs() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let uri = unique("test.order");
    let _service = Service::new()
        .procedure(order(&uri))
        .start(&serving)
        .await
        .unwrap();

    for codec in [Codec::MessagePack, Codec::Json] {
        let session = broker.session_with(|builder| builder.codec(codec)).await;
        let raised = async |item: &str| match session
            .call::<u64>(&uri, &of(item))
            .expecting::<OrderError>()
            .await
        {
            Err(CallError::Remote(error)) => error,
            other => panic!("{item}: {other:?}"),
        };
        let sold_out = OrderError::SoldOut {
            item: "cake".to_owned(),
            restock_days: Some(3),
        };
        assert_eq!(raised("cake").await, sold_out);
        assert_eq!(raised("night").await, OrderError::Closed);
        assert_eq!(raised("gold").await, OrderError::TooMuch(7));
        assert_eq!(raised("rice").await, OrderError::Limit(2, "rice".to_owned()));
        assert_eq!(session.call::<u64>(&uri, &of("tea")).await.unwrap(), 7);
    }
}

#[tokio::test]
async fn an_error_that_the_caller_does_not_know_comes_with_its_name_and_payload() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.order");
    let _service = Service::new()
        .procedure(order(&uri))
        .start(&session)
        .await
        .unwrap();

    let call = session
        .call::<u64>(&uri, &of("gold"))
        .expecting::<OldOrderError>();
    let error = call.await.unwrap_err();
    let CallError::Unexpected { error: remote, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(remote.name(), "too_much");
    assert_eq!(remote.payload().decode::<u64>().unwrap(), 7);
    assert_eq!(
        error.to_string(),
        format!("{uri} returned `too_much`, an error that its caller does not know")
    );

    // So does one whose name is known, and whose payload is of another type.
    let call = session
        .call::<u64>(&uri, &of("gold"))
        .expecting::<OtherOrderError>();
    let error = call.await.unwrap_err();
    assert!(
        matches!(&error, CallError::Unexpected { error, .. } if error.name() == "too_much"),
        "{error:?}"
    );

    // A call by name that says no error type has every error as it came.
    let error = session.call::<u64>(&uri, &of("gold")).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Remote(remote) if remote.name() == "too_much"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_payload_that_does_not_fit_is_refused_by_its_field() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let uri = unique("test.order");
    let _service = Service::new()
        .procedure(order(&uri))
        .start(&serving)
        .await
        .unwrap();

    for codec in [Codec::MessagePack, Codec::Json] {
        let session = broker.session_with(|builder| builder.codec(codec)).await;
        let wrong = serde_json::json!({ "item": "tea", "count": "many" });
        let error = session.call::<u64>(&uri, &wrong).await.unwrap_err();
        let CallError::InvalidPayload { reason, .. } = &error else {
            panic!("{error:?}")
        };
        assert!(
            reason.starts_with("field `count`: invalid type: string \"many\""),
            "{reason}"
        );

        let error = session
            .call::<u64>(&uri, &serde_json::json!({ "item": "tea" }))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("missing field `count`"), "{error}");
    }
}

#[tokio::test]
async fn a_panic_is_an_internal_error_without_details_and_the_service_goes_on() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.order");
    let _service = Service::new()
        .procedure(order(&uri))
        .start(&session)
        .await
        .unwrap();

    let error = session.call::<u64>(&uri, &of("bomb")).await.unwrap_err();
    assert!(matches!(error, CallError::Internal { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("1234"), "{error:?}");
    assert_eq!(session.call::<u64>(&uri, &of("tea")).await.unwrap(), 7);
}

#[tokio::test]
async fn an_answer_that_cannot_be_encoded_is_reported() {
    let broker = TestBroker::start().await;
    let session = broker.session_with(|builder| builder.codec(Codec::Json)).await;
    let uri = unique("test.pairs");
    // JSON has no form for a map whose keys are sequences.
    let pairs = Procedure::new(&uri, |_: Context, (): ()| async {
        Ok::<_, Infallible>(std::collections::BTreeMap::from([(vec![1, 2], 3)]))
    });
    let _service = Service::new().procedure(pairs).start(&session).await.unwrap();

    let error = session.call::<()>(&uri, &()).await.unwrap_err();
    let CallError::InvalidReturn { reason, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(reason.contains("key must be a string"), "{reason}");
}

#[tokio::test]
async fn an_answer_over_the_brokers_limit_is_reported() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.large");
    let large = Procedure::new(&uri, |_: Context, size: usize| async move {
        Ok::<_, Infallible>("x".repeat(size))
    });
    let _service = Service::new().procedure(large).start(&session).await.unwrap();

    let error = session.call::<String>(&uri, &2_000_000).await.unwrap_err();
    let CallError::InvalidReturn { reason, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(reason.contains("1048576"), "the limit is not named: {reason}");
    assert_eq!(
        session.call::<String>(&uri, &900_000).await.unwrap().len(),
        900_000
    );
}

#[tokio::test]
async fn an_answer_of_another_type_is_the_callers_error() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.order");
    let _service = Service::new()
        .procedure(order(&uri))
        .start(&session)
        .await
        .unwrap();

    let error = session.call::<Order>(&uri, &of("tea")).await.unwrap_err();
    assert!(matches!(error, CallError::Decode { .. }), "{error:?}");
}
