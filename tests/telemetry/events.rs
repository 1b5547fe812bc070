//! The spans of events, and the traces that they carry where the session says so.

use std::time::Duration;

use almanet::{
    Codec, Event, EventContext, EventRetry, Failure, Headers, PushConsumer, Session, telemetry::TraceContext,
};
use almanet_tests::{TestBroker, echo, unique};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{
    alone,
    spans::{Log, field},
    traces::{PARENT, nobody_looks},
};

#[derive(Serialize, Deserialize, Event)]
#[event(topic = "almanet.test.traced", version = 2)]
struct Traced {
    run: String,
}

fn parent() -> TraceContext {
    PARENT.parse().unwrap()
}

#[tokio::test]
async fn what_a_handler_of_events_logs_has_its_event_and_a_trace() {
    let _alone = alone().await;
    let (log, _guard) = Log::start("info");
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let topic = unique("test.logs");
    let (seen, mut handled) = mpsc::unbounded_channel();
    let consumer = PushConsumer::new(&topic, "worker", move |context: EventContext, number: u64| {
        tracing::info!("at work");
        seen.send(context.message_id()).unwrap();
        async move {
            match number {
                0 => Ok(()),
                1 => Err(Failure::permanent("never")),
                2 => Err(Failure::retry("not now")),
                _ => panic!("at the disco"),
            }
        }
    });
    let running = consumer
        .max_attempts(1)
        .retry(EventRetry::immediately())
        .start(&session)
        .await
        .unwrap();
    session.produce(&topic, &0).await.unwrap();
    let id = handled.recv().await.unwrap();
    for number in 1..4 {
        session.produce(&topic, &number).await.unwrap();
        handled.recv().await.unwrap();
    }
    session.produce(&topic, "text").await.unwrap();
    let mut dead = session
        .consume_topic::<serde_json::Value>(format!("{topic}.dlq"), "almanet")
        .await
        .unwrap();
    for _ in 0..4 {
        dead.recv().await.unwrap().unwrap().ack().unwrap();
    }
    running.stop().await;

    let message = format!("event={id}");
    let at_work = log.line(&["at work", &message]);
    assert_eq!(field(&at_work, "topic"), topic);
    assert_eq!(field(&at_work, "channel"), "worker");
    assert_eq!(field(&at_work, "attempt"), "1");
    assert_eq!(field(&at_work, "trace_id").len(), 32);
    let mut outcomes: Vec<_> = log
        .lines(&["consume{", "close"])
        .iter()
        .map(|line| field(line, "outcome"))
        .collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["dropped", "error", "ok", "permanent", "undecodable"]);
    assert_eq!(log.lines(&["emit{", "close", &topic, "outcome=\"ok\""]).len(), 5);
    // Nothing was under way when they were published, so no trace was begun for them.
    assert!(log.lines(&["emit{", "close", "trace_id"]).is_empty());
    session.produce(&topic, &"x".repeat(2 << 20)).await.unwrap_err();
    log.line(&["emit{", "close", "outcome=\"failed\""]);
}

/// What travelled with an event, beside the bare payload.
async fn carried(consumer: &mut almanet::Consumer<Traced>, run: &str) -> (Headers, bool) {
    loop {
        let event = consumer.recv().await.unwrap().unwrap();
        let is_own = event.run.starts_with(run);
        let bare = Codec::MessagePack.encode(&*event).unwrap();
        let found = (event.headers().clone(), event.delivery().body == bare);
        event.ack().unwrap();
        if is_own {
            return found;
        }
    }
}

/// Publishes in each way there is, five events.
async fn publish(session: &Session, run: &str) {
    let event = Traced { run: run.to_owned() };
    session.emit(&event).await.unwrap();
    session.emit_all([&event]).await.unwrap();
    session
        .emit_after(Duration::from_millis(1), &event)
        .await
        .unwrap();
    session.produce(Traced::TOPIC, &event).await.unwrap();
    let mut batch = session.batch();
    batch.emit(&event).unwrap();
    batch.commit().await.unwrap();
}

#[tokio::test]
async fn events_carry_a_trace_only_where_there_is_one_and_the_session_says_so() {
    let _guard = (alone().await, nobody_looks());
    let broker = TestBroker::start().await;
    let says_nothing = broker.session().await;
    let says_so = broker.session_with(|builder| builder.event_traces(true)).await;
    let mut consumer = says_nothing.consume_broadcast::<Traced>().await.unwrap();
    let run = unique("run");

    parent().scope(publish(&says_nothing, &run)).await;
    publish(&says_so, &run).await;
    for _ in 0..10 {
        let (headers, is_bare) = carried(&mut consumer, &run).await;
        assert!(headers.is_empty() && is_bare, "{headers:?}");
    }

    parent().scope(publish(&says_so, &run)).await;
    let mut versions = 0;
    for _ in 0..5 {
        let (headers, is_bare) = carried(&mut consumer, &run).await;
        let here = TraceContext::from_headers(&headers).expect("a trace");
        assert_eq!(here.trace_id(), parent().trace_id());
        assert!(!is_bare);
        versions += usize::from(headers.get("almanet-event-version") == Some("2"));
    }
    assert_eq!(versions, 4, "all but the one that was published without its type");

    // One that is set by hand is left as it is.
    let mut headers = Headers::new();
    headers.insert("traceparent", PARENT);
    let event = Traced { run: run.clone() };
    let emitting = says_so.emit_with(headers, &event);
    TraceContext::begin().scope(emitting).await.unwrap();
    let (headers, _) = carried(&mut consumer, &run).await;
    assert_eq!(headers.get("traceparent"), Some(PARENT));
}

#[tokio::test]
async fn a_trace_goes_on_through_events_calls_and_retries() {
    let _guard = (alone().await, nobody_looks());
    let broker = TestBroker::start().await;
    let session = broker.session_with(|builder| builder.event_traces(true)).await;
    let (first, second, uri) = (unique("test.first"), unique("test.second"), unique("test.echo"));
    let (seen, mut handled) = mpsc::unbounded_channel();
    let told = seen.clone();
    let (next, callee) = (second.clone(), uri.clone());
    let one = PushConsumer::new(&first, "worker", move |context: EventContext, (): ()| {
        let (next, callee, told) = (next.clone(), callee.clone(), told.clone());
        async move {
            told.send(TraceContext::current()).unwrap();
            if context.attempt() == 1 {
                return Err(Failure::retry("not now"));
            }
            context.session().call::<String>(callee, "hi").await?;
            context.session().produce(next, &()).await?;
            Ok(())
        }
    });
    let two = PushConsumer::new(&second, "worker", move |_: EventContext, (): ()| {
        seen.send(TraceContext::current()).unwrap();
        async {}
    });
    let _running = almanet::Service::new()
        .procedure(echo(&uri))
        .consumer(one.retry(EventRetry::immediately()))
        .consumer(two)
        .start(&session)
        .await
        .unwrap();
    parent().scope(session.produce(&first, &())).await.unwrap();
    for place in ["the first attempt", "the second", "the event of its own"] {
        let here = handled
            .recv()
            .await
            .unwrap()
            .unwrap_or_else(|| panic!("no trace at {place}"));
        assert_eq!(here.trace_id(), parent().trace_id(), "{place}");
        assert_ne!(here.span_id(), parent().span_id(), "{place}");
    }
    // Where none comes in and nobody looks, none begins.
    session.produce(&second, &()).await.unwrap();
    assert_eq!(handled.recv().await.unwrap(), None);
}
