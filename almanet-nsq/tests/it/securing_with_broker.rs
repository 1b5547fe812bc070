//! TLS, compression and AUTH against the embedded broker, and the nsqd that `ALMANET_TEST_NSQD_PROGRAM` names.

use std::{fs, time::Duration};

use almanet_broker::{Auth, Broker, BrokerConfig, ClientAuth, Tls as BrokerTls};
use almanet_nsq::{
    Compression, ConnectError, ConnectionConfig, Consumer, ConsumerConfig, DeflateLevel, ErrorCode, Producer,
    ProducerConfig, Tls,
};
use bytes::Bytes;
use tempfile::TempDir;

use crate::{
    auth_server::AuthServer,
    certificates::{Authority, Identity},
    nsqd::Nsqd,
    peer::{body, channel, quick, soon, topic},
};

const SECRET: &str = "correct horse battery staple";

fn broker_tls(authority: &Authority) -> BrokerTls {
    let Identity { certificate, key } = authority.broker("127.0.0.1");
    BrokerTls::builder()
        .certificate_pem(certificate, key)
        .client_auth(ClientAuth::RequireVerify)
        .root_ca_pem(authority.pem())
        .build()
        .unwrap()
}

fn client_tls(authority: &Authority) -> Tls {
    let Identity { certificate, key } = authority.client();
    Tls::builder()
        .ca_pem(authority.pem())
        .client_certificate_pem(certificate, key)
        .build()
        .unwrap()
}

async fn broker(config: BrokerConfig) -> (Broker, String) {
    let broker = Broker::start(config).await.unwrap();
    let address = broker.tcp_addr().to_string();
    (broker, address)
}

/// The nsqd that is named, if one is, secured as the embedded broker is: with TLS where there is an authority, and with
/// an auth server where one is given.
fn nsqd(authority: Option<&Authority>, auth: Option<&AuthServer>) -> Option<(Nsqd, TempDir)> {
    let directory = tempfile::tempdir().unwrap();
    let mut flags = Vec::new();
    if let Some(authority) = authority {
        let Identity { certificate, key } = authority.broker("127.0.0.1");
        for (flag, text) in [
            ("tls-cert", certificate),
            ("tls-key", key),
            ("tls-root-ca-file", authority.pem()),
        ] {
            let path = directory.path().join(flag);
            fs::write(&path, text).unwrap();
            flags.push(format!("--{flag}={}", path.display()));
        }
        flags.push("--tls-client-auth-policy=require-verify".to_owned());
    }
    if let Some(auth) = auth {
        flags.push(format!("--auth-http-address={}", auth.address));
    }
    Some((Nsqd::start(&flags)?, directory))
}

async fn connect(address: &str, connection: ConnectionConfig) -> Result<Producer, ConnectError> {
    let config = ProducerConfig::default().connection(connection);
    soon(Producer::connect(address, config)).await
}

/// Messages of all sizes, there and back.
async fn round_trip(address: &str, connection: ConnectionConfig) {
    let topic = topic(&format!("test_{:016x}", fastrand::u64(..)));
    let producer = connect(address, connection.clone()).await.unwrap();
    let config = ConsumerConfig::default()
        .connection(connection)
        .max_in_flight(8)
        .msg_timeout(Duration::from_secs(5));
    let connecting = Consumer::connect([address], topic.clone(), channel("c"), config);
    let mut consumer = soon(connecting).await.unwrap();
    let large: Bytes = (0..1_000_000u32)
        .map(|number| (number.wrapping_mul(number) >> 7) as u8)
        .collect();
    for body in [body("small"), large, body("small again")] {
        soon(producer.publish(&topic, body.clone())).await.unwrap();
        let delivery = soon(consumer.recv()).await.unwrap();
        assert_eq!(delivery.body(), &body);
        delivery.finish().unwrap();
    }
    for number in 0..1000 {
        let body = Bytes::from(number.to_string());
        soon(producer.publish(&topic, body)).await.unwrap();
    }
    for _ in 0..1000 {
        soon(consumer.recv()).await.unwrap().finish().unwrap();
    }
    consumer.close().await;
    producer.close().await;
}

#[tokio::test]
async fn all_of_it_together_carries_messages() {
    let authority = Authority::new();
    let config = BrokerConfig::default()
        .tls(broker_tls(&authority))
        .auth(Auth::secret(SECRET).unwrap());
    let (_broker, address) = broker(config).await;
    let auth = AuthServer::start(SECRET).await;
    let nsqd = nsqd(Some(&authority), Some(&auth));
    let secured = quick().tls(client_tls(&authority)).auth_secret(SECRET);
    for connection in [
        secured.clone(),
        secured.clone().compression(Compression::Snappy),
        secured.compression(Compression::Deflate(DeflateLevel::default())),
    ] {
        round_trip(&address, connection.clone()).await;
        if let Some((nsqd, _)) = &nsqd {
            round_trip(&nsqd.address, connection).await;
        }
    }
}

#[tokio::test]
async fn compression_alone_carries_messages() {
    let (_broker, address) = broker(BrokerConfig::default()).await;
    let nsqd = nsqd(None, None);
    for compression in [Compression::Snappy, Compression::Deflate(DeflateLevel::FASTEST)] {
        round_trip(&address, quick().compression(compression)).await;
        if let Some((nsqd, _)) = &nsqd {
            round_trip(&nsqd.address, quick().compression(compression)).await;
        }
    }
}

#[tokio::test]
async fn a_wrong_secret_is_refused() {
    let (_broker, address) = broker(BrokerConfig::default().auth(Auth::secret(SECRET).unwrap())).await;
    let auth = AuthServer::start(SECRET).await;
    let nsqd = nsqd(None, Some(&auth));
    // To nsqd, an auth server that answers 403 is one that cannot be asked.
    let brokers = [
        Some((&address, ErrorCode::Unauthorized)),
        nsqd.as_ref()
            .map(|(nsqd, _)| (&nsqd.address, ErrorCode::AuthFailed)),
    ];
    for (address, code) in brokers.into_iter().flatten() {
        let refused = connect(address, quick().auth_secret("Tr0ub4dor&3")).await;
        let Err(ConnectError::AuthRefused { cause, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(cause.code, code);
        let silent = connect(address, quick()).await;
        assert!(
            matches!(silent, Err(ConnectError::AuthRequired { .. })),
            "{silent:?}"
        );
    }
}

#[tokio::test]
async fn a_client_without_the_certificate_that_is_asked_for_is_refused() {
    let authority = Authority::new();
    let (_broker, address) = broker(BrokerConfig::default().tls(broker_tls(&authority))).await;
    let nsqd = nsqd(Some(&authority), None);
    let stranger = Tls::builder().ca_pem(authority.pem()).build().unwrap();
    for address in [Some(&address), nsqd.as_ref().map(|(nsqd, _)| &nsqd.address)]
        .into_iter()
        .flatten()
    {
        let refused = connect(address, quick().tls(stranger.clone())).await;
        assert!(matches!(refused, Err(ConnectError::Tls { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn a_broker_without_the_feature_does_not_grant_it() {
    let (_broker, address) = broker(BrokerConfig::default().snappy(false)).await;
    let refused = connect(&address, quick().compression(Compression::Snappy)).await;
    assert!(
        matches!(refused, Err(ConnectError::NotGranted { .. })),
        "{refused:?}"
    );
}
