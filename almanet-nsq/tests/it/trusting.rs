use almanet_nsq::{ConnectError, Producer, Tls, TlsBuilder, TlsError};

use crate::{
    certificates::{Authority, Identity, acceptor},
    peer::{body, soon},
    tls_peer::{accept, agreeing, confirm_one, connected, producer, trusting},
};

/// What a client says that does not connect to a broker with `identity`.
async fn refusal(identity: &Identity, clients: Option<&Authority>, tls: TlsBuilder) -> String {
    let peer = agreeing().await;
    let acceptor = acceptor(identity, clients);
    let connecting = Producer::connect(&peer.address, producer(tls));
    let accepting = async {
        match accept(&peer, &acceptor).await {
            Ok(mut conversation) => conversation.until_closed().await,
            Err(_refused) => {}
        }
    };
    let (connected, ()) = tokio::join!(soon(connecting), accepting);
    let error = connected.unwrap_err();
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
    let text = error.to_string();
    let start = format!("cannot secure the connection to {}: ", peer.address);
    text.strip_prefix(&start)
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned()
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let identity = Authority::new().broker("127.0.0.1");
    let text = refusal(&identity, None, trusting(&Authority::new())).await;
    assert_eq!(
        text,
        "the broker's certificate is of an unknown issuer: name its CA with `Tls::builder().ca_file(..)`"
    );
}

#[tokio::test]
async fn a_certificate_of_an_authority_that_was_made_anew_is_refused() {
    let identity = Authority::named("the test CA").broker("127.0.0.1");
    let text = refusal(&identity, None, trusting(&Authority::named("the test CA"))).await;
    assert!(
        text.contains("has the name of a trusted one and another key"),
        "{text}"
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let identity = authority.broker("nsqd.example");
    let text = refusal(&identity, None, trusting(&authority)).await;
    assert_eq!(
        text,
        "the broker's certificate is for another name: it is for nsqd.example, not for 127.0.0.1"
    );
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused() {
    let authority = Authority::new();
    let identity = authority.expired("127.0.0.1");
    let text = refusal(&identity, None, trusting(&authority)).await;
    assert_eq!(text, "the broker's certificate has expired");
}

#[tokio::test]
async fn an_authoritys_own_certificate_is_refused_with_advice() {
    let authority = Authority::new();
    let text = refusal(&authority.itself(), None, trusting(&authority)).await;
    assert!(text.contains("certificate of an authority"), "{text}");
}

#[tokio::test]
async fn any_certificate_can_be_accepted_on_request() {
    let authority = Authority::new();
    let expired = authority.expired("nsqd.example");
    for identity in [expired, authority.itself()] {
        let acceptor = acceptor(&identity, None);
        let peer = agreeing().await;
        let tls = Tls::builder().danger_accept_invalid_certificates();
        let (producer, mut conversation) = connected(&peer, &acceptor, tls).await;
        confirm_one(&producer, &mut conversation, body("x")).await;
    }
}

#[tokio::test]
async fn the_name_to_expect_can_be_given() {
    let authority = Authority::new();
    let acceptor = acceptor(&authority.broker("nsqd.example"), None);
    let peer = agreeing().await;
    let tls = trusting(&authority).server_name("nsqd.example");
    let (producer, mut conversation) = connected(&peer, &acceptor, tls).await;
    confirm_one(&producer, &mut conversation, body("x")).await;
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_broker_that_asks() {
    let authority = Authority::new();
    let clients = Authority::new();
    let acceptor = acceptor(&authority.broker("127.0.0.1"), Some(&clients));
    let peer = agreeing().await;
    let client = clients.client();
    let tls = trusting(&authority).client_certificate_pem(client.certificate, client.key);
    let (producer, mut conversation) = connected(&peer, &acceptor, tls).await;
    assert!(conversation.stream.get_ref().1.peer_certificates().is_some());
    confirm_one(&producer, &mut conversation, body("x")).await;
}

#[tokio::test]
async fn a_missing_client_certificate_is_named() {
    let authority = Authority::new();
    let identity = authority.broker("127.0.0.1");
    let text = refusal(&identity, Some(&Authority::new()), trusting(&authority)).await;
    assert_eq!(
        text,
        "the broker requires a client certificate: give one with `Tls::builder()`"
    );
}

#[tokio::test]
async fn a_client_certificate_of_another_authority_is_named() {
    let authority = Authority::new();
    let identity = authority.broker("127.0.0.1");
    let client = Authority::new().client();
    let tls = trusting(&authority).client_certificate_pem(client.certificate, client.key);
    let text = refusal(&identity, Some(&Authority::new()), tls).await;
    assert!(
        text.starts_with("the broker does not accept this client's certificate"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_used_is_named_when_tls_is_built() {
    let authority = Authority::new();
    let text = |builder: TlsBuilder| builder.build().unwrap_err().to_string();

    let error = Tls::builder().ca_file("/nowhere/ca.pem").build().unwrap_err();
    assert!(matches!(error, TlsError::Unreadable { .. }));
    assert_eq!(error.to_string(), "cannot read /nowhere/ca.pem");
    assert_eq!(
        text(Tls::builder().ca_pem("what is this")),
        "the given CA holds no certificate in PEM form: there is none"
    );
    let (one, other) = (authority.client(), authority.client());
    assert_eq!(
        text(trusting(&authority).client_certificate_pem(one.certificate.clone(), one.certificate.clone())),
        "the given client key holds no unencrypted private key in PEM form: there is none"
    );
    let error = text(trusting(&authority).client_certificate_pem(one.certificate, other.key));
    assert!(
        error.starts_with("the client certificate cannot be used: "),
        "{error}"
    );
    let error = text(trusting(&authority).server_name("what is this"));
    assert!(error.starts_with("`what is this` is neither"), "{error}");
}

#[test]
fn neither_keys_nor_certificates_are_shown() {
    let authority = Authority::new();
    let client = authority.client();
    let builder = trusting(&authority).client_certificate_pem(client.certificate, client.key);
    let shown = format!("{builder:?} {:?}", builder.clone().build().unwrap());
    assert!(shown.contains("the given client key"), "{shown}");
    assert!(!shown.contains("BEGIN"), "{shown}");
    assert!(shown.len() < 400, "{shown}");
}
