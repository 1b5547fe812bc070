//! Calls whose connections are cut off, on either side and anywhere in a frame, and nodes that die under calls.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use almanet::{
    CallError, Context, Procedure, Service, Session,
    transport::{ConnectionConfig, NsqTransportConfig},
};
use almanet_tests::{
    TestBroker, echo,
    proxy::{Cut, Direction, Proxy},
    unique,
};
use futures_util::future::join_all;

/// Beyond the 10 s after which nsqd gives the message of a lost connection to another.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A session that reconnects fast, so that tests do not wait.
async fn session(addresses: &str) -> Session {
    let connection =
        ConnectionConfig::default().reconnect_delay(Duration::from_millis(1)..=Duration::from_millis(20));
    Session::builder()
        .addresses(addresses)
        .nsq(NsqTransportConfig::default().connection(connection))
        .call_timeout(CALL_TIMEOUT)
        .connect()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_call_is_answered_wherever_its_service_is_cut_off() {
    // nsqd gives the message of a lost connection out again only after its timeout.
    let is_nsqd = std::env::var("ALMANET_TEST_NSQD").is_ok();
    let step = if is_nsqd { 150 } else { 7 };
    let broker = TestBroker::start().await;
    let proxy = Proxy::to(broker.address()).await;
    let (serving, calling) = (session(&proxy.address()).await, session(broker.address()).await);
    let uri = unique("test.echo");
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&serving)
        .await
        .unwrap();
    assert_eq!(calling.call::<String>(&uri, "whole").await.unwrap(), "whole");

    // A service that is given an old call compares the clocks, and makes the connection for that now and not in between.
    assert_eq!(serving.call::<String>(&uri, "whole").await.unwrap(), "whole");

    // What one call brings to the service, and takes from it up to the answer, in bytes.
    let before = proxy.counts();
    calling.call::<String>(&uri, "measured").await.unwrap();
    let after = proxy.counts();
    let mut cuts = 0;
    for direction in Direction::BOTH {
        let size = after.bytes(direction) - before.bytes(direction);
        assert!(size > 50, "{size} bytes {direction:?}");
        for (bytes, how) in (1..size).step_by(step).zip([Cut::Fin, Cut::Reset].iter().cycle()) {
            let accepted = proxy.counts().accepted;
            proxy.cut_after(direction, bytes, *how);
            let answer = calling.call::<String>(&uri, "measured").await;
            assert_eq!(
                answer.unwrap(),
                "measured",
                "{bytes} of {size} bytes {direction:?}"
            );
            proxy.accepted(accepted + 1).await;
            proxy.open(before.open).await;
            cuts += 1;
        }
    }
    println!("a service was cut off {cuts} times, and every call was answered");
}

#[tokio::test]
async fn a_caller_who_is_cut_off_is_answered_or_told_and_the_next_call_works() {
    let broker = TestBroker::start().await;
    let proxy = Proxy::to(broker.address()).await;
    let (serving, calling) = (session(broker.address()).await, session(&proxy.address()).await);
    let uri = unique("test.echo");
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&serving)
        .await
        .unwrap();
    assert_eq!(calling.call::<String>(&uri, "whole").await.unwrap(), "whole");
    let before = proxy.counts();
    assert_eq!(calling.call::<String>(&uri, "cut").await.unwrap(), "cut");
    let (after, open) = (proxy.counts(), before.open);
    let (mut answered, mut unconfirmed, mut disconnected) = (0, 0, 0);
    for direction in Direction::BOTH {
        let size = after.bytes(direction) - before.bytes(direction);
        for (bytes, how) in (1..size).step_by(13).zip([Cut::Fin, Cut::Reset].iter().cycle()) {
            let accepted = proxy.counts().accepted;
            proxy.cut_after(direction, bytes, *how);
            let call = calling
                .call::<String>(&uri, "cut")
                .timeout(Duration::from_secs(10));
            match call.await {
                Ok(answer) => answered += usize::from(answer == "cut"),
                Err(CallError::Publish { .. }) => unconfirmed += 1,
                Err(CallError::Disconnected { .. }) => disconnected += 1,
                // A timeout too: the caller learns at once that it was cut off.
                Err(error) => panic!("{error:?} after {bytes} bytes {direction:?}"),
            }
            proxy.accepted(accepted + 1).await;
            proxy.open(open).await;
            assert_eq!(calling.call::<String>(&uri, "next").await.unwrap(), "next");
        }
    }
    println!(
        "a caller was cut off: {answered} calls answered, {unconfirmed} unconfirmed, {disconnected} disconnected"
    );
    assert!(unconfirmed + disconnected > 0, "nothing was cut");
}

