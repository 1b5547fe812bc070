//! Sessions without a runtime: they wait, they may be used wherever blocking is allowed, and say where it is not.

use std::{task::Poll, thread, time::Duration};

use almanet::{
    CallError, Codec, Context, Procedure, Service, ServiceHandle,
    blocking::{Error, NothingCame, Session},
    service,
};
use almanet_tests::{TestBroker, echo, unique};
use futures_util::stream;
use serde::{Deserialize, Deserializer, Serialize};
use tokio::{runtime::Runtime, task};

#[service(prepath = "test.blocking")]
mod greetings {
    use almanet::RpcError;

    #[derive(Debug, thiserror::Error, RpcError)]
    #[error("no")]
    pub struct Refused;

    #[procedure]
    pub async fn greet(name: String) -> Result<String, Refused> {
        match name.as_str() {
            "Bob" => Err(Refused),
            _ => Ok(format!("Hello, {name}!")),
        }
    }
}

/// A broker and an echo on a runtime of their own, as another program has them.
struct Elsewhere {
    address: String,
    uri: String,
    /// A procedure that answers with numbers up to 99, and then with an error. Its name is this test's alone: a stream
    /// ends with the instance that sends it.
    numbers: String,
    runtime: Runtime,
    _broker: TestBroker,
    _service: ServiceHandle,
}

impl Elsewhere {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let (uri, numbers) = (unique("test.echo"), unique("test.numbers"));
        let counting = Procedure::streaming(&numbers, |_: Context, to: u32| async move {
            let number = |number| match number {
                ..100 => Ok(number),
                _ => Err(greetings::Refused),
            };
            Ok(stream::iter((0..to).map(number)))
        });
        let (broker, service) = runtime.block_on(async {
            let broker = TestBroker::start().await;
            let session = broker.session().await;
            let service = Service::new()
                .procedure(echo(&uri))
                .procedure(counting)
                .merge(greetings::service());
            (broker, service.start(&session).await.unwrap())
        });
        Self {
            address: broker.address().to_owned(),
            uri,
            numbers,
            runtime,
            _broker: broker,
            _service: service,
        }
    }
}

#[test]
fn a_stream_is_an_iterator_that_waits() {
    let elsewhere = Elsewhere::start();
    let session = Session::connect(&elsewhere.address).unwrap();
    let numbers = |of: u32| {
        let call = session.call::<u32>(&elsewhere.numbers, &of);
        call.expecting::<greetings::Refused>()
            .stream()
            .credit(4)
            .open()
            .unwrap()
    };
    let whole: Result<Vec<u32>, _> = numbers(50).collect();
    assert_eq!(whole.unwrap(), (0..50).collect::<Vec<_>>());
    let mut failing = numbers(101).skip(100);
    let error = failing.next().unwrap().unwrap_err();
    assert!(
        matches!(error, Error::Operation(CallError::Remote(greetings::Refused))),
        "{error:?}"
    );
    assert!(failing.next().is_none());
    let mut items = numbers(3);
    elsewhere.runtime.block_on(async {
        assert!(matches!(items.next(), Some(Err(Error::WithinAsync))));
    });
    assert_eq!(items.next().unwrap().unwrap(), 0);
}

#[test]
fn a_program_without_a_runtime_calls_produces_and_consumes() {
    let there = Elsewhere::start();
    let session = Session::connect(&there.address).unwrap();
    assert_eq!(session.call::<String>(&there.uri, "hi").wait().unwrap(), "hi");

    let greet = |name: &str| {
        session
            .make(greetings::greet::call(session.session(), name.into()))
            .wait()
    };
    assert_eq!(greet("Aidar").unwrap(), "Hello, Aidar!");
    let error = greet("Bob").unwrap_err();
    assert!(
        matches!(error, Error::Operation(CallError::Remote(greetings::Refused))),
        "{error:?}"
    );
    let call = session
        .call::<()>(unique("test.nobody"), &())
        .timeout(Duration::from_millis(20));
    let error = call.wait().unwrap_err();
    assert!(
        matches!(error, Error::Operation(CallError::Timeout { .. })),
        "{error:?}"
    );

    let topic = unique("test.topic");
    let mut events = session.consume_topic::<u32>(&topic, "worker").unwrap();
    assert!(matches!(
        events.recv_timeout(Duration::from_millis(20)),
        Err(NothingCame)
    ));
    let producer = session.clone();
    let producing = {
        let topic = topic.clone();
        thread::spawn(move || (1..=3).for_each(|number| producer.produce(&topic, &number).unwrap()))
    };
    let mut sum = 0;
    for event in events.by_ref().take(3) {
        let event = event.unwrap();
        sum += *event;
        event.ack().unwrap();
    }
    assert_eq!(sum, 6);
    producing.join().unwrap();

    session.produce(&topic, "a text").unwrap();
    let undecodable = events.recv().unwrap().unwrap_err();
    let Error::Operation(undecodable) = undecodable else {
        panic!("{undecodable:?}")
    };
    undecodable.discard().unwrap();
    session.leave().unwrap();
    assert!(events.recv().is_none());
    events.close().unwrap();
    let error = session.call::<String>(&there.uri, "hi").wait().unwrap_err();
    assert!(
        matches!(error, Error::Operation(CallError::SessionLeft)),
        "{error:?}"
    );
}

