//! Services say what they are and how they do, to whoever asks.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use almanet::{
    Broker, BrokerConfig, CallError, Codec, Context, Id, IntrospectError, Invocation, Payload, Procedure,
    ProcedureStats, RpcError, Service, Session,
    transport::{
        ChannelName, NsqTransport, Publication, PublishError, SubscribeError, SubscribeOptions, Subscription,
        TopicName, Transport,
    },
};
use almanet_tests::{TestBroker, echo, unique};
use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::raw::{answer_to, publish, transport};

/// A service of one procedure that echoes, called `name`.
fn named(name: &str) -> Service {
    let uri = format!("almanet.test.{name}");
    Service::new()
        .name(name)
        .version("1.2.3")
        .description("Echoes.")
        .procedure(echo(&uri).description("Says it again.").tag("sound").idempotent())
        .procedure(echo(&format!("{uri}_hidden")).hidden())
}

/// How many of the services called `name` answer, of which there is one at least.
async fn answering(session: &Session, name: &str) -> usize {
    let question = session
        .introspect()
        .service(name)
        .timeout(Duration::from_secs(10));
    question.ping().await.unwrap().len()
}

/// Whether none of the services called `name` answers, within a time in which they surely would.
async fn is_silent(session: &Session, name: &str) -> bool {
    let question = session
        .introspect()
        .service(name)
        .timeout(Duration::from_millis(500));
    question.ping().await.unwrap().is_empty()
}

#[tokio::test]
async fn every_instance_says_what_it_is() {
    let broker = TestBroker::start().await;
    let name = unique("discovered");
    let uri = format!("almanet.test.{name}");
    let (first, second, asking) = (
        broker.session().await,
        broker.session().await,
        // Whoever asks need not speak the codec of those who answer.
        broker.session_with(|builder| builder.codec(Codec::Json)).await,
    );
    let services = [
        named(&name).start(&first).await.unwrap(),
        named(&name).start(&second).await.unwrap(),
    ];

    let question = asking
        .introspect()
        .quiet(Duration::from_secs(1))
        .timeout(Duration::from_secs(10));
    let found = question.info().await.unwrap();
    let found: Vec<_> = found
        .into_iter()
        .filter(|info| info.instance.service == name)
        .collect();
    let sessions: BTreeSet<Id> = found.iter().map(|info| info.instance.session).collect();
    assert_eq!(sessions, BTreeSet::from([first.id(), second.id()]));
    let [info, other] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_ne!(info.instance.id, other.instance.id);
    assert_eq!(info.instance.version, "1.2.3");
    assert_eq!(info.description, "Echoes.");
    assert_eq!(info.process, std::process::id());
    assert!(!info.stopping);
    let [procedure] = info.procedures.as_slice() else {
        panic!("one is hidden: {info:?}")
    };
    assert_eq!(procedure.uri, uri);
    assert_eq!(procedure.channel, "almanet");
    assert_eq!(procedure.description, "Says it again.");
    assert_eq!(procedure.tags, ["sound"]);
    assert!(procedure.idempotent);

    // One session serves two: each answers for itself.
    let more = unique("discovered");
    let third = named(&more).start(&first).await.unwrap();
    assert_eq!(answering(&asking, &more).await, 1);
    let by_procedure = asking.introspect().procedure(&uri).quiet(Duration::from_secs(1));
    assert_eq!(by_procedure.ping().await.unwrap().len(), 2);

    for service in services {
        service.stop().await;
    }
    assert!(is_silent(&asking, &name).await, "those that ended say nothing");
    assert_eq!(answering(&asking, &more).await, 1);
    third.stop().await;
}

#[derive(Debug, thiserror::Error, RpcError)]
enum Odd {
    #[error("odd")]
    #[rpc_error(name = "odd")]
    Number,
}

async fn stats(session: &Session, name: &str) -> ProcedureStats {
    let mut found = session.introspect().service(name).stats().await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0).procedures.remove(0)
}

