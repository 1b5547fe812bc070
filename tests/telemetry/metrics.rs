//! What Prometheus fetches. The recorder is the process's own, so all of it is one test.

use std::{convert::Infallible, future::pending, time::Duration};

use almanet::{
    Context, Procedure, RpcError, Service,
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