#[tokio::test]
async fn a_caller_whose_broker_is_lost_while_a_call_runs_is_told_at_once() {
    let broker = TestBroker::start().await;
    let (serving, uri) = (session(broker.address()).await, unique("test.held"));
    let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let held = Procedure::new(&uri, move |_: Context, (): ()| {
        let _ = begun.send(());
        std::future::pending::<Result<(), Infallible>>()
    });
    let _service = Service::new().procedure(held).start(&serving).await.unwrap();
    for how in [Cut::Fin, Cut::Reset] {
        let proxy = Proxy::to(broker.address()).await;
        let calling = session(&proxy.address()).await;
        let call = tokio::spawn(calling.call::<()>(&uri, &()).into_future());
        has_begun.recv().await.unwrap();
        let cut = tokio::time::Instant::now();
        proxy.cut(how);
        let error = call.await.unwrap().unwrap_err();
        // When the handler begins, the confirmation may still be on its way to the caller.
        let is_told = matches!(error, CallError::Disconnected { .. } | CallError::Publish { .. });
        assert!(is_told, "{how:?}: {error:?}");
        assert!(cut.elapsed() < CALL_TIMEOUT / 3, "{how:?}: {:?}", cut.elapsed());
    }
}

#[tokio::test]
async fn with_two_nodes_of_which_one_dies_under_load_calls_resume() {
    const CALLERS: usize = 8;
    const CALLS: usize = 60;
    let (first, second) = (TestBroker::start().await, TestBroker::start().await);
    let (dying, living) = (
        Proxy::to(first.address()).await,
        Proxy::to(second.address()).await,
    );
    let addresses = format!("{},{}", dying.address(), living.address());
    let (serving, calling) = (session(&addresses).await, session(&addresses).await);
    let uri = unique("test.count");
    // How often each call was run.
    let runs = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
    let counted = Arc::clone(&runs);
    let count = Procedure::new(&uri, move |_: Context, name: String| {
        *runs.lock().unwrap().entry(name.clone()).or_default() += 1;
        async move { Ok::<_, Infallible>(name) }
    });
    let _service = Service::new().procedure(count).start(&serving).await.unwrap();

    let (made, mut making) = tokio::sync::watch::channel(0);
    let callers = (0..CALLERS).map(|caller| {
        let (calling, uri, made) = (&calling, &uri, &made);
        async move {
            let mut outcomes = Vec::new();
            for number in 0..CALLS {
                let name = format!("{caller}-{number}");
                let call = calling.call::<String>(uri, &name).timeout(Duration::from_secs(2));
                outcomes.push((name, call.await));
                made.send_modify(|made| *made += 1);
            }
            outcomes
        }
    });
    let dying_once = async {
        making
            .wait_for(|made| *made >= CALLERS * CALLS / 3)
            .await
            .unwrap();
        dying.refuse(true);
        dying.cut(Cut::Reset);
    };
    let (outcomes, ()) = tokio::join!(join_all(callers), dying_once);

    let (mut answered, mut failed, mut again) = (0, 0, 0);
    let counted = counted.lock().unwrap().clone();
    for (name, outcome) in outcomes.iter().flatten() {
        let runs = counted.get(name).copied().unwrap_or_default();
        match outcome {
            Ok(answer) => {
                assert_eq!(answer, name, "somebody else's answer");
                assert!(runs >= 1, "{name} was answered and never run");
                answered += 1;
            }
            Err(CallError::Publish { .. } | CallError::Disconnected { .. } | CallError::Timeout { .. }) => {
                failed += 1;
            }
            Err(error) => panic!("{name}: {error:?}"),
        }
        again += runs.saturating_sub(1);
    }
    println!("one of two nodes died: {answered} calls answered, {failed} failed, {again} run again");
    // Only what was under way when the node died can fail: one call of each caller.
    assert!(failed <= CALLERS, "{failed} calls failed");
    assert!(again <= CALLERS, "{again} calls were run again");
    for _ in 0..20 {
        assert_eq!(calling.call::<String>(&uri, "after").await.unwrap(), "after");
    }
    // And it is used again when it is back.
    let accepted = dying.counts().accepted;
    dying.refuse(false);
    dying.accepted(accepted + 1).await;
    assert_eq!(calling.call::<String>(&uri, "back").await.unwrap(), "back");
}
