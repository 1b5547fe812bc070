//! A contract is a trait: services implement it, callers have its client, and both may be older than the other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use almanet::{CallError, Codec, Service, Session};
use almanet_tests::TestBroker;

/// The contract as it began.
mod v1 {
    use almanet::{Context, RpcError, service};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct Guest {
        pub name: String,
    }

    #[derive(Debug, PartialEq, thiserror::Error, RpcError)]
    pub enum GreetError {
        #[error("{name} is not welcome")]
        Denied { name: String },
    }

    /// Greets guests.
    #[service(prepath = "almanet.test.contract")]
    pub trait Greeter {
        /// Greets a guest.
        #[procedure(idempotent, timeout = "5s")]
        async fn greet(&self, guest: Guest) -> Result<String, GreetError>;

        /// Who asked, and how many have been greeted.
        #[procedure]
        async fn count(&self, context: Context) -> (String, u32);

        /// Says goodbye, to several at once.
        #[procedure(name = "part")]
        async fn say_goodbye(&self, name: String, times: u32) -> Vec<String> {
            let line = self.farewell(&name);
            if times == 0 {
                return Vec::new();
            }
            vec![line; times as usize]
        }

        #[procedure]
        async fn ping() {}

        /// No procedure.
        fn farewell(&self, name: &str) -> String {
            format!("Goodbye, {name}!")
        }
    }
}

/// The contract of the same name, later: `count` is gone, a guest has a title, goodbyes have a language, and an error is new.
mod v2 {
    use almanet::{RpcError, service};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct Guest {
        pub name: String,
        #[serde(default)]
        pub title: Option<String>,
    }

    #[derive(Debug, PartialEq, thiserror::Error, RpcError)]
    pub enum GreetError {
        #[error("{name} is not welcome")]
        Denied { name: String, until: Option<String> },
        #[error("the house has {seats} seats")]
        Full { seats: u32 },
    }

    fn english() -> String {
        "en".to_owned()
    }

    #[service(prepath = "almanet.test.contract", client = "NewGreeterClient")]
    pub trait NewGreeter {
        #[procedure]
        async fn greet(&self, guest: Guest) -> Result<String, GreetError>;

        #[procedure(name = "part")]
        async fn say_goodbye(
            &self,
            name: String,
            times: u32,
            #[serde(default = "english")] language: String,
        ) -> Vec<String>;
    }
}

#[derive(Default)]
struct Old {
    greeted: AtomicU32,
}

impl v1::Greeter for Old {
    async fn greet(&self, guest: v1::Guest) -> Result<String, v1::GreetError> {
        if guest.name == "Bob" {
            return Err(v1::GreetError::Denied { name: guest.name });
        }
        // The future is one that a service can run on any of its threads, waits included.
        tokio::task::yield_now().await;
        self.greeted.fetch_add(1, Ordering::Relaxed);
        Ok(format!("Hello, {}!", guest.name))
    }

    async fn count(&self, context: almanet::Context) -> (String, u32) {
        let greeted = self.greeted.load(Ordering::Relaxed);
        (context.caller_id().to_string(), greeted)
    }
}

struct New;

impl v2::NewGreeter for New {
    async fn greet(&self, guest: v2::Guest) -> Result<String, v2::GreetError> {
        match guest.name.as_str() {
            "Bob" => Err(v2::GreetError::Denied {
                name: guest.name,
                until: Some("Monday".to_owned()),
            }),
            "crowd" => Err(v2::GreetError::Full { seats: 3 }),
            name => Ok(format!("Hello, {}{name}!", guest.title.unwrap_or_default())),
        }
    }

    async fn say_goodbye(&self, name: String, times: u32, language: String) -> Vec<String> {
        vec![format!("{name} ({language})"); times as usize]
    }
}

fn guest(name: &str) -> v1::Guest {
    v1::Guest {
        name: name.to_owned(),
    }
}

