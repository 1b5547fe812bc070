//! The kit for users' tests: it is ready when it is there, and what it is told to do wrong happens.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use almanet::{
    CallError, Codec, Context, Procedure, ProduceError, Service,
    testing::{Fault, MemoryBroker, TestBed, TestBedError},
    transport::{PublishError, SubscribeOptions, Transport},
};
use almanet_tests::echo;
use tokio::time::{Instant, advance, sleep, timeout};

const URI: &str = "net.example.echo";

/// An echo, and how often it has run.
fn counted() -> (Service, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let procedure = Procedure::new(URI, move |_: Context, text: String| {
        counter.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, Infallible>(text) }
    });
    (Service::new().procedure(procedure), runs)
}

#[tokio::test]
async fn a_bed_over_a_real_broker_is_ready_at_once() {
    let bed = TestBed::start(Service::new().procedure(echo(URI))).await.unwrap();
    assert_eq!(bed.session().call::<String>(URI, "hi").await.unwrap(), "hi");
    assert_ne!(bed.session().id(), bed.serving().id());
    let another = bed.connect().await.unwrap();
    assert_eq!(another.call::<String>(URI, "hi").await.unwrap(), "hi");
    let [address] = bed.addresses()[..] else {
        panic!("{bed:?}")
    };
    bed.stop().await;
    tokio::net::TcpStream::connect(address).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn in_memory_a_timeout_of_a_minute_passes_in_no_time() {
    let before = std::time::Instant::now();
    let bed = TestBed::in_memory(Service::new().procedure(echo(URI)))
        .await
        .unwrap();
    assert_eq!(bed.session().call::<String>(URI, "hi").await.unwrap(), "hi");
    let error = bed
        .session()
        .call::<()>("net.example.nobody", &())
        .await
        .unwrap_err();
    let CallError::Timeout { waited, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(waited, Duration::from_secs(60));
    assert!(
        before.elapsed() < Duration::from_secs(30),
        "{:?}",
        before.elapsed()
    );
    assert!(bed.addresses().is_empty());
    bed.stop().await;
}

#[tokio::test(start_paused = true)]
async fn settings_are_those_of_all_sessions() {
    let codec = Procedure::new("net.example.codec", |context: Context, (): ()| async move {
        Ok::<_, Infallible>(context.session().codec() == Codec::Json)
    });
    let bed = TestBed::builder()
        .service(Service::new().procedure(codec))
        .sessions(|builder| builder.codec(Codec::Json))
        .in_memory()
        .start()
        .await
        .unwrap();
    assert_eq!(bed.session().codec(), Codec::Json);
    assert!(
        bed.session()
            .call::<bool>("net.example.codec", &())
            .await
            .unwrap()
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_never_runs() {
    let (service, runs) = counted();
    let bed = TestBed::in_memory(service).await.unwrap();
    bed.faults().inject(Fault::drop_message().of_call(URI).times(1));
    let error = bed.session().call::<String>(URI, "lost").await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    assert_eq!(runs.load(Ordering::Relaxed), 0);
    assert_eq!(bed.faults().made(), 1);
    assert_eq!(bed.session().call::<String>(URI, "hi").await.unwrap(), "hi");
    assert_eq!(bed.faults().made(), 1);
}

/// A lost reply is as good as none, whatever the way is; the call has run.
async fn loses_a_reply(bed: TestBed, runs: Arc<AtomicUsize>) {
    bed.faults().inject(Fault::drop_message().of_replies().times(1));
    let call = bed
        .session()
        .call::<String>(URI, "lost")
        .timeout(Duration::from_millis(500));
    let error = call.await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert_eq!(bed.session().call::<String>(URI, "hi").await.unwrap(), "hi");
    bed.stop().await;
}

#[tokio::test]
async fn a_reply_is_lost_on_a_real_broker() {
    let (service, runs) = counted();
    loses_a_reply(TestBed::start(service).await.unwrap(), runs).await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_lost_in_memory() {
    let (service, runs) = counted();
    loses_a_reply(TestBed::in_memory(service).await.unwrap(), runs).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_duplicated_runs_twice_and_is_answered_once() {
    let (service, runs) = counted();
    let bed = TestBed::in_memory(service).await.unwrap();
    bed.faults().inject(Fault::duplicate().of_calls().times(1));
    assert_eq!(bed.session().call::<String>(URI, "hi").await.unwrap(), "hi");
    // The next call is behind the second of the first.
    assert_eq!(bed.session().call::<String>(URI, "hi").await.unwrap(), "hi");
    assert_eq!(runs.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn a_delay_passes_by_the_paused_clock() {
    let bed = TestBed::in_memory(Service::new().procedure(echo(URI)))
        .await
        .unwrap();
    bed.faults().inject(Fault::delay(Duration::from_secs(5)));
    let started = Instant::now();
    let call = tokio::spawn(bed.session().call::<String>(URI, "hi").into_future());
    bed.faults().wait_for(1).await;
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(call.await.unwrap().unwrap(), "hi");
    // There and back.
    assert_eq!(started.elapsed(), Duration::from_secs(10));
    bed.faults().clear();
    let started = Instant::now();
    bed.session().call::<String>(URI, "hi").await.unwrap();
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_can_be_left_in_doubt_or_refused() {
    let bed = TestBed::builder().in_memory().start().await.unwrap();
    let session = bed.session();
    let mut events = session
        .consume_topic::<u32>("net.example.topic", "worker")
        .await
        .unwrap();
    bed.faults()
        .inject(Fault::refuse().of_topic("net.example.topic").times(1));
    bed.faults()
        .inject(Fault::unconfirmed().of_topic("net.example.topic").times(1));
    session.produce("net.example.other", &0).await.unwrap();

    let error = session.produce("net.example.topic", &1).await.unwrap_err();
    assert!(
        matches!(error, ProduceError::Publish(PublishError::NotSent { .. })),
        "{error:?}"
    );
    let error = session.produce("net.example.topic", &2).await.unwrap_err();
    assert!(
        matches!(error, ProduceError::Publish(PublishError::Unconfirmed { .. })),
        "{error:?}"
    );
    session.produce("net.example.topic", &3).await.unwrap();
    for expected in [2, 3] {
        let event = events.recv().await.unwrap().unwrap();
        assert_eq!(*event, expected);
        event.ack().unwrap();
    }
}

#[tokio::test]
async fn a_node_that_is_killed_leaves_the_work_to_the_others_and_comes_back() {
    let service = Service::new().procedure(echo(URI));
    let mut bed = TestBed::builder()
        .service(service)
        .nodes(2)
        .start()
        .await
        .unwrap();
    assert_eq!(bed.addresses().len(), 2);
    for dead in [0, 1] {
        bed.kill_node(dead).await.unwrap();
        answers(&bed).await;
        bed.restart_node(dead).await.unwrap();
        answers(&bed).await;
    }
    let error = bed.kill_node(2).await.unwrap_err();
    assert!(
        matches!(error, TestBedError::NoNode { number: 2, nodes: 2 }),
        "{error:?}"
    );
    bed.stop().await;
}

/// A call that is made while the nodes change can be lost with one of them; a later one is not.
async fn answers(bed: &TestBed) {
    loop {
        let call = bed
            .session()
            .call::<String>(URI, "hi")
            .timeout(Duration::from_secs(1));
        if call.await.is_ok() {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_memory_there_is_no_node_to_kill() {
    let mut bed = TestBed::builder().in_memory().start().await.unwrap();
    let error = bed.kill_node(0).await.unwrap_err();
    assert_eq!(error.to_string(), "the test has no node 0: it was started with 0");
}

#[tokio::test(start_paused = true)]
async fn in_memory_events_come_again_as_they_do_with_nsqd() {
    let bed = TestBed::builder().in_memory().start().await.unwrap();
    let session = bed.session();
    // What is published before there is a channel waits for the first; each channel gets a copy of what comes later.
    session.produce("net.example.topic", &1).await.unwrap();
    let mut first = session
        .consume_topic::<u32>("net.example.topic", "first")
        .await
        .unwrap();
    let mut second = session
        .consume_topic::<u32>("net.example.topic", "second")
        .await
        .unwrap();
    session.produce("net.example.topic", &2).await.unwrap();

    let event = first.recv().await.unwrap().unwrap();
    assert_eq!((*event, event.attempts()), (1, 1));
    let started = Instant::now();
    event.nack(Duration::from_secs(30)).unwrap();
    let event = first.recv().await.unwrap().unwrap();
    assert_eq!((*event, event.attempts()), (2, 1));
    event.ack().unwrap();
    let event = first.recv().await.unwrap().unwrap();
    assert_eq!((*event, event.attempts()), (1, 2));
    assert_eq!(started.elapsed(), Duration::from_secs(30));

    // Held for longer than the message timeout, it goes to somebody else, and cannot be answered any more.
    let again = first.recv().await.unwrap().unwrap();
    assert_eq!((*again, again.attempts()), (1, 3));
    assert_eq!(started.elapsed(), Duration::from_secs(90));
    event.ack().unwrap_err();
    drop(again);
    let last = first.recv().await.unwrap().unwrap();
    assert_eq!((*last, last.attempts()), (1, 4));
    assert_eq!(started.elapsed(), Duration::from_secs(90));
    last.ack().unwrap();
    timeout(Duration::from_secs(600), first.recv()).await.unwrap_err();

    let event = second.recv().await.unwrap().unwrap();
    assert_eq!((*event, event.attempts()), (2, 1));
    event.ack().unwrap();
    timeout(Duration::from_secs(600), second.recv())
        .await
        .unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn in_memory_closing_waits_for_what_was_handed_out() {
    let broker = MemoryBroker::new();
    let session = almanet::Session::builder()
        .transport(broker.transport())
        .connect()
        .await
        .unwrap();
    let mut events = session
        .consume_topic::<u32>("net.example.topic", "worker")
        .await
        .unwrap();
    session.produce("net.example.topic", &1).await.unwrap();
    let event = events.recv().await.unwrap().unwrap();
    let closing = tokio::spawn(events.close());
    sleep(Duration::from_secs(3)).await;
    assert!(!closing.is_finished());
    event.ack().unwrap();
    closing.await.unwrap();

    session.leave().await.unwrap();
    let error = session.produce("net.example.topic", &1).await.unwrap_err();
    assert!(
        matches!(error, ProduceError::Publish(PublishError::Closed)),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn in_memory_an_ephemeral_channel_goes_with_its_last_subscriber() {
    let broker = MemoryBroker::new();
    let transport = broker.transport();
    let subscribe = async |topic: &str, channel: &str| {
        let (topic, channel) = (
            almanet::transport::TopicName::new(topic).unwrap(),
            almanet::transport::ChannelName::new(channel).unwrap(),
        );
        transport
            .subscribe(&topic, &channel, SubscribeOptions::default())
            .await
            .unwrap()
    };
    let session = almanet::Session::builder()
        .transport(broker.transport())
        .connect()
        .await
        .unwrap();
    let lasting = subscribe("net.example.topic", "lasting").await;
    drop(subscribe("net.example.topic", "passing#ephemeral").await);
    session.produce("net.example.topic", &1).await.unwrap();
    let mut passing = subscribe("net.example.topic", "passing#ephemeral").await;
    timeout(Duration::from_secs(1), passing.recv()).await.unwrap_err();
    drop(lasting);
    let mut lasting = subscribe("net.example.topic", "lasting").await;
    lasting.recv().await.unwrap().finish().unwrap();
}

#[tokio::test(start_paused = true)]
async fn in_memory_deadlines_and_touches_follow_the_paused_clock() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let slow = Procedure::new(URI, move |_: Context, seconds: u64| {
        counter.fetch_add(1, Ordering::Relaxed);
        async move {
            sleep(Duration::from_secs(seconds)).await;
            Ok::<_, Infallible>(())
        }
    });
    let bed = TestBed::builder().in_memory().start().await.unwrap();
    let expired = bed.session().call::<()>(URI, &1).timeout(Duration::from_secs(5));
    expired.await.unwrap_err();
    advance(Duration::from_millis(1)).await;

    // Longer than the message timeout of calls (10 s) several times over, and still it runs once.
    let service = Service::new().procedure(slow.concurrency(2));
    let _service = service.start(bed.serving()).await.unwrap();
    bed.session().call::<()>(URI, &50).await.unwrap();
    assert_eq!(
        runs.load(Ordering::Relaxed),
        1,
        "the call that was given up ran, or the slow one ran twice"
    );
}

#[tokio::test(start_paused = true)]
async fn in_memory_what_nsqd_refuses_is_refused() {
    let bed = TestBed::builder().in_memory().start().await.unwrap();
    let error = bed
        .session()
        .produce("net.example.topic", &"x".repeat(2 << 20))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ProduceError::Publish(PublishError::TooLarge { .. })),
        "{error:?}"
    );
}
