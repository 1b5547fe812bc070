//! AUTH, by a secret and by an auth server.

use almanet_broker::{Auth, BrokerConfig};

use tokio::time::timeout;

use crate::{
    auth_server::AuthServer,
    support::{Client, PATIENCE, Target, identify, publish, publish_deferred, publish_many, sized},
};

pub(crate) const EVERYTHING: &str = r#"{"ttl":3600,"identity":"me","identity_url":"http://me","authorizations":[
    {"topic":".*","channels":[".*"],"permissions":["subscribe","publish"]}]}"#;

pub(crate) fn auth(secret: &str) -> Vec<u8> {
    [b"AUTH\n", &sized(secret.as_bytes())[..]].concat()
}

async fn asking(server: &AuthServer) -> Target {
    let auth = Auth::http([&server.address]).unwrap();
    Target::embedded(BrokerConfig::default().auth(auth)).await
}

async fn admitted(target: &Target) -> Client {
    let mut client = target.client().await;
    client.send(&auth("s")).await;
    let (kind, data) = client.frame().await;
    assert_eq!(kind, 0, "{}", data.escape_ascii());
    client
}

#[tokio::test]
async fn a_client_without_a_secret_is_refused() {
    let secret = Auth::secret("open sesame").unwrap();
    let target = Target::embedded(BrokerConfig::default().auth(secret)).await;
    for (command, name) in [
        (publish("t", b"x"), "PUB"),
        // Refused before its body is read.
        (b"MPUB t\n".to_vec(), "MPUB"),
        (publish_deferred("t", 1, b"x"), "DPUB"),
        (b"SUB t c\n".to_vec(), "SUB"),
    ] {
        let mut client = target.client().await;
        client.send(&identify(r#"{"feature_negotiation":true}"#)).await;
        let (_, data) = client.frame().await;
        let answer: serde_json::Value = serde_json::from_slice(&data).unwrap();
        assert_eq!(answer["auth_required"], true);
        client.send(&command).await;
        client
            .expect_fatal(&format!("E_AUTH_FIRST AUTH required before {name}"))
            .await;
    }
}

#[tokio::test]
async fn the_secret_opens_everything() {
    let secret = Auth::secret("open sesame").unwrap();
    let target = Target::embedded(BrokerConfig::default().auth(secret)).await;
    let mut client = target.client().await;
    client.send(&auth("open sesame")).await;
    client
        .expect_response(r#"{"identity":"","identity_url":"","permission_count":1}"#)
        .await;
    client.publish("t", b"x").await;
    client.send(b"SUB t c\nRDY 1\n").await;
    client.expect_response("OK").await;
    assert_eq!(client.message().await.body, b"x");

    for wrong in ["open sesam", "Open sesame", "open sesame "] {
        let mut client = target.client().await;
        client.send(&auth(wrong)).await;
        client
            .expect_fatal("E_UNAUTHORIZED AUTH no authorizations found")
            .await;
    }
}

#[tokio::test]
async fn an_auth_server_is_asked_as_nsqd_asks_it() {
    let mut server = AuthServer::start(200, EVERYTHING).await;
    let target = asking(&server).await;
    let mut client = target.client().await;
    client.send(&auth("a b&c=d/\u{e9}\x01")).await;
    client
        .expect_response(r#"{"identity":"me","identity_url":"http://me","permission_count":1}"#)
        .await;
    assert_eq!(
        server.question().await,
        "GET /auth?common_name=&remote_ip=127.0.0.1&secret=a+b%26c%3Dd%2F%C3%A9%01&tls=false HTTP/1.1"
    );
    client.publish("t", b"x").await;
    client.send(b"SUB t c\n").await;
    client.expect_response("OK").await;
    assert!(server.is_quiet());
}

#[tokio::test]
async fn a_client_may_do_what_the_server_says_and_nothing_else() {
    let server = AuthServer::start(
        200,
        r#"{"ttl":3600,"authorizations":[
            {"topic":"^in$","channels":["^mine"],"permissions":["subscribe"]},
            {"topic":"^out$","channels":[".*"],"permissions":["publish"]}]}"#,
    )
    .await;
    let target = asking(&server).await;
    let mut client = admitted(&target).await;
    client.publish("out", b"x").await;
    client.send(b"SUB in mine\n").await;
    client.expect_response("OK").await;
    for (command, words) in [
        (publish("in", b"x"), r#"PUB on "in" """#),
        // Refused before its body is read.
        (b"MPUB in\n".to_vec(), r#"MPUB on "in" """#),
        (publish_deferred("in", 1, b"x"), r#"DPUB on "in" """#),
        (b"SUB in yours\n".to_vec(), r#"SUB on "in" "yours""#),
        (b"SUB out mine\n".to_vec(), r#"SUB on "out" "mine""#),
    ] {
        let mut client = admitted(&target).await;
        client.send(&command).await;
        client
            .expect_fatal(&format!("E_UNAUTHORIZED AUTH failed for {words}"))
            .await;
    }
}

#[tokio::test]
async fn what_cannot_be_learnt_is_not_allowed_and_the_client_is_not_told_why() {
    for (status, body) in [
        (403, ""),
        (500, EVERYTHING),
        (200, ""),
        (200, "[]"),
        (200, r#"{"ttl":0}"#),
        (200, r#"{"ttl":1,"authorizations":[{"topic":"("}]}"#),
    ] {
        let server = AuthServer::start(status, body).await;
        let target = asking(&server).await;
        let mut client = target.client().await;
        client.send(&auth("s")).await;
        client.expect_fatal("E_AUTH_FAILED AUTH failed").await;
    }
    // Nobody listens there any more.
    let gone = AuthServer::start(200, EVERYTHING).await.address;
    let target = Target::embedded(BrokerConfig::default().auth(Auth::http([gone]).unwrap())).await;
    let mut client = target.client().await;
    client.send(&auth("s")).await;
    client.expect_fatal("E_AUTH_FAILED AUTH failed").await;
}

#[tokio::test]
async fn a_secret_that_allows_nothing_is_refused() {
    let server = AuthServer::start(200, r#"{"ttl":1,"authorizations":[]}"#).await;
    let target = asking(&server).await;
    let mut client = target.client().await;
    client.send(&auth("s")).await;
    client
        .expect_fatal("E_UNAUTHORIZED AUTH no authorizations found")
        .await;
}

#[tokio::test]
async fn another_server_is_asked_when_one_fails() {
    let bad = AuthServer::start(500, "").await;
    let good = AuthServer::start(200, EVERYTHING).await;
    let servers = Auth::http([&bad.address, &good.address]).unwrap();
    let target = Target::embedded(BrokerConfig::default().auth(servers)).await;
    // The first one is chosen at random.
    for _ in 0..10 {
        admitted(&target).await;
    }
}

#[tokio::test]
async fn a_secret_is_shown_once() {
    let server = AuthServer::start(200, EVERYTHING).await;
    let target = asking(&server).await;
    let mut client = admitted(&target).await;
    client.send(&auth("s")).await;
    client.expect_fatal("E_INVALID AUTH already set").await;
}

#[tokio::test]
async fn the_server_is_asked_again_when_its_answer_is_too_old() {
    timeout(PATIENCE, ask_again())
        .await
        .expect("it was not asked again");
}

async fn ask_again() {
    let brief = EVERYTHING.replace("3600", "1");
    let mut server = AuthServer::start(200, &brief).await;
    let target = asking(&server).await;
    let mut client = admitted(&target).await;
    let mut other = admitted(&target).await;
    let mut third = admitted(&target).await;
    for _ in 0..3 {
        server.question().await;
    }
    // Answers are fresh for a second; publishing goes on until one is too old, and nothing of it is refused.
    while server.is_quiet() {
        client.publish("t", b"x").await;
    }
    client.send(&publish_many("t", &[b"x"])).await;
    client.expect_response("OK").await;

    // What is said now counts as soon as what was known is too old.
    server
        .say(
            200,
            r#"{"ttl":3600,"authorizations":[{"topic":"u","channels":["^$"],"permissions":["publish"]}]}"#,
        )
        .await;
    while server.is_quiet() {
        other.publish("u", b"x").await;
    }
    other.send(b"SUB u c\n").await;
    other
        .expect_fatal(r#"E_UNAUTHORIZED AUTH failed for SUB on "u" "c""#)
        .await;
    server.say(500, "").await;
    let refusal = loop {
        third.send(&publish("u", b"x")).await;
        match third.frame().await {
            (0, _) => {}
            (_, refusal) => break refusal,
        }
    };
    assert_eq!(refusal, b"E_AUTH_FAILED AUTH failed");
    third.expect_close().await;
}

#[tokio::test]
async fn commands_behind_auth_wait_for_its_answer() {
    let server = AuthServer::start(200, EVERYTHING).await;
    let target = asking(&server).await;
    let mut client = target.client().await;
    client
        .send(
            &[
                auth("s"),
                publish("t", b"1"),
                publish("t", b"2"),
                b"SUB t c\nRDY 2\n".to_vec(),
            ]
            .concat(),
        )
        .await;
    let (kind, _) = client.frame().await;
    assert_eq!(kind, 0);
    for _ in 0..3 {
        client.expect_response("OK").await;
    }
    assert_eq!(client.message().await.body, b"1");
}

#[test]
fn what_cannot_work_is_refused_at_the_start() {
    for (auth, words) in [
        (Auth::secret(""), "the secret is empty"),
        (
            Auth::secret_file("/does/not/exist"),
            "cannot read the secret in /does/not/exist",
        ),
        (Auth::http::<&str>([]), "no auth server is named"),
        (
            Auth::http(["ftp://auth"]),
            "`ftp://auth` is no auth server's address",
        ),
    ] {
        let error = auth.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let config = BrokerConfig::default().auth(Auth::secret("open sesame").unwrap());
    assert!(!format!("{config:?}").contains("sesame"));
}
