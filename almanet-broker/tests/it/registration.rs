//! Registration at nsqlookupd, which is a script here.

use almanet_broker::{Broker, BrokerConfig};
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpListener, time::Instant};

use crate::{
    lookupd::{Lookupd, set},
    support::{Target, unique},
};

#[tokio::test]
async fn it_says_who_it_is_and_what_it_has() {
    let lookupd = Lookupd::start().await;
    let config = lookupd
        .config()
        .broadcast_address("broker.example")
        .broadcast_tcp_port(14150)
        .broadcast_http_port(14151);
    let target = Target::embedded(config).await;
    let identity = lookupd.accept().await.identify().await;
    assert_eq!(identity["broadcast_address"], "broker.example");
    assert_eq!(identity["tcp_port"], 14150);
    assert_eq!(identity["http_port"], 14151);
    assert!(identity["version"].as_str().unwrap().starts_with("1.3.0"));
    assert!(!identity["hostname"].as_str().unwrap().is_empty());
    target.stop().await;
}

#[tokio::test]
async fn by_default_it_is_this_machine_and_the_port_that_it_listens_on() {
    let lookupd = Lookupd::start().await;
    let target = Target::embedded(lookupd.config()).await;
    let identity = lookupd.accept().await.identify().await;
    assert_eq!(identity["broadcast_address"], identity["hostname"]);
    assert_eq!(identity["tcp_port"], target.addr.port());
    // nsqlookupd refuses a node without one.
    assert_ne!(identity["http_port"], 0);
    target.stop().await;
}

#[tokio::test]
async fn topics_and_channels_are_registered_as_they_come_and_go() {
    let lookupd = Lookupd::start().await;
    let target = Target::embedded(lookupd.config()).await;
    let mut registrant = lookupd.accept_identified().await;

    let mut publisher = target.client().await;
    publisher.publish("orders", b"1").await;
    assert_eq!(registrant.command().await, "REGISTER orders");
    publisher.publish("orders", b"2").await;
    let kitchen = target.subscriber("orders", "kitchen", 0).await;
    assert_eq!(registrant.command().await, "REGISTER orders kitchen");
    let tail = target.subscriber("orders", "tail#ephemeral", 0).await;
    assert_eq!(registrant.command().await, "REGISTER orders tail#ephemeral");
    drop(tail);
    assert_eq!(registrant.command().await, "UNREGISTER orders tail#ephemeral");
    let reply = target.subscriber("reply#ephemeral", "c#ephemeral", 0).await;
    assert_eq!(registrant.command().await, "REGISTER reply#ephemeral");
    assert_eq!(registrant.command().await, "REGISTER reply#ephemeral c#ephemeral");
    drop(reply);
    assert_eq!(
        registrant.command().await,
        "UNREGISTER reply#ephemeral c#ephemeral"
    );
    assert_eq!(registrant.command().await, "UNREGISTER reply#ephemeral");
    // A channel that is not ephemeral stays without its readers; the next command is about something else.
    drop(kitchen);
    publisher.publish("last", b"3").await;
    assert_eq!(registrant.command().await, "REGISTER last");

    // nsqd's way to leave: the connection ends, and nsqlookupd forgets all that came over it.
    target.stop().await;
    assert_eq!(registrant.line().await, None);
}

#[tokio::test]
async fn after_a_lost_connection_everything_is_registered_anew() {
    let lookupd = Lookupd::start().await;
    let target = Target::embedded(lookupd.config()).await;
    let mut registrant = lookupd.accept_identified().await;
    let _subscriber = target.subscriber("a", "x", 0).await;
    registrant.commands(2).await;
    drop(registrant);
    // What comes while nobody is there is not forgotten.
    let mut publisher = target.client().await;
    publisher.publish("b", b"1").await;

    let mut registrant = lookupd.accept_identified().await;
    let commands = registrant.commands(3).await;
    assert_eq!(commands, set(["REGISTER a", "REGISTER a x", "REGISTER b"]));
    target.stop().await;
}

#[tokio::test]
async fn more_changes_than_are_remembered_are_registered_all_the_same() {
    let lookupd = Lookupd::start().await;
    let target = Target::embedded(lookupd.config()).await;
    let mut registrant = lookupd.accept_identified().await;
    let mut publisher = target.client().await;
    // The first one is not answered until all the others are there.
    for number in 0..1000 {
        publisher.publish(&format!("topic{number}"), b"x").await;
    }
    let commands = registrant.commands(1000).await;
    let expected = (0..1000).map(|number| format!("REGISTER topic{number}"));
    assert_eq!(commands, expected.collect());
    target.stop().await;
}

