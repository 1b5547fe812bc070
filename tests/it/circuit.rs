//! A procedure that fails again and again is left alone for a while.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use almanet::{CallError, CircuitBreaker, CircuitState, Context, Procedure, Service, Uri};
use almanet_tests::{TestBroker, unique};

#[tokio::test]
async fn a_circuit_opens_is_seen_and_closes_again() {
    let broker = TestBroker::start().await;
    let serving = broker.session().await;
    let uri = unique("test.broken");
    let (is_well, runs) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (wellness, counted) = (Arc::clone(&is_well), Arc::clone(&runs));
    let procedure = Procedure::new(&uri, move |_: Context, (): ()| {
        runs.fetch_add(1, Ordering::SeqCst);
        let is_well = is_well.load(Ordering::SeqCst);
        async move {
            assert!(is_well, "not well");
            Ok::<_, Infallible>(())
        }
    });
    let _service = Service::new().procedure(procedure).start(&serving).await.unwrap();

    let breaker = CircuitBreaker::default()
        .least_calls(4)
        .open_for(Duration::from_millis(200));
    let calling = broker
        .session_with(|builder| builder.circuit_breaker(breaker))
        .await;
    let name = Uri::new(&uri).unwrap();
    for _ in 0..4 {
        assert_eq!(calling.circuit(&name), CircuitState::Closed);
        let error = calling.call::<()>(&uri, &()).await.unwrap_err();
        assert!(matches!(error, CallError::Internal { .. }), "{error:?}");
    }
    assert!(matches!(calling.circuit(&name), CircuitState::Open { .. }));
    let error = calling.call::<()>(&uri, &()).await.unwrap_err();
    assert!(matches!(error, CallError::CircuitOpen { .. }), "{error:?}");
    assert_eq!(counted.load(Ordering::SeqCst), 4, "it was not called");

    wellness.store(true, Ordering::SeqCst);
    while let Err(error) = calling.call::<()>(&uri, &()).await {
        assert!(matches!(error, CallError::CircuitOpen { .. }), "{error:?}");
        tokio::task::yield_now().await;
    }
    assert_eq!(calling.circuit(&name), CircuitState::Closed);

    let without = broker.session().await;
    assert_eq!(without.circuit(&name), CircuitState::Closed);
}
