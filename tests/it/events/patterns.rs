//! Consuming all topics that match, as they appear.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use almanet::{
    ConsumeError, EventContext, PushConsumer, Session,
    transport::{InProcessTransport, NsqTransportConfig, TopicsError},
};
use almanet_tests::{TestBroker, unique};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use super::tally::Tally;

#[tokio::test(start_paused = true)]
async fn topics_are_followed_as_they_appear() {
    let session = Session::builder()
        .transport(InProcessTransport::new())
        .connect()
        .await
        .unwrap();
    session.produce("app.log", "before").await.unwrap();
    let mut logs = session
        .consume_matching::<String>("*.log", "archive")
        .await
        .unwrap();
    session.produce("app.txt", "no log").await.unwrap();
    session.produce("web.log", "after").await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let line = logs.recv().await.unwrap().unwrap();
        seen.push(format!("{}: {}", line.topic().unwrap(), *line));
        line.ack().unwrap();
    }
    assert_eq!(seen, ["app.log: before", "web.log: after"]);

    // A dead letter goes to its own topic's.
    session.produce("web.log", "bad").await.unwrap();
    let bad = logs.recv().await.unwrap().unwrap();
    logs.dead_letter(bad, "too bad").await.unwrap();
    let letters = session.dead_letters("web.log").unwrap().list().await.unwrap();
    assert_eq!((letters[0].topic(), letters[0].channel()), ("web.log", "archive"));
}

/// Answers every HTTP request with the topics as nsqd's `/stats` lists them.
async fn stats(topics: Arc<Mutex<Vec<String>>>) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            assert!(request.starts_with(b"GET /stats?format=json"));
            let list: Vec<_> = topics
                .lock()
                .unwrap()
                .iter()
                .map(|name| serde_json::json!({ "topic_name": name, "channels": [] }))
                .collect();
            let body = serde_json::json!({ "version": "1.3.0", "topics": list }).to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
    });
    (address, serving)
}

#[tokio::test]
async fn nodes_are_asked_over_http_and_without_anybody_to_ask_that_is_said() {
    let broker = TestBroker::start().await;
    let plain = broker.session().await;
    let error = plain
        .consume_matching::<u64>("orders.*", "worker")
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConsumeError::Topics(TopicsError::Unknowable)),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("NSQ's TCP protocol cannot list topics"),
        "{error}"
    );

    let stem = unique("t");
    let names = Arc::new(Mutex::new(vec![format!("{stem}.one"), unique("other")]));
    let (http, serving) = stats(Arc::clone(&names)).await;
    let nsq = NsqTransportConfig::default().http_addresses([http]);
    let session = broker.session_with(|builder| builder.nsq(nsq)).await;
    let tally = Tally::default();
    let consumer = PushConsumer::matching(format!("{stem}.*"), "worker", {
        let tally = tally.clone();
        move |context: EventContext, number: u64| {
            assert!(
                context
                    .topic()
                    .as_str()
                    .ends_with(if number == 1 { ".one" } else { ".two" })
            );
            let tally = tally.clone();
            async move { tally.add(number) }
        }
    });
    let _running = consumer
        .follow_interval(Duration::from_millis(20))
        .start(&session)
        .await
        .unwrap();
    session.produce(format!("{stem}.one"), &1).await.unwrap();
    tally.distinct(1).await;
    session.produce(format!("{stem}.two"), &2).await.unwrap();
    names.lock().unwrap().push(format!("{stem}.two"));
    tally.distinct(2).await;
    serving.abort();
}

/// Which topics a node has is told by that node alone.
#[tokio::test]
async fn topics_are_followed_on_whichever_node_they_appear() {
    let (one, two) = (TestBroker::embedded().await, TestBroker::embedded().await);
    let (of_one, of_two) = (
        Arc::<Mutex<Vec<String>>>::default(),
        Arc::<Mutex<Vec<String>>>::default(),
    );
    let (http_one, serving_one) = stats(Arc::clone(&of_one)).await;
    let (http_two, serving_two) = stats(Arc::clone(&of_two)).await;
    let nsq = NsqTransportConfig::default().http_addresses([http_one, http_two]);
    let session = Session::builder()
        .addresses(format!("{},{}", one.address(), two.address()))
        .nsq(nsq)
        .connect()
        .await
        .unwrap();
    let nodes = Arc::<Mutex<Vec<(u64, String)>>>::default();
    let tally = Tally::default();
    let consumer = PushConsumer::matching("orders.*", "worker", {
        let (tally, nodes) = (tally.clone(), Arc::clone(&nodes));
        move |context: EventContext, number: u64| {
            nodes.lock().unwrap().push((number, context.node().to_owned()));
            let tally = tally.clone();
            async move { tally.add(number) }
        }
    });
    let _running = consumer
        .follow_interval(Duration::from_millis(20))
        .start(&session)
        .await
        .unwrap();
    let (at_one, at_two) = (one.session().await, two.session().await);
    at_one.produce("orders.new", &1).await.unwrap();
    of_one.lock().unwrap().push("orders.new".to_owned());
    tally.distinct(1).await;
    at_two.produce("orders.paid", &2).await.unwrap();
    of_two.lock().unwrap().push("orders.paid".to_owned());
    tally.distinct(2).await;
    // A topic that is known already is read on every node.
    at_two.produce("orders.new", &3).await.unwrap();
    tally.distinct(3).await;
    let (one, two) = (one.address().to_owned(), two.address().to_owned());
    assert_eq!(*nodes.lock().unwrap(), [(1, one), (2, two.clone()), (3, two)]);
    serving_one.abort();
    serving_two.abort();
}
