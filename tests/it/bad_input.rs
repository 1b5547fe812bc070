//! What does not fit is refused in clear words, quickly, and disturbs nobody else.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use almanet::{
    CallError, Codec, ConnectError, ConsumeError, Context, Id, InvalidUri, Procedure, ProduceError, Service,
    Session, transport::PublishError,
};
use almanet_nsq_proto::{ErrorCode, ProtocolError};
use almanet_tests::{TestBroker, echo, unique};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::spy::Spy;

#[tokio::test]
async fn an_address_where_nothing_listens_is_named_with_the_cause() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = unused.local_addr().unwrap().to_string();
    drop(unused);

    let error = Session::connect(&address).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot connect to {address}: connection refused; is nsqd or almanet-broker running there?")
    );
    let error = Session::connect(format!("{address},{address}1"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&format!("cannot connect to {address}1")),
        "{error}"
    );

    assert!(matches!(
        Session::connect(" , ").await,
        Err(ConnectError::NoAddress)
    ));
}

#[tokio::test]
async fn a_peer_that_does_not_speak_nsq_is_told_from_one_that_is_not_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let (mut peer, _) = listener.accept().await.unwrap();
        peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        // Until the client has closed.
        let _ = peer.read_to_end(&mut Vec::new()).await;
    });

    let error = Session::connect(&address).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{address} does not speak NSQ")),
        "{error}"
    );
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_given_up_within_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();

    let started = tokio::time::Instant::now();
    let error = Session::connect(&address).await.unwrap_err().to_string();
    assert!(
        error.contains(&address) && error.contains("no answer within 5s"),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn names_that_are_not_valid_are_refused_before_anything_is_sent() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;

    let error = session.call::<()>("net..greet", &()).await.unwrap_err();
    assert!(
        matches!(error, CallError::InvalidUri(InvalidUri::Segment { .. })),
        "{error:?}"
    );
    let error = session.call::<()>("a".repeat(59), &()).await.unwrap_err();
    assert!(
        error.to_string().contains("has 59 characters: at most 58"),
        "{error}"
    );

    let error = session.produce("a".repeat(65), &1).await.unwrap_err();
    assert!(matches!(error, ProduceError::InvalidTopic(_)), "{error:?}");
    assert!(error.to_string().contains("has 65 characters"), "{error}");
    let error = session.consume_topic::<u8>("fine", "not fine").await.unwrap_err();
    assert!(matches!(error, ConsumeError::InvalidName(_)), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("channel name \"not fine\" has the character ' '"),
        "{error}"
    );
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_the_connection_lives_on() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let topic = unique("test.large");

    let error = session
        .produce(&topic, &"x".repeat(2_000_000))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(&topic) && error.contains("1048576"), "{error}");
    let error = session
        .call::<()>(unique("test.nobody"), &"x".repeat(2_000_000))
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::TooLarge { .. }), "{error:?}");
    session.produce(&topic, "small").await.unwrap();
}

#[tokio::test]
async fn garbage_on_a_procedures_topic_is_dropped_and_the_next_call_is_served() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.echo");
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&session)
        .await
        .unwrap();

    let topic = format!("_rpc_.{uri}");
    session.produce(&topic, "a text is no invocation").await.unwrap();
    session
        .produce(&topic, &serde_json::json!({ "id": "short", "payload": 1 }))
        .await
        .unwrap();
    session.produce(&topic, &vec![0_u8; 100]).await.unwrap();
    session.produce(&topic, &7).await.unwrap();
    let json = broker.session_with(|builder| builder.codec(Codec::Json)).await;
    json.produce(&topic, &serde_json::json!({ "id": "short", "payload": 1 }))
        .await
        .unwrap();

    assert_eq!(
        session.call::<String>(&uri, "still here").await.unwrap(),
        "still here"
    );
}

