//! Layers see the calls, in and out, and what they fail with reaches the caller as what it is.

use std::{
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use almanet::{
    Context, Handler, Procedure, Request, RpcError, Service, Session,
    layer::{self, Next},
    testing::MemoryBroker,
};
use almanet_tests::echo;
use tokio::sync::mpsc::UnboundedSender;
use tower::ServiceBuilder;

#[derive(Debug, thiserror::Error, RpcError, PartialEq)]
enum AccessError {
    #[error("{who} may not do this")]
    Denied { who: String },
}

type Log = Arc<Mutex<Vec<&'static str>>>;

/// A layer that notes when a call comes by.
macro_rules! noting {
    ($log:expr, $name:literal, $request:ty, $next:ty) => {{
        let log: Log = Arc::clone(&$log);
        layer::from_fn(move |request: $request, next: $next| {
            log.lock().unwrap().push($name);
            next.run(request)
        })
    }};
}

mod service;
mod session;

/// A procedure that says when a call has begun, and never ends it.
fn held(uri: &str, began: UnboundedSender<()>) -> Procedure {
    Procedure::new(uri, move |_: Context, (): ()| {
        let _ = began.send(());
        pending::<Result<(), Infallible>>()
    })
}

/// What is written of the types is what users write: a layer is generic over what it is around.
#[test]
fn a_layer_from_a_function_can_be_named() {
    fn is_layer<L: tower::Layer<Handler>>(_: &L) {}
    let passing = layer::from_fn(|request: Request, next: Next<Handler>| next.run(request));
    is_layer(&passing);
}

#[tokio::test(start_paused = true)]
async fn a_buffer_lets_clones_share_a_rate_limit_on_either_side() {
    let second = Duration::from_secs(1);
    for serving_is_limited in [true, false] {
        let broker = MemoryBroker::new();
        let serving = Session::builder().transport(broker.transport());
        let serving = serving.connect().await.unwrap();
        let mut calling = Session::builder().transport(broker.transport());
        let mut service = Service::new().procedure(echo("test.echo"));
        if serving_is_limited {
            service = service.layer(ServiceBuilder::new().buffer(64).rate_limit(2, second));
        } else {
            calling = calling.layer(ServiceBuilder::new().buffer(64).rate_limit(2, second));
        }
        let _service = service.start(&serving).await.unwrap();
        let calling = calling.connect().await.unwrap();

        let begun = tokio::time::Instant::now();
        let calls = (0..6).map(|_| calling.call::<String>("test.echo", "hi").into_future());
        for answer in futures_util::future::join_all(calls).await {
            assert_eq!(answer.unwrap(), "hi");
        }
        // Two at once, two after a second, and two after another.
        let passed = begun.elapsed();
        assert!((2 * second..3 * second).contains(&passed), "{passed:?}");
    }
}
