//! What Prometheus fetches. The recorder is the process's own, so all of it is one test.

use std::{convert::Infallible, future::pending, time::Duration};

use almanet::{
    CircuitBreaker, Context, EventContext, EventRetry, Failure, Procedure, PushConsumer, RpcError, Service,
    Session,
    layer::MetricsLayer,
    telemetry::{Prometheus, PrometheusError},
};
use almanet_tests::{TestBroker, echo, unique};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::alone;

#[derive(Debug, thiserror::Error, RpcError)]
#[error("no")]
struct Refused;

async fn get(prometheus: &Prometheus, path: &str) -> String {
    let mut stream = TcpStream::connect(prometheus.address()).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Opens the circuit of a procedure that fails until it is well, and sees each state of it.
async fn circuit_of_each_state(broker: &TestBroker, prometheus: &Prometheus, uri: &str) {
    /// How the procedure is.
    #[derive(Clone, Copy, PartialEq)]
    enum Is {
        Broken,
        Busy,
        Well,
    }
    let (state_of, is) = tokio::sync::watch::channel(Is::Broken);
    let (tried, mut tries) = tokio::sync::mpsc::unbounded_channel();
    let procedure = Procedure::new(uri, move |_: Context, (): ()| {
        let mut is = is.clone();
        let _ = tried.send(());
        async move {
            let is = *is.wait_for(|is| *is != Is::Busy).await.unwrap();
            assert!(is == Is::Well, "not well");
            Ok::<_, Infallible>(())
        }
    });
    let serving = broker.session().await;
    let _service = Service::new().procedure(procedure).start(&serving).await.unwrap();
    let breaker = CircuitBreaker::default()
        .least_calls(1)
        .open_for(Duration::from_millis(50));
    let calling = broker
        .session_with(|builder| builder.circuit_breaker(breaker))
        .await;
    let state = format!("almanet_circuit_state{{procedure=\"{uri}\"}} ");
    assert!(!prometheus.render().contains(&state));
    calling.call::<()>(uri, &()).await.unwrap_err();
    assert!(prometheus.render().contains(&format!("{state}2")));
    tries.recv().await.unwrap();

    state_of.send_replace(Is::Busy);
    let uri = uri.to_owned();
    let call = tokio::spawn(async move {
        while calling.call::<()>(&uri, &()).await.is_err() {
            tokio::task::yield_now().await;
        }
    });
    tries.recv().await.unwrap();
    assert!(prometheus.render().contains(&format!("{state}1")));
    state_of.send_replace(Is::Well);
    call.await.unwrap();
    assert!(prometheus.render().contains(&format!("{state}0")));
}

/// Lets a push and a pull consumer of one topic get three good events, one that is permanently bad, one that fails each time,
/// and one that is none; returns once all of it has been answered.
async fn events_of_each_kind(session: &Session) -> String {
    let topic = unique("test.events");
    let push = PushConsumer::new(&topic, "push", |_: EventContext, number: u64| async move {
        match number {
            0..3 => Ok(()),
            3 => Err(Failure::permanent("never")),
            _ => Err(Failure::retry("not now")),
        }
    });
    let push = push
        .max_attempts(2)
        .retry(EventRetry::immediately())
        .layer(MetricsLayer::new());
    let running = push.start(session).await.unwrap();
    // Its channel has another name at each start.
    let (seen, mut handled) = tokio::sync::mpsc::unbounded_channel();
    let all = PushConsumer::broadcast(&topic, move |_: EventContext, _: serde_json::Value| {
        seen.send(()).unwrap();
        async {}
    });
    let all = all.layer(MetricsLayer::new()).start(session).await.unwrap();
    let mut pull = session.consume_topic::<u64>(&topic, "pull").await.unwrap();
    let mut dead = session
        .consume_topic::<serde_json::Value>(format!("{topic}.dlq"), "test")
        .await
        .unwrap();
    for number in 0..5 {
        session.produce(&topic, &number).await.unwrap();
    }
    session.produce(&topic, "none").await.unwrap();
    // Each of the push consumer's comes here first; those of the pull consumer come below.
    for _ in 0..3 {
        dead.recv().await.unwrap().unwrap().ack().unwrap();
    }
    let mut dropped = false;
    let mut refused = false;
    let mut left = 6;
    while left > 0 {
        match pull.recv().await.unwrap() {
            Ok(event) if *event == 0 && !dropped => {
                dropped = true;
                drop(event);
                continue;
            }
            Ok(event) if *event == 1 && !refused => {
                refused = true;
                event.nack(Duration::ZERO).unwrap();
                continue;
            }
            Ok(event) if *event < 3 => event.ack().unwrap(),
            Ok(event) => pull.dead_letter(event, "no").await.unwrap(),
            Err(message) => message.discard().unwrap(),
        }
        left -= 1;
    }
    running.stop().await;
    for _ in 0..6 {
        handled.recv().await.unwrap();
    }
    all.stop().await;
    topic
}

#[tokio::test]
async fn prometheus_gets_what_happened() {
    let _alone = alone().await;
    let prometheus = Prometheus::serve("127.0.0.1:0").await.unwrap();
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let (good, bad, hangs) = (unique("test.good"), unique("test.bad"), unique("test.hangs"));
    let unheard = unique("test.unheard");
    let fails = Procedure::new(&unheard, |_: Context, (): ()| async { Err::<(), _>(Refused) });
    let service = Service::new()
        .procedure(fails)
        .procedure(echo(&good))
        .procedure(Procedure::new(&bad, |_: Context, (): ()| async {
            Err::<(), _>(Refused)
        }))
        .procedure(Procedure::new(&hangs, |_: Context, (): ()| {
            pending::<Result<(), Infallible>>()
        }))
        .layer(MetricsLayer::new())
        .grace(Duration::ZERO);
    let handle = service.start(&serving).await.unwrap();
    let session = broker
        .session_with(|builder| builder.layer(MetricsLayer::new()))
        .await;

    for _ in 0..3 {
        session.call::<String>(&good, "hi").await.unwrap();
    }
    session.call::<()>(&bad, &()).await.unwrap_err();
    session
        .call::<()>(&hangs, &())
        .timeout(Duration::from_millis(100))
        .await
        .unwrap_err();
    let held = tokio::spawn(session.call::<()>(&hangs, &()).into_future());
    let topic = unique("test.topic");
    session.produce(&topic, &1).await.unwrap();
    session.produce(&topic, &"x".repeat(2 << 20)).await.unwrap_err();
    session.call::<String>(&good, "hi").await.unwrap();
    let timed_out = format!("almanet_calls_unanswered_total{{procedure=\"{hangs}\",reason=\"timed_out\"}} 1");
    session.send(&unheard, &()).await.unwrap();
    let no_one_told =
        format!("almanet_calls_unanswered_total{{procedure=\"{unheard}\",reason=\"unheard\"}} 1");
    // The service gives the call up by its own clock, and nobody waits for the other.
    while [&timed_out, &no_one_told]
        .into_iter()
        .any(|line| !prometheus.render().contains(line))
    {
        tokio::task::yield_now().await;
    }

    let events = events_of_each_kind(&session).await;
    let broken = unique("test.broken");
    circuit_of_each_state(&broker, &prometheus, &broken).await;

    let metrics = get(&prometheus, "/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    let has = |line: String| assert!(metrics.lines().any(|found| found == line), "no {line}\n{metrics}");
    for side in ["handler", "call"] {
        let count = |uri: &str, outcome: &str, count: u32| {
            has(format!(
                "almanet_{side}_duration_seconds_count{{procedure=\"{uri}\",outcome=\"{outcome}\"}} {count}"
            ));
        };
        count(&good, "ok", 4);
        count(&bad, "error", 1);
        count(&hangs, if side == "call" { "timeout" } else { "dropped" }, 1);
    }
    has(format!("almanet_calls_waiting{{procedure=\"{good}\"}} 0"));
    has(format!("almanet_calls_waiting{{procedure=\"{hangs}\"}} 1"));
    has(format!("almanet_handlers_running{{procedure=\"{good}\"}} 0"));
    has(format!(
        "almanet_calls_unanswered_total{{procedure=\"{hangs}\",reason=\"timed_out\"}} 1"
    ));
    has(format!(
        "almanet_produced_total{{topic=\"{topic}\",outcome=\"ok\"}} 1"
    ));
    has(format!(
        "almanet_produced_total{{topic=\"{topic}\",outcome=\"failed\"}} 1"
    ));
    has("# TYPE almanet_call_duration_seconds histogram".to_owned());
    let push = format!("topic=\"{events}\",channel=\"push\"");
    for (outcome, count) in [("ok", 3), ("retried", 1), ("dead_letter", 3)] {
        has(format!(
            "almanet_consumed_total{{{push},outcome=\"{outcome}\"}} {count}"
        ));
    }
    for (outcome, count) in [("ok", 3), ("error", 2), ("permanent", 1), ("undecodable", 1)] {
        has(format!(
            "almanet_event_duration_seconds_count{{{push},outcome=\"{outcome}\"}} {count}"
        ));
    }
    has(format!("almanet_events_running{{{push}}} 0"));
    has(format!("almanet_event_age_seconds_count{{{push}}} 7"));
    has(format!(
        "almanet_produced_total{{topic=\"{events}\",outcome=\"ok\"}} 6"
    ));
    has(format!(
        "almanet_produced_total{{topic=\"{events}.dlq\",outcome=\"ok\"}} 5"
    ));
    let own = format!("topic=\"{events}\",channel=\"(own)\",outcome=\"ok\"");
    has(format!("almanet_consumed_total{{{own}}} 6"));
    has(format!("almanet_event_duration_seconds_count{{{own}}} 6"));
    let pull = format!("topic=\"{events}\",channel=\"pull\"");
    for (outcome, count) in [
        ("ok", 3),
        ("retried", 1),
        ("dropped", 1),
        ("dead_letter", 2),
        ("discarded", 1),
    ] {
        has(format!(
            "almanet_consumed_total{{{pull},outcome=\"{outcome}\"}} {count}"
        ));
    }

    assert!(get(&prometheus, "/").await.starts_with("HTTP/1.1 404 "));
    let again = Prometheus::serve("127.0.0.1:0").await;
    assert!(
        matches!(again, Err(PrometheusError::RecorderInstalled)),
        "{again:?}"
    );
    let taken = Prometheus::serve(prometheus.address().to_string()).await;
    assert!(matches!(taken, Err(PrometheusError::Listen { .. })), "{taken:?}");

    held.abort();
    handle.stop().await;
    let address = prometheus.address();
    drop(prometheus);
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
