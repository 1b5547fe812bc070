//! AUTH by an auth server that is asked over https.

use std::{error::Error, time::Duration};

use almanet_broker::{Auth, Broker, BrokerConfig};
use tokio::net::TcpListener;

use crate::{
    auth_server::AuthServer,
    authenticating::{EVERYTHING, auth},
    certificates::Authority,
    support::Target,
};

fn config(address: &str) -> BrokerConfig {
    BrokerConfig::default().auth(Auth::http([address]).unwrap())
}

async fn expect_failed(target: &Target) {
    let mut client = target.client().await;
    client.send(&auth("s")).await;
    client.expect_fatal("E_AUTH_FAILED AUTH failed").await;
}

#[tokio::test]
async fn a_server_that_shows_a_good_certificate_is_asked() {
    let authority = Authority::new();
    let mut server = AuthServer::secure(&authority.broker(), 200, EVERYTHING).await;
    let config = config(&format!("https://{}/who", server.address)).http_client_root_ca_pem(authority.pem());
    let target = Target::embedded(config).await;
    let mut client = target.client().await;
    client.send(&auth("s")).await;
    client
        .expect_response(r#"{"identity":"me","identity_url":"http://me","permission_count":1}"#)
        .await;
    assert_eq!(
        server.question().await,
        "GET /who?common_name=&remote_ip=127.0.0.1&secret=s&tls=false HTTP/1.1"
    );
    client.publish("t", b"x").await;
}

#[tokio::test]
async fn a_server_that_might_be_another_does_not_hear_the_secret() {
    let authority = Authority::new();
    for identity in [Authority::new().broker(), authority.server("auth.example")] {
        let mut server = AuthServer::secure(&identity, 200, EVERYTHING).await;
        let config = config(&format!("https://{}", server.address)).http_client_root_ca_pem(authority.pem());
        expect_failed(&Target::embedded(config).await).await;
        assert!(server.is_quiet());
    }
}

#[tokio::test]
async fn a_server_without_tls_is_not_asked_in_plain() {
    let mut server = AuthServer::start(200, EVERYTHING).await;
    let config = config(&format!("https://{}", server.address))
        .http_client_root_ca_pem(Authority::new().pem())
        .http_client_request_timeout(Duration::from_millis(200));
    expect_failed(&Target::embedded(config).await).await;
    if let Some(question) = server.next_question() {
        assert!(!question.contains("secret"), "{question}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_as_long_as_is_set() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    for scheme in ["http", "https"] {
        let config = config(&format!("{scheme}://{address}"))
            .http_client_root_ca_pem(Authority::new().pem())
            .http_client_request_timeout(Duration::from_millis(100));
        expect_failed(&Target::embedded(config).await).await;
    }
}

#[tokio::test]
async fn whom_to_believe_is_read_at_the_start() {
    let missing = config("https://127.0.0.1:1").http_client_root_ca_file("/does/not/exist");
    let error = Broker::start(missing).await.unwrap_err();
    assert_eq!(error.to_string(), "auth servers cannot be asked over https");
    assert_eq!(error.source().unwrap().to_string(), "cannot read /does/not/exist");
    let no_pem = config("https://127.0.0.1:1").http_client_root_ca_pem("nonsense");
    let error = Broker::start(no_pem).await.unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert!(
        cause.contains("the given CA holds no certificate in PEM form"),
        "{cause}"
    );
    // Nobody is asked over https, so nothing is read.
    let plain = config("127.0.0.1:1").http_client_root_ca_file("/does/not/exist");
    Broker::start(plain).await.unwrap().stop().await.unwrap();
}