#[tokio::test]
async fn one_that_is_down_or_silent_or_talks_nonsense_disturbs_nobody() {
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let silent = Lookupd::start().await;
    let good = Lookupd::start().await;
    let lies = [
        &b"\x7f\xff\xff\xff"[..],
        b"\xff\xff\xff\xff",
        b"\0\0\0\x09E_INVALID",
        b"\0\0\0\x02{}x",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"",
    ];
    let mut lying = Vec::new();
    for lie in lies {
        lying.push((Lookupd::start().await, lie));
    }
    let mut config = BrokerConfig::default().lookupd_tcp_address("no.such.host.invalid:4160");
    let liars = lying.iter().map(|(lookupd, _)| lookupd.address);
    for address in liars.chain([nobody, silent.address, good.address]) {
        config = config.lookupd_tcp_address(address.to_string());
    }
    let target = Target::embedded(config).await;
    let mut publisher = target.client().await;
    publisher.publish("t", b"1").await;
    let mut registrant = good.accept_identified().await;
    assert_eq!(registrant.command().await, "REGISTER t");
    let _silent = silent.accept().await;

    // The broker comes back to those that lie, whatever they say.
    for (lookupd, lie) in &lying {
        let mut registrant = lookupd.accept().await;
        registrant.stream.write_all(lie).await.unwrap();
    }
    for (lookupd, _) in &lying {
        lookupd.accept_identified().await.command().await;
    }
    publisher.publish("u", b"1").await;
    assert_eq!(registrant.command().await, "REGISTER u");
    target.stop().await;
}

#[tokio::test]
async fn a_refused_registration_ends_the_connection_and_all_is_tried_again() {
    let lookupd = Lookupd::start().await;
    let target = Target::embedded(lookupd.config()).await;
    let mut publisher = target.client().await;
    publisher.publish("t", b"1").await;
    let mut registrant = lookupd.accept_identified().await;
    assert_eq!(registrant.line().await.unwrap(), "REGISTER t");
    registrant.answer(b"E_INVALID").await;
    let mut registrant = lookupd.accept_identified().await;
    assert_eq!(registrant.command().await, "REGISTER t");
    target.stop().await;
}

#[tokio::test]
async fn the_list_can_change_while_it_runs() {
    let (first, second) = (Lookupd::start().await, Lookupd::start().await);
    let broker = Broker::start(first.config()).await.unwrap();
    let mut old = first.accept_identified().await;
    assert_eq!(broker.lookupd_tcp_addresses(), [first.address.to_string()]);

    broker.set_lookupd_tcp_addresses([first.address.to_string(), second.address.to_string()]);
    let mut new = second.accept_identified().await;
    broker.set_lookupd_tcp_addresses([second.address.to_string()]);
    // The first one loses its connection, the second one keeps it.
    assert_eq!(old.line().await, None);
    let target = Target::of(broker);
    let topic = unique("set");
    target.client().await.publish(&topic, b"x").await;
    assert_eq!(new.command().await, format!("REGISTER {topic}"));
    target.stop().await;
}

#[tokio::test]
async fn it_says_every_15_seconds_that_it_is_alive() {
    let lookupd = Lookupd::start().await;
    let target = Target::embedded(lookupd.config()).await;
    let mut registrant = lookupd.accept_identified().await;
    let mut publisher = target.client().await;
    publisher.publish("t", b"1").await;
    assert_eq!(registrant.command().await, "REGISTER t");
    // The answer is in the broker's socket already; each turn of the runtime asks for what is in sockets. Without it, the
    // clock would jump to the time when the broker stops waiting for the answer.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let registered = Instant::now();
    tokio::time::pause();
    assert_eq!(registrant.command().await, "PING");
    let after = registered.elapsed();
    assert!(
        (14..=15).contains(&after.as_secs()),
        "the first PING came after {after:?}"
    );
}

#[tokio::test]
async fn the_list_can_be_set_over_http_and_the_http_port_is_registered() {
    let lookupd = Lookupd::start().await;
    let target = Target::embedded(BrokerConfig::default()).await;
    let list = json!([lookupd.address.to_string()]).to_string();
    let answer = target
        .request("PUT", "/config/nsqlookupd_tcp_addresses", list.as_bytes())
        .await;
    assert_eq!((answer.status, &answer.body), (200, &list));
    let identity = lookupd.accept().await.identify().await;
    assert_eq!(identity["http_port"], target.http_addr.port());
    target.stop().await;
}

#[tokio::test]
async fn what_is_deleted_is_unregistered() {
    let lookupd = Lookupd::start().await;
    let target = Target::embedded(lookupd.config()).await;
    let mut registrant = lookupd.accept_identified().await;
    target.post("/topic/create?topic=t", b"", "").await;
    target.post("/channel/create?topic=t&channel=a", b"", "").await;
    target.post("/channel/create?topic=t&channel=b", b"", "").await;
    let created = ["REGISTER t", "REGISTER t a", "REGISTER t b"];
    assert_eq!(registrant.commands(3).await, set(created));
    target.post("/channel/delete?topic=t&channel=a", b"", "").await;
    assert_eq!(registrant.command().await, "UNREGISTER t a");
    target.post("/topic/delete?topic=t", b"", "").await;
    assert_eq!(registrant.command().await, "UNREGISTER t b");
    assert_eq!(registrant.command().await, "UNREGISTER t");
    target.stop().await;
}
