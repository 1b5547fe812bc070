//! What the statistics tell of how a client is connected, and of whom it is.

use almanet_broker::{Auth, BrokerConfig, Tls};
use serde_json::Value;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use crate::{
    auth_server::AuthServer,
    certificates::Authority,
    packing::Packing,
    support::{Client, Target, identify, sized, unique},
};

/// What the statistics say of the one client that is subscribed to `topic`.
async fn the_client(target: &Target, topic: &str) -> Value {
    let topic = target.topic_stats(topic).await;
    topic["channels"][0]["clients"][0].clone()
}

#[tokio::test]
async fn compression_is_told() {
    let target = Target::start().await;
    for (name, packing) in [("snappy", Packing::snappy()), ("deflate", Packing::deflate())] {
        let topic = unique(name);
        let mut client = target.client().await;
        let json = format!(r#"{{"feature_negotiation":true,"{name}":true}}"#);
        client.send(&identify(&json)).await;
        client.frame().await;
        client.packing = Some(packing);
        client.expect_response("OK").await;
        client.send(format!("SUB {topic} c\n").as_bytes()).await;
        client.expect_response("OK").await;
        let told = the_client(&target, &topic).await;
        for other in ["snappy", "deflate", "tls"] {
            assert_eq!(told[other], other == name, "{name}: {told}");
        }
    }
}

#[tokio::test]
async fn tls_is_told() {
    let authority = Authority::new();
    for (version, name, suite) in [
        (&TLS12, "TLS1.2", "TLS_ECDHE_"),
        (&TLS13, "TLS1.3", "TLS13_AES_256_GCM_SHA384"),
    ] {
        let identity = authority.broker();
        let tls = Tls::builder().certificate_pem(identity.certificate, identity.key);
        let target = Target::embedded(BrokerConfig::default().tls(tls.build().unwrap())).await;
        let topic = unique("encrypted");
        let mut plain = target.client().await;
        plain
            .send(&identify(r#"{"feature_negotiation":true,"tls_v1":true}"#))
            .await;
        plain.frame().await;
        let stream = authority.connect(plain.stream, None, &[version]).await.unwrap();
        let mut client = Client {
            stream,
            packing: None,
        };
        client.expect_response("OK").await;
        client.send(format!("SUB {topic} c\n").as_bytes()).await;
        client.expect_response("OK").await;
        let told = the_client(&target, &topic).await;
        assert_eq!(told["tls"], true);
        assert_eq!(told["tls_version"], name);
        assert!(
            told["tls_cipher_suite"].as_str().unwrap().starts_with(suite),
            "{told}"
        );
        assert_eq!(told["tls_negotiated_protocol_is_mutual"], true);
    }
}

#[tokio::test]
async fn whom_the_auth_server_knows_is_told() {
    let server = AuthServer::start(
        200,
        r#"{"ttl":60,"identity":"me","identity_url":"http://me","authorizations":[
            {"topic":".*","channels":[".*"],"permissions":["subscribe","publish"]}]}"#,
    )
    .await;
    let auth = Auth::http([&server.address]).unwrap();
    let target = Target::embedded(BrokerConfig::default().auth(auth)).await;
    let topic = unique("known");
    let mut client = target.client().await;
    client
        .send(&[b"AUTH\n", &sized(b"the secret")[..]].concat())
        .await;
    client.frame().await;
    client.send(format!("SUB {topic} c\n").as_bytes()).await;
    client.expect_response("OK").await;
    let told = the_client(&target, &topic).await;
    assert_eq!(told["authed"], true);
    assert_eq!(told["auth_identity"], "me");
    assert_eq!(told["auth_identity_url"], "http://me");
    assert!(!told.to_string().contains("the secret"), "{told}");
}