#[tokio::test]
async fn what_became_of_the_calls_is_counted() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let name = unique("counted");
    let uri = format!("almanet.test.{name}");
    let (running, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (entered, opened) = (Arc::clone(&running), Arc::clone(&gate));
    let procedure = Procedure::new(&uri, move |_: Context, number: u32| {
        let (entered, opened) = (Arc::clone(&entered), Arc::clone(&opened));
        async move {
            if number == 0 {
                entered.notify_one();
                opened.notified().await;
            }
            assert_ne!(number, 99, "as a bug would");
            if number % 2 == 1 {
                Err(Odd::Number)
            } else {
                Ok(number)
            }
        }
    });
    let service = Service::new()
        .name(&name)
        .procedure(procedure)
        .start(&session)
        .await
        .unwrap();
    assert_eq!(stats(&session, &name).await, {
        let mut none = ProcedureStats::default();
        none.uri.clone_from(&uri);
        none
    });

    let waiting = tokio::spawn(session.call::<u32>(&uri, &0).into_future());
    running.notified().await;
    for number in [2, 4, 6, 1, 3] {
        let _ = session.call::<u32>(&uri, &number).await;
    }
    assert!(matches!(
        session.call::<u32>(&uri, &99).await,
        Err(CallError::Internal { .. })
    ));
    assert!(matches!(
        session.call::<u32>(&uri, "two").await,
        Err(CallError::InvalidPayload { .. })
    ));
    publish(&broker, &format!("_rpc_.{uri}"), "no call").await;
    let mut late = Invocation::new(session.id(), Payload::encode(Codec::Json, &2).unwrap());
    late.timeout = Some(Duration::ZERO);
    publish(&broker, &format!("_rpc_.{uri}"), late.encode().unwrap()).await;
    // No order is promised: what was published is there when it is counted.
    let counted = loop {
        let counted = stats(&session, &name).await;
        if counted.expired > 0 && counted.malformed > 0 {
            break counted;
        }
    };
    assert_eq!((counted.calls, counted.in_flight, counted.answered), (8, 1, 7));
    assert_eq!((counted.expired, counted.malformed, counted.given_up), (1, 1, 0));
    let errors: Vec<_> = counted
        .errors
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    assert_eq!(
        errors,
        [("InternalError", 1), ("odd", 2), ("rpc_invalid_payload", 1)]
    );
    assert_eq!(counted.failed(), 4);
    assert!(0 < counted.max_us, "{counted:?}");
    assert!(counted.p50_us <= counted.p90_us && counted.p90_us <= counted.p99_us);
    assert!(counted.p99_us <= counted.max_us);

    gate.notify_one();
    assert_eq!(waiting.await.unwrap().unwrap(), 0);
    let counted = loop {
        let counted = stats(&session, &name).await;
        if counted.in_flight == 0 {
            break counted;
        }
    };
    assert_eq!((counted.calls, counted.answered), (8, 8));

    // A caller that stops waiting: the run is given up at its deadline.
    let late = session.call::<u32>(&uri, &0).timeout(Duration::from_millis(50));
    assert!(matches!(late.await, Err(CallError::Timeout { .. })));
    while stats(&session, &name).await.given_up == 0 {}

    // One that still runs keeps the service from ending, and the service says so.
    let waiting = tokio::spawn(session.call::<u32>(&uri, &0).into_future());
    while stats(&session, &name).await.in_flight == 0 {}
    let stopping = tokio::spawn(service.stop());
    loop {
        let info = session.introspect().service(&name).info().await.unwrap();
        if info.first().is_some_and(|info| info.stopping) {
            break;
        }
    }
    gate.notify_one();
    assert_eq!(waiting.await.unwrap().unwrap(), 0);
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_service_that_is_not_to_be_asked_says_nothing() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (silent, seen) = (unique("silent"), unique("seen"));
    let off = named(&silent).introspection(false).start(&session).await.unwrap();
    assert!(is_silent(&session, &silent).await);
    let on = named(&seen).start(&session).await.unwrap();
    assert_eq!(answering(&session, &seen).await, 1);
    assert!(is_silent(&session, &silent).await);
    off.stop().await;
    on.stop().await;
}

#[tokio::test]
async fn asking_ends_with_the_session() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    // Nobody answers, so it waits for as long as it may.
    let question = session
        .introspect()
        .service(unique("nobody"))
        .timeout(Duration::from_secs(60));
    let (asked, left) = tokio::join!(question.ping(), async {
        // The first answer's place is there once the question has been published.
        let own = session
            .introspect()
            .timeout(Duration::from_millis(100))
            .ping()
            .await;
        assert!(own.is_ok());
        session.leave().await
    });
    left.unwrap();
    assert!(matches!(asked, Err(IntrospectError::SessionLeft)), "{asked:?}");
    assert!(matches!(
        session.discover().await,
        Err(IntrospectError::SessionLeft)
    ));
}