#[tokio::test]
async fn a_contract_has_a_client_for_callers_and_a_trait_for_services() {
    use v1::Greeter as _;

    let broker = TestBroker::start().await;
    for codec in [Codec::MessagePack, Codec::Json] {
        let session = broker.session_with(|builder| builder.codec(codec)).await;
        let service = Old::default().into_service().start(&session).await.unwrap();
        let client = v1::GreeterClient::new(&session);

        let call = client.greet(guest("Aidar")).timeout(Duration::from_secs(5));
        assert_eq!(call.await.unwrap(), "Hello, Aidar!");
        match client.greet(guest("Bob")).await {
            Err(CallError::Remote(v1::GreetError::Denied { name })) => assert_eq!(name, "Bob"),
            other => panic!("{other:?}"),
        }
        assert_eq!(client.count().await.unwrap(), (session.id().to_string(), 1));
        let goodbyes = client.say_goodbye("Sara".into(), 2).await.unwrap();
        assert_eq!(goodbyes, ["Goodbye, Sara!"; 2], "the contract's own default");
        client.ping().await.unwrap();
        service.stop().await;
    }
}

#[tokio::test]
async fn what_a_service_shares_with_others_is_the_state_of_its_calls() {
    use v1::Greeter as _;

    let broker = TestBroker::embedded().await;
    let session = broker.session().await;
    let state = Arc::new(Old::default());
    let service = Arc::clone(&state).shared_service().start(&session).await.unwrap();
    v1::GreeterClient::new(&session)
        .greet(guest("Sara"))
        .await
        .unwrap();
    assert_eq!(state.greeted.load(Ordering::Relaxed), 1);
    service.stop().await;
    assert_eq!(
        Arc::strong_count(&state),
        1,
        "a service that has ended holds nothing"
    );
}

#[test]
fn a_contract_says_what_its_procedures_are() {
    use v1::Greeter as _;

    let service: Service = Old::default().into_service();
    let [greet, _, part, _] = service.procedures() else {
        panic!("{service:?}")
    };
    assert_eq!(greet.uri().unwrap().as_str(), "almanet.test.contract.greet");
    assert_eq!(greet.options().description, "Greets a guest.");
    assert!(greet.options().idempotent);
    assert_eq!(greet.options().timeout, Some(Duration::from_secs(5)));
    assert_eq!(part.uri().unwrap().as_str(), "almanet.test.contract.part");
}

/// A broker, and a session on it that serves the contract as it is now.
async fn served_anew() -> (TestBroker, Session, almanet::ServiceHandle) {
    use v2::NewGreeter as _;

    let broker = TestBroker::embedded().await;
    let session = broker.session().await;
    let service = New.into_service().start(&session).await.unwrap();
    (broker, session, service)
}

#[tokio::test]
async fn an_older_caller_leaves_out_what_is_new() {
    let (_broker, session, service) = served_anew().await;
    let client = v1::GreeterClient::new(&session);
    assert_eq!(client.greet(guest("Aidar")).await.unwrap(), "Hello, Aidar!");
    // An argument that came later has a default.
    let goodbyes = client.say_goodbye("Sara".into(), 1).await.unwrap();
    assert_eq!(goodbyes, ["Sara (en)"]);
    service.stop().await;
}

#[tokio::test]
async fn an_older_service_passes_over_what_it_does_not_know() {
    use v1::Greeter as _;

    let broker = TestBroker::embedded().await;
    let session = broker.session().await;
    let service = Old::default().into_service().start(&session).await.unwrap();
    let client = v2::NewGreeterClient::new(&session);
    let titled = v2::Guest {
        name: "Aidar".to_owned(),
        title: Some("Dr ".to_owned()),
    };
    assert_eq!(client.greet(titled).await.unwrap(), "Hello, Aidar!");
    let goodbyes = client.say_goodbye("Sara".into(), 1, "kk".into()).await.unwrap();
    assert_eq!(goodbyes, ["Goodbye, Sara!"]);
    // The new caller also reads the old error, which lacks the new field.
    let bob = v2::Guest {
        name: "Bob".to_owned(),
        title: None,
    };
    match client.greet(bob).await {
        Err(CallError::Remote(v2::GreetError::Denied { name, until: None })) => assert_eq!(name, "Bob"),
        other => panic!("{other:?}"),
    }
    service.stop().await;
}