#[test]
fn settings_are_those_of_a_builder() {
    let there = Elsewhere::start();
    let builder = almanet::Session::builder()
        .address(&there.address)
        .codec(Codec::Json);
    let session = Session::open(builder).unwrap();
    assert_eq!(session.session().codec(), Codec::Json);
    assert_eq!(session.call::<String>(&there.uri, "hi").wait().unwrap(), "hi");
}

#[test]
fn what_cannot_be_reached_is_told() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = unused.local_addr().unwrap().to_string();
    drop(unused);
    let error = Session::connect(&address).unwrap_err();
    assert!(matches!(error, Error::Operation(_)), "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
}

#[test]
fn in_an_async_task_every_operation_says_that_it_cannot_be() {
    let there = Elsewhere::start();
    let session = Session::connect(&there.address).unwrap();
    let topic = unique("test.topic");
    let mut events = session.consume_topic::<u32>(&topic, "worker").unwrap();
    let (uri, address) = (there.uri.clone(), there.address.clone());

    let misuse = async move {
        let refused = Session::connect(&address).map(drop);
        assert!(matches!(refused, Err(Error::WithinAsync)), "{refused:?}");
        let refused = session.call::<String>(&uri, "hi").wait();
        assert!(matches!(refused, Err(Error::WithinAsync)), "{refused:?}");
        let refused = session.produce(&topic, &1);
        assert!(matches!(refused, Err(Error::WithinAsync)), "{refused:?}");
        let refused = session.consume_topic::<u32>(&topic, "worker").map(drop);
        assert!(matches!(refused, Err(Error::WithinAsync)), "{refused:?}");
        let refused = session.leave();
        assert!(matches!(refused, Err(Error::WithinAsync)), "{refused:?}");
        let refused = events.recv();
        assert!(matches!(refused, Some(Err(Error::WithinAsync))), "{refused:?}");
        // The look costs the task nothing of what it may do.
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for _ in 0..100 {
            match task::coop::poll_proceed(&mut context) {
                Poll::Ready(step) => step.made_progress(),
                Poll::Pending => panic!("the task may do no more"),
            }
        }
        (session, events)
    };
    // As a task, and as what a runtime blocks on.
    let (session, mut events) = there
        .runtime
        .block_on(async { tokio::spawn(misuse).await.unwrap() });
    there.runtime.block_on(async {
        let refused = session.leave();
        assert!(matches!(refused, Err(Error::WithinAsync)), "{refused:?}");
    });

    // Outside they are as before, and to be dropped inside does no harm.
    session.produce(unique("test.topic"), &1).unwrap();
    assert!(matches!(
        events.recv_timeout(Duration::from_millis(1)),
        Err(NothingCame)
    ));
    there.runtime.block_on(async move { drop((session, events)) });
}

#[test]
fn where_a_runtime_lets_block_it_works() {
    let there = Elsewhere::start();
    let (uri, address) = (there.uri.clone(), there.address.clone());
    let call = move || {
        let session = Session::connect(&address).unwrap();
        session.call::<String>(&uri, "hi").wait().unwrap()
    };
    there.runtime.block_on(async {
        assert_eq!(task::spawn_blocking(call.clone()).await.unwrap(), "hi");
        let blocking = tokio::spawn(async move { task::block_in_place(call) });
        assert_eq!(blocking.await.unwrap(), "hi");
    });
}

/// A value that panics when it is read.
#[derive(Debug, Serialize)]
struct Trap;

impl<'de> Deserialize<'de> for Trap {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("sprung")
    }
}

#[test]
fn a_panic_of_the_users_code_is_an_error_and_harms_nobody() {
    let there = Elsewhere::start();
    let session = Session::connect(&there.address).unwrap();
    let error = session.call::<Trap>(&there.uri, "hi").wait().unwrap_err();
    assert!(matches!(error, Error::Panicked), "{error:?}");
    assert_eq!(session.call::<String>(&there.uri, "hi").wait().unwrap(), "hi");
}

#[test]
fn what_has_no_blocking_form_is_waited_for() {
    let elsewhere = Elsewhere::start();
    let session = Session::connect(&elsewhere.address).unwrap();
    let inside = session.session();
    let call = inside.multicall::<String>(&elsewhere.uri, "hi").count(1);
    let answers = session.wait(call.collect()).unwrap();
    assert_eq!(answers[0].outcome.as_ref().unwrap(), "hi");
    let sent = inside.send(&elsewhere.uri, "hi");
    let id = sent.id();
    assert_eq!(session.wait(sent).unwrap(), id);
    let error = session.wait(inside.send("1st", "hi")).unwrap_err();
    assert!(
        matches!(error, Error::Operation(CallError::InvalidUri(_))),
        "{error:?}"
    );
    let within = elsewhere.runtime.block_on(async {
        let waited = || session.wait(inside.send(&elsewhere.uri, "hi"));
        waited()
    });
    assert!(matches!(within, Err(Error::WithinAsync)), "{within:?}");
    session.leave().unwrap();
}