#[tokio::test]
async fn a_session_of_another_language_can_ask() {
    let broker = TestBroker::embedded().await;
    let session = broker.session().await;
    let name = "almanet.test.asked";
    let service = named("asked").name(name).start(&session).await.unwrap();

    let reply = answer_to(&broker, "_rpc_._control_", "{\"ask\":\"ping\",\"later\":1}").await;
    assert_eq!(reply["is_exception"], false);
    let mut pong: Value = serde_json::from_str(reply["payload"].as_str().unwrap()).unwrap();
    let id: Id = serde_json::from_value(pong["id"].take()).unwrap();
    assert_ne!(id, session.id());
    assert_eq!(
        pong,
        json!({
            "service": name, "version": "1.2.3", "id": null,
            "session": session.id(),
        })
    );

    // A question that this version does not know is refused, and disturbs nobody.
    let reply = answer_to(&broker, "_rpc_._control_", "{\"ask\":\"weather\"}").await;
    assert_eq!(reply["is_exception"], true);
    assert!(
        reply["payload"]
            .as_str()
            .unwrap()
            .contains("unknown variant `weather`"),
        "{reply}"
    );
    publish(&broker, "_rpc_._control_", "no question").await;
    assert_eq!(answering(&session, name).await, 1);
    service.stop().await;
}

/// NSQ, where some topics are not for everybody.
#[derive(Debug)]
struct Forbidding(NsqTransport);

#[async_trait]
impl Transport for Forbidding {
    async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.0.publish(publication).await
    }

    async fn subscribe(
        &self,
        topic: &TopicName,
        channel: &ChannelName,
        options: SubscribeOptions,
    ) -> Result<Subscription, SubscribeError> {
        if topic.as_str() == "_rpc_._control_" {
            return Err(SubscribeError::Failed {
                topic: topic.clone(),
                channel: channel.clone(),
                source: "E_UNAUTHORIZED".into(),
            });
        }
        self.0.subscribe(topic, channel, options).await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

#[tokio::test]
async fn a_service_that_may_not_be_asked_serves_all_the_same() {
    let broker = TestBroker::start().await;
    let transport = Forbidding(transport(&broker).await);
    let serving = Session::builder().transport(transport).connect().await.unwrap();
    let session = broker.session().await;
    let name = unique("forbidden");
    let service = named(&name).start(&serving).await.unwrap();
    let uri = format!("almanet.test.{name}");
    assert_eq!(session.call::<String>(&uri, "here").await.unwrap(), "here");
    assert!(is_silent(&session, &name).await);
    service.stop().await;
}

#[tokio::test]
async fn services_answer_again_after_the_broker_restarts() {
    let broker = Broker::start(BrokerConfig::default()).await.unwrap();
    let address = broker.tcp_addr();
    let (serving, asking) = (
        Session::connect(address.to_string()).await.unwrap(),
        Session::connect(address.to_string()).await.unwrap(),
    );
    let name = unique("restarted");
    let service = named(&name).start(&serving).await.unwrap();
    assert_eq!(answering(&asking, &name).await, 1);

    broker.stop().await.unwrap();
    let _broker = Broker::start(BrokerConfig::default().tcp_address(address))
        .await
        .unwrap();
    // A question that is asked while the connections come back finds nobody, or no broker.
    let answered = async {
        loop {
            if asking
                .introspect()
                .service(&name)
                .ping()
                .await
                .is_ok_and(|found| found.len() == 1)
            {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), answered)
        .await
        .unwrap();
    service.stop().await;
}

#[tokio::test]
async fn with_two_brokers_a_service_answers_once_and_through_the_one_that_is_left() {
    let start = || Broker::start(BrokerConfig::default());
    let (first, second) = (start().await.unwrap(), start().await.unwrap());
    let addresses = format!("{},{}", first.tcp_addr(), second.tcp_addr());
    let (serving, asking) = (
        Session::connect(&addresses).await.unwrap(),
        Session::connect(&addresses).await.unwrap(),
    );
    let name = unique("twice");
    let service = named(&name).start(&serving).await.unwrap();
    for _ in 0..4 {
        assert_eq!(answering(&asking, &name).await, 1);
    }
    first.stop().await.unwrap();
    let mut answered = 0;
    while answered < 4 {
        let asked = Instant::now();
        // The first question may go to the broker that has just gone, whose silence it does not wait for.
        match asking.introspect().service(&name).ping().await {
            Ok(found) => answered += found.len(),
            Err(IntrospectError::Unconfirmed { waited }) => assert_eq!(waited, Duration::from_secs(2)),
            Err(error) => panic!("{error}"),
        }
        assert!(asked.elapsed() < Duration::from_secs(10));
    }
    service.stop().await;
}
