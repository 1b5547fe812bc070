//! Calls of procedures that nobody serves, where the broker can be asked.

use std::{convert::Infallible, time::Duration};

use almanet::{
    CallError, Context, Procedure, Service, Session,
    testing::MemoryBroker,
    transport::{InProcessTransport, NsqTransportConfig},
};
use almanet_tests::{TestBroker, echo, unique};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::Instant,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_call_that_needs_somebody_to_answer_ends_when_nobody_is_there() {
    let memory = MemoryBroker::new();
    let sessions = [
        Session::builder().transport(memory.transport()),
        Session::builder().transport(InProcessTransport::new()),
    ];
    for session in sessions {
        let session = session.connect().await.unwrap();
        let begun = Instant::now();
        let call = session
            .call::<String>("test.nobody", "")
            .responders_within(SECOND);
        let error = call.await.unwrap_err();
        let CallError::NoResponders { waited, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!((*waited, begun.elapsed()), (SECOND, SECOND));
        assert!(
            error.to_string().starts_with("nobody serves test.nobody"),
            "{error}"
        );

        // By default it waits for one that starts.
        let call = tokio::spawn(session.call::<String>("test.late", "hi").into_future());
        tokio::time::sleep(10 * SECOND).await;
        let service = Service::new().procedure(echo("test.late"));
        let _service = service.start(&session).await.unwrap();
        assert_eq!(call.await.unwrap().unwrap(), "hi");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_somebody_serves_takes_the_time_that_it_takes() {
    let broker = MemoryBroker::new();
    let session = Session::builder().transport(broker.transport());
    let session = session.connect().await.unwrap();
    let slow = Procedure::new("test.slow", |_: Context, (): ()| async {
        tokio::time::sleep(30 * SECOND).await;
        Ok::<_, Infallible>(())
    });
    let _service = Service::new().procedure(slow).start(&session).await.unwrap();
    let call = session.call::<()>("test.slow", &()).responders_within(SECOND);
    call.await.unwrap();
}

#[tokio::test]
async fn where_the_broker_cannot_say_a_call_waits_for_its_timeout() {
    let broker = TestBroker::start().await;
    let session = broker.session().await;
    let call = session.call::<()>(unique("test.nobody"), &()).timeout(SECOND / 4);
    let error = call.responders_within(SECOND / 50).await.unwrap_err();
    assert!(matches!(error, CallError::Timeout { .. }), "{error:?}");
}

/// A node's HTTP, which tells of so many clients on the topic that it is asked for.
async fn stats(clients: watch::Receiver<Option<u64>>) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            let topic = request
                .split(['=', ' ', '&'])
                .find(|part| part.starts_with("_rpc_."));
            let channels =
                serde_json::json!([{ "channel_name": "almanet", "client_count": *clients.borrow() }]);
            let topics = serde_json::json!([{ "topic_name": topic.unwrap(), "channels": channels }]);
            let body = serde_json::json!({ "topics": topics }).to_string();
            let status = if clients.borrow().is_some() {
                "200 OK"
            } else {
                "500 No"
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
    });
    (address, serving)
}

#[tokio::test]
async fn nodes_are_asked_over_http_and_all_of_them_have_to_answer() {
    let broker = TestBroker::start().await;
    let (one, two) = (watch::Sender::new(Some(0)), watch::Sender::new(None));
    let (http_one, serving_one) = stats(one.subscribe()).await;
    let (http_two, serving_two) = stats(two.subscribe()).await;
    let nsq = NsqTransportConfig::default().http_addresses([http_one, http_two]);
    let session = broker.session_with(|builder| builder.nsq(nsq)).await;
    let call = async |timeout: Duration| {
        let call = session.call::<()>(unique("test.nobody"), &()).timeout(timeout);
        call.responders_within(Duration::from_millis(20))
            .await
            .unwrap_err()
    };

    let short = Duration::from_millis(300);
    let error = call(short).await;
    assert!(
        matches!(error, CallError::Timeout { .. }),
        "one is silent: {error:?}"
    );
    two.send_replace(Some(1));
    let error = call(short).await;
    assert!(
        matches!(error, CallError::Timeout { .. }),
        "one has a client: {error:?}"
    );
    two.send_replace(Some(0));
    let error = call(20 * SECOND).await;
    assert!(matches!(error, CallError::NoResponders { .. }), "{error:?}");
    serving_one.abort();
    serving_two.abort();
}
