//! The spans of calls and handlers, as a log shows them.

use std::{
    convert::Infallible,
    future::pending,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use almanet::{Context, Procedure, RpcError, Service};
use almanet_tests::{TestBroker, echo, unique};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::{EnvFilter, fmt::format::FmtSpan};

use crate::alone;

/// The log of this thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Takes down what passes `filter`, and each span at its end.
    pub(crate) fn start(filter: &str) -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_span_events(FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines that have all of `parts`.
    pub(crate) fn lines(&self, parts: &[&str]) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        log.lines()
            .filter(|line| parts.iter().all(|part| line.contains(part)))
            .map(str::to_owned)
            .collect()
    }

    /// The one line that has all of `parts`.
    pub(crate) fn line(&self, parts: &[&str]) -> String {
        let mut lines = self.lines(parts);
        assert_eq!(lines.len(), 1, "{parts:?}: {lines:#?}\n{:#?}", self.lines(&[]));
        lines.remove(0)
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The value of a field of the innermost span in which a line was written.
pub(crate) fn field(line: &str, name: &str) -> String {
    let (_, value) = line
        .rsplit_once(&format!(" {name}="))
        .unwrap_or_else(|| panic!("no {name}: {line}"));
    let end = value.find([' ', '}']).unwrap();
    value[..end].trim_matches('"').to_owned()
}

#[derive(Debug, thiserror::Error, RpcError)]
#[error("no")]
struct Refused;

#[tokio::test]
async fn what_a_handler_logs_has_its_call_and_the_trace_of_its_caller() {
    let _alone = alone().await;
    let (log, _guard) = Log::start("info");
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.logs");
    let logs = Procedure::new(&uri, |_: Context, (): ()| async {
        tracing::info!("at work");
        Ok::<_, Infallible>(())
    });
    let _service = Service::new().procedure(logs).start(&session).await.unwrap();
    session.call::<()>(&uri, &()).await.unwrap();

    let at_work = log.line(&["at work"]);
    assert_eq!(field(&at_work, "procedure"), uri);
    assert_eq!(field(&at_work, "attempt"), "1");
    assert_eq!(field(&at_work, "caller"), session.id().to_string());
    let trace = field(&at_work, "trace_id");
    assert_eq!(trace.len(), 32, "{trace}");

    let call = log.line(&["call{", "close"]);
    assert_eq!(field(&call, "procedure"), uri);
    assert_eq!(field(&call, "trace_id"), trace);
    assert_eq!(field(&call, "outcome"), "ok");
    let handler = log.line(&["handler{", "close"]);
    assert_eq!(field(&handler, "outcome"), "ok");
    assert!(
        !handler.contains("call{"),
        "the caller is another program: {handler}"
    );
}

#[tokio::test]
async fn a_call_within_a_span_of_the_user_is_in_it() {
    let _alone = alone().await;
    let (log, _guard) = Log::start("info");
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.echo");
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&session)
        .await
        .unwrap();
    let request = tracing::info_span!("request", path = "/orders");
    let call = request.in_scope(|| session.call::<String>(&uri, "hi").into_future());
    call.await.unwrap();
    log.line(&["request{path=\"/orders\"}:call{", "close"]);
}

#[tokio::test]
async fn a_span_shows_how_it_ended() {
    let _alone = alone().await;
    let (log, _guard) = Log::start("info");
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let (refuses, panics, hangs) = (
        unique("test.refuses"),
        unique("test.panics"),
        unique("test.hangs"),
    );
    let service = Service::new()
        .procedure(Procedure::new(&refuses, |_: Context, (): ()| async {
            Err::<(), _>(Refused)
        }))
        .procedure(Procedure::new(&panics, |_: Context, (): ()| async {
            if true {
                panic!("at the disco")
            }
            Ok::<_, Infallible>(())
        }))
        .procedure(Procedure::new(&hangs, |_: Context, (): ()| {
            pending::<Result<(), Infallible>>()
        }));
    let handle = service.grace(Duration::ZERO).start(&session).await.unwrap();

    session.call::<()>(&refuses, &()).await.unwrap_err();
    session.call::<()>(&panics, &()).await.unwrap_err();
    session.call::<()>(&refuses, &1).await.unwrap_err();
    session
        .call::<()>(&hangs, &())
        .timeout(Duration::from_millis(100))
        .await
        .unwrap_err();
    drop(session.call::<()>(&hangs, &()).into_future());
    handle.stop().await;

    let outcomes = |span: &str, uri: &str| {
        let mut outcomes: Vec<_> = log
            .lines(&[span, uri, "close"])
            .iter()
            .map(|line| field(line, "outcome"))
            .collect();
        outcomes.sort_unstable();
        outcomes
    };
    assert_eq!(outcomes("call{", &refuses), ["error", "invalid_payload"]);
    assert_eq!(outcomes("handler{", &refuses), ["error", "invalid_payload"]);
    assert_eq!(outcomes("call{", &panics), ["internal"]);
    assert_eq!(outcomes("call{", &hangs), ["dropped", "timeout"]);
    assert_eq!(
        outcomes("handler{", &panics),
        ["dropped"],
        "it did not come to an end"
    );
    assert_eq!(outcomes("handler{", &hangs), ["dropped"]);
    assert!(log.lines(&["call{", &panics, "otel.status_code=\"ERROR\""]).len() == 1);
}

#[tokio::test]
async fn spans_can_be_turned_off_by_their_targets() {
    let _alone = alone().await;
    let (log, _guard) = Log::start("info,almanet::call=off,almanet::handler=off");
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.headers");
    let headers = Procedure::new(&uri, |context: Context, (): ()| async move {
        Ok::<_, Infallible>(context.headers().is_empty())
    });
    let _service = Service::new().procedure(headers).start(&session).await.unwrap();
    assert!(
        session.call::<bool>(&uri, &()).await.unwrap(),
        "it carries a trace"
    );
    assert!(log.lines(&["call{"]).is_empty());
    assert!(log.lines(&["handler{"]).is_empty());
}
