//! A broker that does not permit dead letters, for as long as its auth server says so: the embedded one, and the nsqd that
//! `ALMANET_TEST_NSQD_PROGRAM` names.

use std::{collections::BTreeSet, time::Duration};

use almanet::{
    Broker, BrokerConfig, ConsumerStats, EventContext, EventRetry, Failure, PushConsumer, Session,
    transport::{ConnectionConfig, NsqTransportConfig},
};
use almanet_broker::Auth;
use almanet_tests::{auth::AuthServer, unique};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    books::Books,
    tally::{PATIENCE, Tally},
};
use crate::nsq::program::Program;

/// What a secret allows on topics that match.
fn permitted(topic: &str, permissions: &[&str]) -> Value {
    json!({"topic": topic, "channels": [".*"], "permissions": permissions})
}

/// What an auth server says.
fn answer(authorizations: &[Value]) -> String {
    // Nobody asks again because of the time: only those do who connect again.
    json!({"ttl": 3600, "identity": "test", "authorizations": authorizations}).to_string()
}

/// A session that shows a secret, and reconnects fast, so that tests do not wait.
async fn session(address: &str) -> Session {
    let connection = ConnectionConfig::default()
        .auth_secret("secret")
        .reconnect_delay(Duration::from_millis(1)..=Duration::from_millis(20));
    Session::builder()
        .address(address)
        .nsq(NsqTransportConfig::default().connection(connection))
        .connect()
        .await
        .unwrap()
}

/// What the only consumer that runs tells of itself, once it `is_so`.
async fn stats(session: &Session, is_so: impl Fn(&ConsumerStats) -> bool) -> ConsumerStats {
    let told = async {
        loop {
            // An answer can be late, as the connection of who gives it may just be lost.
            let found = session
                .introspect()
                .quiet(Duration::from_millis(20))
                .stats()
                .await;
            let consumers = found.unwrap().into_iter().flat_map(|instance| instance.consumers);
            if let Some(told) = consumers.into_iter().find(|told| is_so(told)) {
                return told;
            }
        }
    };
    timeout(PATIENCE, told).await.expect("it is so in time")
}

/// Has the broker at `address`, which asks `auth`, refuse the dead letters of `topic`, all that concerns them or only to
/// publish them, and then no more.
async fn stays_until_its_dead_letter_is_permitted(
    address: &str,
    auth: &AuthServer,
    on_dead_letters: &[&str],
) {
    let topic = unique("test.forbidden");
    let all = ["subscribe", "publish"];
    auth.say(&answer(&[
        permitted(&format!("^{topic}$"), &all),
        permitted("^_rpc_", &all),
        permitted(r"\.dlq$", on_dead_letters),
    ]));
    let (publishing, consuming) = (session(address).await, session(address).await);
    let (runs, handled) = (Tally::default(), Tally::default());
    let consumer = PushConsumer::new(&topic, "worker", {
        let (runs, handled) = (runs.clone(), handled.clone());
        move |_: EventContext, number: u64| {
            let (runs, handled) = (runs.clone(), handled.clone());
            async move {
                runs.add(number);
                match number {
                    7 => return Err(Failure::permanent("seven")),
                    8 => return Err(Failure::retry("eight")),
                    _ => handled.add(number),
                }
                Ok(())
            }
        }
    });
    let running = consumer
        .max_attempts(2)
        .retry(EventRetry::fixed(Duration::from_millis(5)))
        .start(&consuming)
        .await
        .unwrap();
    let mut books = Books::of(&topic);
    books.publish(&publishing, 0..10).await;
    runs.distinct(10).await;
    let refused = stats(&publishing, |told| told.not_put_aside >= 4).await;
    assert_eq!(
        (refused.ok, refused.retried, refused.dead_letter),
        (8, 1, 0),
        "{refused:?}"
    );

    auth.say(&answer(&[permitted(".*", &all)]));
    let told = stats(&publishing, |told| told.in_flight == 0 && told.dead_letter == 2).await;
    assert_eq!((told.ok, told.retried, told.dropped), (8, 1, 0), "{told:?}");
    assert_eq!(told.received, 8 + 1 + told.not_put_aside + 2, "{told:?}");
    assert_eq!(runs.now()[&8], 2, "it was handled more often than it may be");
    let letters = publishing.dead_letters(&topic).unwrap().list().await.unwrap();
    let dead: BTreeSet<u64> = letters.iter().map(|letter| letter.decode().unwrap()).collect();
    assert_eq!(dead, BTreeSet::from([7, 8]));
    let balance = books.balance(&publishing, &handled).await;
    assert_eq!((balance.handled, balance.again, balance.dead_lettered), (8, 0, 2));
    running.stop().await;
}

#[tokio::test]
async fn an_event_stays_until_the_embedded_broker_permits_its_dead_letter() {
    let auth = AuthServer::start(&answer(&[permitted(".*", &["subscribe", "publish"])])).await;
    let config = BrokerConfig::default().auth(Auth::http([auth.address()]).unwrap());
    let broker = Broker::start(config).await.unwrap();
    let address = broker.tcp_addr().to_string();
    stays_until_its_dead_letter_is_permitted(&address, &auth, &["subscribe"]).await;
    stays_until_its_dead_letter_is_permitted(&address, &auth, &[]).await;
}

#[tokio::test]
async fn an_event_stays_until_nsqd_permits_its_dead_letter() {
    let auth = AuthServer::start(&answer(&[permitted(".*", &["subscribe", "publish"])])).await;
    let Some(nsqd) = Program::nsqd(&[format!("--auth-http-address={}", auth.address())]) else {
        return;
    };
    let address = nsqd.address.to_string();
    stays_until_its_dead_letter_is_permitted(&address, &auth, &["subscribe"]).await;
    stays_until_its_dead_letter_is_permitted(&address, &auth, &[]).await;
}
