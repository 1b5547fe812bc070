//! TLS.

use almanet_broker::{Auth, BrokerConfig, ClientAuth, Tls, TlsBuilder, TlsVersion};
use tokio::{io::AsyncReadExt, net::TcpStream};
use tokio_rustls::{
    client::TlsStream,
    rustls::{
        ALL_VERSIONS,
        version::{TLS12, TLS13},
    },
};

use crate::{
    auth_server::AuthServer,
    certificates::{Authority, Identity},
    packing::Packing,
    support::{Client, Target, identify, publish, sized, unique},
};

pub(crate) fn tls(authority: &Authority) -> TlsBuilder {
    let identity = authority.broker();
    Tls::builder().certificate_pem(identity.certificate, identity.key)
}

async fn broker(tls: TlsBuilder) -> Target {
    Target::embedded(BrokerConfig::default().tls(tls.build().unwrap())).await
}

/// Asks for TLS; the connection is still plain, and the broker waits for the handshake.
async fn agreed(target: &Target, more: &str) -> TcpStream {
    let mut client = target.client().await;
    let json = format!(r#"{{"feature_negotiation":true,"tls_v1":true{more}}}"#);
    client.send(&identify(&json)).await;
    let (kind, data) = client.frame().await;
    assert_eq!(kind, 0, "{}", data.escape_ascii());
    let answer: serde_json::Value = serde_json::from_slice(&data).unwrap();
    assert_eq!(answer["tls_v1"], true);
    client.stream
}

async fn secured(
    target: &Target,
    authority: &Authority,
    identity: Option<&Identity>,
    more: &str,
) -> Client<TlsStream<TcpStream>> {
    let stream = agreed(target, more).await;
    let mut client = Client {
        stream: authority.connect(stream, identity, ALL_VERSIONS).await.unwrap(),
        packing: None,
    };
    client.expect_response("OK").await;
    client
}

async fn works(client: &mut Client<TlsStream<TcpStream>>) {
    let topic = unique("tls");
    client.send(format!("SUB {topic} c\nRDY 1\n").as_bytes()).await;
    client.expect_response("OK").await;
    let large = vec![b'x'; 1 << 20];
    for body in [b"small", &large[..], b"small again"] {
        client.send(&publish(&topic, body)).await;
        // The answer and the message have no order.
        let (first, second) = (client.frame().await, client.frame().await);
        let (message, answer) = if first.0 == 2 {
            (first, second)
        } else {
            (second, first)
        };
        assert_eq!(answer, (0, b"OK".to_vec()));
        assert_eq!(&message.1[26..], body);
        let id = std::str::from_utf8(&message.1[10..26]).unwrap();
        client.send(format!("FIN {id}\n").as_bytes()).await;
    }
}

/// Whether the handshake fails, or the connection right after it.
async fn is_turned_away(target: &Target, authority: &Authority, identity: Option<&Identity>) -> bool {
    let stream = agreed(target, "").await;
    match authority.connect(stream, identity, ALL_VERSIONS).await {
        Ok(mut stream) => stream.read(&mut [0; 100]).await.map_or(true, |read| read == 0),
        Err(_) => true,
    }
}

#[tokio::test]
async fn everything_works_encrypted() {
    let authority = Authority::new();
    let target = broker(tls(&authority)).await;
    works(&mut secured(&target, &authority, None, "").await).await;
}

#[tokio::test]
async fn compression_goes_inside() {
    let authority = Authority::new();
    let target = broker(tls(&authority)).await;
    for (more, packing) in [
        (r#","snappy":true"#, Packing::snappy()),
        (r#","deflate":true"#, Packing::deflate()),
    ] {
        // The first OK is only encrypted, the second compressed too.
        let mut client = secured(&target, &authority, None, more).await;
        client.packing = Some(packing);
        client.expect_response("OK").await;
        works(&mut client).await;
    }
}

#[tokio::test]
async fn a_broker_without_a_certificate_does_not_grant_it() {
    let target = Target::start().await;
    let mut client = target.client().await;
    client
        .send(&identify(r#"{"feature_negotiation":true,"tls_v1":true}"#))
        .await;
    let (_, data) = client.frame().await;
    let answer: serde_json::Value = serde_json::from_slice(&data).unwrap();
    assert_eq!(answer["tls_v1"], false);
    client.expect_quiet().await;
}

#[tokio::test]
async fn where_it_is_required_a_plain_client_may_only_identify() {
    let authority = Authority::new();
    let target = broker(tls(&authority).required(true)).await;
    for (command, name) in [
        (&b"PUB\n"[..], "PUB"),
        (b"SUB t c\n", "SUB"),
        (b"NOP\n", "NOP"),
        (b"CLS\n", "CLS"),
        (b"HELLO\n", "HELLO"),
        (b"AUTH\n\0\0\0\x01s", "AUTH"),
    ] {
        let mut client = target.client().await;
        client.send(&identify("{}")).await;
        client.expect_response("OK").await;
        client.send(command).await;
        client
            .expect_fatal(&format!(
                "E_INVALID cannot {name} in current state (TLS required)"
            ))
            .await;
    }
    works(&mut secured(&target, &authority, None, "").await).await;
}

#[tokio::test]
async fn clients_certificates_are_asked_for_as_the_policy_says() {
    let authority = Authority::new();
    let (mine, strangers) = (authority.client("mine"), Authority::new().client("strange"));
    let verifying = tls(&authority)
        .client_auth(ClientAuth::RequireVerify)
        .root_ca_pem(authority.pem());
    for (policy, nobody, stranger) in [
        (tls(&authority), true, true),
        (tls(&authority).client_auth(ClientAuth::Require), false, true),
        (verifying, false, false),
    ] {
        let target = broker(policy).await;
        works(&mut secured(&target, &authority, Some(&mine), "").await).await;
        assert_eq!(!is_turned_away(&target, &authority, None).await, nobody);
        assert_eq!(
            !is_turned_away(&target, &authority, Some(&strangers)).await,
            stranger
        );
    }
}

#[tokio::test]
async fn asking_for_a_certificate_requires_tls() {
    let authority = Authority::new();
    let target = broker(tls(&authority).client_auth(ClientAuth::Require)).await;
    let mut client = target.client().await;
    client.send(b"NOP\n").await;
    client
        .expect_fatal("E_INVALID cannot NOP in current state (TLS required)")
        .await;
}

#[tokio::test]
async fn old_versions_are_refused_where_they_are_not_wanted() {
    let authority = Authority::new();
    let target = broker(tls(&authority)).await;
    for version in [&TLS12, &TLS13] {
        let stream = agreed(&target, "").await;
        assert!(authority.connect(stream, None, &[version]).await.is_ok());
    }
    let target = broker(tls(&authority).min_version(TlsVersion::Tls13)).await;
    let stream = agreed(&target, "").await;
    assert!(authority.connect(stream, None, &[&TLS12]).await.is_err());
    let stream = agreed(&target, "").await;
    assert!(authority.connect(stream, None, &[&TLS13]).await.is_ok());
}

#[tokio::test]
async fn an_auth_server_is_told_who_the_client_is() {
    let mut server = AuthServer::start(
        200,
        r#"{"ttl":9,"authorizations":[{"topic":"","channels":[""],"permissions":["publish"]}]}"#,
    )
    .await;
    let authority = Authority::new();
    let tls = tls(&authority).client_auth(ClientAuth::Require).build().unwrap();
    let auth = Auth::http([&server.address]).unwrap();
    let target = Target::embedded(BrokerConfig::default().tls(tls).auth(auth)).await;
    let identity = authority.client("billing & co");
    let mut client = secured(&target, &authority, Some(&identity), "").await;
    client.send(&[b"AUTH\n", &sized(b"s")[..]].concat()).await;
    assert_eq!(client.frame().await.0, 0);
    assert_eq!(
        server.question().await,
        "GET /auth?common_name=billing+%26+co&remote_ip=127.0.0.1&secret=s&tls=true HTTP/1.1"
    );
    client.publish("t", b"x").await;
}

#[tokio::test]
async fn words_in_plain_are_not_taken_for_the_clients() {
    let authority = Authority::new();
    let target = broker(tls(&authority)).await;
    let mut client = target.client().await;
    let asking = identify(r#"{"feature_negotiation":true,"tls_v1":true}"#);
    client
        .send(&[asking, publish(&unique("forged"), b"x")].concat())
        .await;
    assert_eq!(client.frame().await.0, 0);
    // Where they were kept, they would be executed once the real client has changed to TLS.
    assert!(
        authority
            .connect(client.stream, None, ALL_VERSIONS)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_failed_handshake_harms_nobody_else() {
    let authority = Authority::new();
    let target = broker(tls(&authority)).await;
    let mut idle = secured(&target, &authority, None, "").await;
    let mut garbage = Client {
        stream: agreed(&target, "").await,
        packing: None,
    };
    garbage.send(b"this is no handshake").await;
    // TLS's alert may come first.
    let mut rest = Vec::new();
    let _ = garbage.stream.read_to_end(&mut rest).await;
    drop(agreed(&target, "").await);
    works(&mut idle).await;
    target.stop().await;
}

#[tokio::test]
async fn refusals_arrive_encrypted_and_then_the_end() {
    let authority = Authority::new();
    let target = broker(tls(&authority)).await;
    let mut client = secured(&target, &authority, None, "").await;
    client.send(b"NONSENSE\n").await;
    client.expect_error("E_INVALID invalid command NONSENSE").await;
    // With TLS's farewell: nothing was cut off.
    assert_eq!(client.stream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_broker_that_stops_does_not_wait_for_handshakes() {
    let authority = Authority::new();
    let target = broker(tls(&authority)).await;
    let _waiting = agreed(&target, "").await;
    let _secured = secured(&target, &authority, None, "").await;
    target.stop().await;
}

#[test]
fn what_cannot_work_is_refused_at_the_start() {
    let authority = Authority::new();
    let (one, other) = (authority.broker(), authority.broker());
    for (tls, words) in [
        (Tls::builder(), "no certificate is given"),
        (
            Tls::builder().certificate_files("/does/not/exist", "/neither"),
            "cannot read /does/not/exist",
        ),
        (
            Tls::builder().certificate_pem("nothing", one.key.as_str()),
            "the given certificate holds no certificate in PEM form: there is none",
        ),
        (
            Tls::builder().certificate_pem(one.certificate.as_str(), other.key.as_str()),
            "the certificate cannot be used",
        ),
        (
            tls(&authority).client_auth(ClientAuth::RequireVerify),
            "clients' certificates cannot be verified",
        ),
    ] {
        let error = tls.build().unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn where_it_is_required_plain_http_is_refused_unless_it_is_allowed() {
    let authority = Authority::new();
    for (tls, status, body) in [
        (
            tls(&authority).required(true),
            403,
            r#"{"https_port":0,"message":"TLS_REQUIRED"}"#,
        ),
        (
            tls(&authority)
                .client_auth(ClientAuth::RequireVerify)
                .root_ca_pem(authority.pem()),
            403,
            r#"{"https_port":0,"message":"TLS_REQUIRED"}"#,
        ),
        (tls(&authority).required(true).plain_http(true), 200, "OK"),
        (tls(&authority), 200, "OK"),
    ] {
        let target = broker(tls).await;
        let answer = target.get("/ping").await;
        assert_eq!((answer.status, answer.body.as_str()), (status, body));
    }
}