#[tokio::test]
async fn a_call_whose_reply_topic_is_no_name_is_not_run_and_the_next_call_is_served() {
    let broker = TestBroker::start().await;
    let session = broker.session_with(|builder| builder.codec(Codec::Json)).await;
    let uri = unique("test.count");
    let runs = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&runs);
    let count = Procedure::new(&uri, move |_: Context, (): ()| {
        let run = counter.fetch_add(1, Ordering::SeqCst) + 1;
        async move { Ok::<_, Infallible>(run) }
    });
    // One at a time, in the order in which they were published to one broker.
    let service = Service::new().procedure(count.concurrency(1));
    let service = service.start(&session).await.unwrap();

    for reply_topic in ["no name", "a/b", &"a".repeat(65)] {
        let invocation = serde_json::json!({
            "id": Id::random(), "caller_id": session.id(), "payload": "null", "reply_topic": reply_topic,
        });
        session
            .produce(format!("_rpc_.{uri}"), &invocation)
            .await
            .unwrap();
    }
    assert_eq!(session.call::<u32>(&uri, &()).await.unwrap(), 1);
    service.stop().await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_caller_whose_reply_topic_is_refused_keeps_nobody_from_being_served() {
    let broker = TestBroker::start().await;
    let uri = unique("test.echo");
    let (refused, served) = (broker.session().await, broker.session().await);
    let refused_topic = format!("_rpc_._reply_.{}#ephemeral", refused.id());
    let tried = watch::Sender::new(0);
    let mut tries = tried.subscribe();
    let spy = Spy::connect(&broker).await.on_publish(move |publication| {
        if publication.topic.as_str() != refused_topic {
            return Ok(());
        }
        tried.send_modify(|tried| *tried += 1);
        Err(PublishError::Refused {
            address: "somewhere:4150".into(),
            topic: publication.topic.clone(),
            cause: ProtocolError::new(ErrorCode::BadTopic, "PUB topic name is not valid"),
        })
    });
    let service = Service::new().procedure(echo(&uri).concurrency(1));
    let _service = service.start(&spy.session().await).await.unwrap();

    let call = refused
        .call::<String>(&uri, "first")
        .timeout(Duration::from_secs(20));
    let call = tokio::spawn(call.into_future());
    // The answer, and the word that it could not be sent.
    tries.wait_for(|tries| *tries == 2).await.unwrap();
    assert_eq!(served.call::<String>(&uri, "next").await.unwrap(), "next");
    assert_eq!(*tries.borrow(), 2, "the call is not run again");
    call.abort();
}

#[tokio::test]
async fn garbage_and_strangers_on_the_reply_topic_disturb_no_call() {
    let broker = TestBroker::start().await;
    let (serving, calling) = (broker.session().await, broker.session().await);
    let uri = unique("test.echo");
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&serving)
        .await
        .unwrap();
    assert_eq!(calling.call::<String>(&uri, "first").await.unwrap(), "first");

    let replies = format!("_rpc_._reply_.{}#ephemeral", calling.id());
    serving.produce(&replies, "no reply").await.unwrap();
    serving
        .produce(&replies, &(1, calling.id(), "a reply is longer"))
        .await
        .unwrap();
    // A whole reply, to a call that nobody has made; an id stands for the bytes of its payload.
    let stranger = (1, Id::random(), (), Id::random());
    serving.produce(&replies, &stranger).await.unwrap();

    assert_eq!(calling.call::<String>(&uri, "second").await.unwrap(), "second");
}

#[tokio::test]
async fn a_client_that_sends_nonsense_to_the_broker_disturbs_no_other() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let uri = unique("test.echo");
    let _service = Service::new()
        .procedure(echo(&uri))
        .start(&session)
        .await
        .unwrap();

    let mut vandal = TcpStream::connect(broker.address()).await.unwrap();
    vandal.write_all(b"  V2BREW coffee\n").await.unwrap();
    let mut answer = Vec::new();
    vandal.read_to_end(&mut answer).await.unwrap();
    assert_eq!(
        answer,
        b"\0\0\0\x22\0\0\0\x01E_INVALID invalid command BREW",
        "{}",
        answer.escape_ascii()
    );

    assert_eq!(
        session.call::<String>(&uri, "still here").await.unwrap(),
        "still here"
    );
}
