//! Consuming all topics that match, as they appear.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use almanet::{
    Broker, BrokerConfig, ConsumeError, EventContext, PushConsumer, Session,
    transport::{InProcessTransport, LookupConfig, NsqTransportConfig, TopicsError},
};
use almanet_tests::{TestBroker, unique};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use super::tally::Tally;
use crate::{
    discovery::{broker, eager},
    lookupd::{Lookupd, Manner},
};

/// What a consumer of a pattern was given: each number, and the topic and the node that it came from.
#[derive(Clone, Default)]
struct Given {
    numbers: Tally,
    from: Arc<Mutex<Vec<(u64, String, String)>>>,
}

impl Given {
    /// A consumer that notes here what it is given, and looks often.
    fn to(&self, pattern: &str) -> PushConsumer {
        let given = self.clone();
        let consumer =
            PushConsumer::matching(pattern, "worker", move |context: EventContext, number: u64| {
                let from = (number, context.topic().to_string(), context.node().to_owned());
                given.from.lock().unwrap().push(from);
                given.numbers.add(number);
                async {}
            });
        consumer.follow_interval(Duration::from_millis(20))
    }

    fn from(&self) -> Vec<(u64, String, String)> {
        self.from.lock().unwrap().clone()
    }
}

/// Publishes a number through this node alone.
async fn publish(node: &str, topic: &str, number: u64) {
    let session = Session::connect(node).await.unwrap();
    session.produce(topic, &number).await.unwrap();
    session.leave().await.unwrap();
}

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
    let given = Given::default();
    let _running = given.to("orders.*").start(&session).await.unwrap();
    let (one, two) = (one.address(), two.address());
    publish(one, "orders.new", 1).await;
    of_one.lock().unwrap().push("orders.new".to_owned());
    given.numbers.distinct(1).await;
    publish(two, "orders.paid", 2).await;
    of_two.lock().unwrap().push("orders.paid".to_owned());
    given.numbers.distinct(2).await;
    // A topic that is known already is read on every node.
    publish(two, "orders.new", 3).await;
    given.numbers.distinct(3).await;
    assert_eq!(
        given.from(),
        [
            (1, "orders.new".to_owned(), one.to_owned()),
            (2, "orders.paid".to_owned(), two.to_owned()),
            (3, "orders.new".to_owned(), two.to_owned()),
        ]
    );
    serving_one.abort();
    serving_two.abort();
}

#[tokio::test]
async fn topics_are_followed_through_the_http_interface_that_nodes_have() {
    let (_one, first, first_http) = with_http().await;
    let (_two, second, second_http) = with_http().await;
    let mut nodes = vec![first, second];
    let mut https = vec![first_http, second_http];
    if let Some((nsqd, http)) = named_nsqd() {
        nodes.push(nsqd);
        https.push(http);
    }
    let nsq = NsqTransportConfig::default().http_addresses(https);
    let builder = Session::builder().addresses(nodes.join(",")).nsq(nsq);
    let session = builder.connect().await.unwrap();
    let (stem, given) = (unique("t"), Given::default());
    let _running = given.to(&format!("{stem}.*")).start(&session).await.unwrap();
    let mut expected = Vec::new();
    for (number, node) in (1..).zip(&nodes) {
        let topic = format!("{stem}.{number}");
        publish(node, &unique("other"), 1000 + number).await;
        publish(node, &topic, number).await;
        given.numbers.distinct(expected.len() + 1).await;
        expected.push((number, topic, node.clone()));
    }
    assert_eq!(given.from(), expected);
}

/// An embedded broker, its address, and that of its HTTP interface.
async fn with_http() -> (Broker, String, String) {
    let config = BrokerConfig::default().http_address(([127, 0, 0, 1], 0).into());
    let broker = Broker::start(config).await.unwrap();
    let (tcp, http) = (broker.tcp_addr().to_string(), broker.http_addr().unwrap());
    (broker, tcp, http.to_string())
}

/// The nsqd that the tests are to use as well, and its HTTP interface.
fn named_nsqd() -> Option<(String, String)> {
    let tcp = std::env::var("ALMANET_TEST_NSQD").ok()?;
    let http = std::env::var("ALMANET_TEST_NSQD_HTTP").unwrap_or_else(|_| {
        let (host, port) = tcp.rsplit_once(':').unwrap();
        format!("{host}:{}", port.parse::<u16>().unwrap() + 1)
    });
    Some((tcp, http))
}

#[tokio::test]
async fn topics_are_followed_through_nsqlookupd() {
    let ((_one, first), (_two, second)) = (broker().await, broker().await);
    let lookupd = Lookupd::listing([first.clone(), second.clone()]).await;
    let session = eager(&lookupd).0.connect().await.unwrap();
    let given = Given::default();
    let _running = given.to("orders.*").start(&session).await.unwrap();
    publish(&first, "payments.new", 1000).await;
    publish(&first, "orders.new", 1).await;
    lookupd.lists_topics(["orders.new", "payments.new"]);
    given.numbers.distinct(1).await;
    publish(&second, "orders.paid", 2).await;
    lookupd.lists_topics(["orders.new", "orders.paid", "payments.new"]);
    given.numbers.distinct(2).await;
    // A topic that is known is read on every node, and stays so when it is listed no more.
    lookupd.lists_topics(["payments.new"]);
    lookupd.is_asked_for("/topics", 2).await;
    publish(&second, "orders.new", 3).await;
    given.numbers.distinct(3).await;
    assert_eq!(
        given.from(),
        [
            (1, "orders.new".to_owned(), first),
            (2, "orders.paid".to_owned(), second.clone()),
            (3, "orders.new".to_owned(), second),
        ]
    );
}

#[tokio::test]
async fn an_nsqlookupd_that_does_not_answer_does_not_keep_topics_from_being_followed() {
    let (_broker, node) = broker().await;
    let (good, bad) = (
        Lookupd::listing([node.clone()]).await,
        Lookupd::listing([node.clone()]).await,
    );
    let lookup = LookupConfig::default()
        .poll_interval(Duration::from_millis(5))
        .request_timeout(Duration::from_millis(500));
    let session = Session::builder()
        .lookupd([good.address.as_str(), &bad.address])
        .nsq(NsqTransportConfig::default().lookup(lookup))
        .connect()
        .await
        .unwrap();
    let given = Given::default();
    let _running = given.to("orders.*").start(&session).await.unwrap();
    let mut count = 0;
    let mut topics = Vec::new();
    for manner in [Manner::HangsUp, Manner::IsSilent] {
        bad.behaves(manner);
        bad.is_asked_for("/topics", 1).await;
        count += 1;
        let topic = format!("orders.{count}");
        publish(&node, &topic, count).await;
        topics.push(topic);
        good.lists_topics(&topics);
        given.numbers.distinct(topics.len()).await;
    }
    // What only the other knows is followed when it is well again.
    publish(&node, "orders.3", 3).await;
    bad.lists_topics(["orders.3"]);
    bad.behaves(Manner::Answers);
    given.numbers.distinct(3).await;
    assert_eq!(given.numbers.total(), 3);
}
