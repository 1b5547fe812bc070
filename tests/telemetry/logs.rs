//! The lines that a person is to act on, and where it is written what to do.

use std::{convert::Infallible, fs, path::Path, time::Duration};

use almanet::{CircuitBreaker, Context, Procedure, Service};
use almanet_tests::{TestBroker, echo, unique};

use crate::{alone, spans::Log};

#[tokio::test]
async fn what_goes_wrong_in_a_service_is_in_its_log_with_the_procedure() {
    let _alone = alone().await;
    let (log, _subscriber) = Log::start("warn");
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let (panics, large, stuck) = (unique("test.panics"), unique("test.large"), unique("test.stuck"));
    let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let service = Service::new()
        .procedure(Procedure::new(&panics, |_: Context, (): ()| async {
            if true {
                panic!("the shelf is empty");
            }
            Ok::<_, Infallible>(())
        }))
        .procedure(Procedure::new(&large, |_: Context, (): ()| async {
            Ok::<_, Infallible>("x".repeat(2_000_000))
        }))
        .procedure(Procedure::new(&stuck, move |_: Context, (): ()| {
            let _ = begun.send(());
            std::future::pending::<Result<(), Infallible>>()
        }))
        .grace(Duration::from_millis(1));
    let service = service.start(&serving).await.unwrap();

    calling.call::<()>(&panics, &()).await.unwrap_err();
    let line = log.line(&["a procedure panicked"]);
    for part in ["ERROR", &panics, "the shelf is empty", "call="] {
        assert!(line.contains(part), "{part}: {line}");
    }
    calling.call::<String>(&large, &()).await.unwrap_err();
    let line = log.line(&["an answer could not be sent as it is"]);
    for part in ["WARN", &large, "call=", "1048576"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let call = tokio::spawn(calling.call::<()>(&stuck, &()).into_future());
    has_begun.recv().await.unwrap();
    service.stop().await;
    let line = log.line(&["calls still run after 1ms: they are dropped and requeued"]);
    for part in ["WARN", &stuck, "calls=1"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    call.abort();
}

#[tokio::test]
async fn a_circuit_that_opens_is_in_the_callers_log_and_nothing_is_when_all_is_well() {
    let _alone = alone().await;
    let (log, _subscriber) = Log::start("warn");
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let (well, broken) = (unique("test.well"), unique("test.broken"));
    let service = Service::new().procedure(echo(&well)).procedure(Procedure::new(
        &broken,
        |_: Context, (): ()| async {
            if true {
                panic!("broken");
            }
            Ok::<_, Infallible>(())
        },
    ));
    let _service = service.start(&serving).await.unwrap();
    let breaker = CircuitBreaker::default().least_calls(1);
    let calling = broker
        .session_with(|builder| builder.circuit_breaker(breaker))
        .await;
    calling.call::<String>(&well, "hi").await.unwrap();
    assert_eq!(log.lines(&[]), [""; 0], "nothing has gone wrong yet");
    calling.call::<()>(&broken, &()).await.unwrap_err();
    let line = log.line(&["too many calls failed: the circuit is open"]);
    for part in ["WARN", &broken, "open_for=5s"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

/// The beginnings of what is logged at WARN and ERROR, up to the first value or colon.
fn logged_in(folder: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            logged_in(&path, lines);
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        for level in ["tracing::warn!(", "tracing::error!("] {
            for call in source.split(level).skip(1) {
                let call = call.split(");\n").next().unwrap();
                let text = call
                    .split('"')
                    .nth(1)
                    .unwrap_or_else(|| panic!("a line without words in {}", path.display()));
                lines.push(text.split(['{', ':']).next().unwrap().trim().to_owned());
            }
        }
    }
}

#[test]
fn the_guide_has_all_lines_of_the_framework() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guide = fs::read_to_string(root.join("docs/observability.md")).unwrap();
    let mut lines = Vec::new();
    logged_in(&root.join("almanet/src"), &mut lines);
    assert!(lines.len() > 15, "{lines:?}");
    for line in lines {
        assert!(
            guide.contains(&line),
            "docs/observability.md does not have {line:?}"
        );
    }
}