#[tokio::test]
async fn an_error_that_is_newer_than_its_caller_comes_by_name_and_payload() {
    let (_broker, session, service) = served_anew().await;
    let client = v1::GreeterClient::new(&session);
    match client.greet(guest("Bob")).await {
        Err(CallError::Remote(v1::GreetError::Denied { name })) => assert_eq!(name, "Bob"),
        other => panic!("{other:?}"),
    }
    match client.greet(guest("crowd")).await {
        Err(CallError::Unexpected { procedure, error }) => {
            assert_eq!(procedure.as_str(), "almanet.test.contract.greet");
            assert_eq!(error.name(), "full");
            let payload: serde_json::Value = error.payload().decode().unwrap();
            assert_eq!(payload, serde_json::json!({ "seats": 3 }));
        }
        other => panic!("{other:?}"),
    }
    service.stop().await;
}

#[tokio::test]
async fn a_call_of_a_procedure_that_is_gone_says_which_nobody_serves() {
    let (_broker, session, service) = served_anew().await;
    let call = v1::GreeterClient::new(&session).count();
    match call.timeout(Duration::from_millis(200)).await {
        Err(error @ CallError::Timeout { .. }) => {
            assert!(
                error
                    .to_string()
                    .starts_with("almanet.test.contract.count did not answer"),
                "{error}"
            );
        }
        other => panic!("{other:?}"),
    }
    service.stop().await;
}

/// A contract as it began.
mod early {
    use almanet::service;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub struct Item {
        pub name: String,
    }

    #[service(prepath = "almanet.test.evolving")]
    pub trait Stock {
        #[procedure]
        async fn find(&self, name: String) -> Item;
    }
}

/// The same, later: what is found has a price, and something can be ordered.
mod late {
    use almanet::service;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub struct Item {
        pub name: String,
        #[serde(default)]
        pub price: Option<u32>,
    }

    #[service(prepath = "almanet.test.evolving", client = "LateStockClient")]
    pub trait LateStock {
        #[procedure]
        async fn find(&self, name: String) -> Item;

        #[procedure]
        async fn order(&self, name: String) -> u32;
    }
}

struct Stocked;

impl early::Stock for Stocked {
    async fn find(&self, name: String) -> early::Item {
        early::Item { name }
    }
}

impl late::LateStock for Stocked {
    async fn find(&self, name: String) -> late::Item {
        let price = Some(7);
        late::Item { name, price }
    }

    async fn order(&self, name: String) -> u32 {
        name.len() as u32
    }
}

#[tokio::test]
async fn a_result_gains_a_field_and_a_contract_a_procedure_whoever_is_newer() {
    let broker = TestBroker::start().await;
    for codec in [Codec::MessagePack, Codec::Json] {
        let session = broker.session_with(|builder| builder.codec(codec)).await;
        let (early, late) = (
            early::StockClient::new(&session),
            late::LateStockClient::new(&session),
        );

        let older = early::Stock::into_service(Stocked).start(&session).await.unwrap();
        let found = late.find("tea".into()).await.unwrap();
        assert_eq!((found.name.as_str(), found.price), ("tea", None));
        // The older service does not know the procedure, and disturbs nobody for it.
        let order = late.order("tea".into()).timeout(Duration::from_millis(200));
        let error = order.await.unwrap_err();
        assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
        assert_eq!(early.find("tea".into()).await.unwrap().name, "tea");
        older.stop().await;

        let newer = late::LateStock::into_service(Stocked)
            .start(&session)
            .await
            .unwrap();
        assert_eq!(early.find("tea".into()).await.unwrap().name, "tea");
        assert_eq!(late.find("tea".into()).await.unwrap().price, Some(7));
        assert_eq!(late.order("tea".into()).await.unwrap(), 3);
        newer.stop().await;
    }
}
