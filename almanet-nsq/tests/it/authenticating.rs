use std::time::Duration;

use almanet_nsq::{
    Compression, ConnectError, ConnectionConfig, ErrorCode, Producer, ProducerConfig, PublishError,
};
use almanet_nsq_proto::{Command, Frame, Secret};
use bytes::Bytes;

use crate::{
    packing::Packing,
    peer::{Conversation, Peer, body, quick, soon, topic},
};

const SECRET: &str = "correct horse battery staple";
const PERMISSIONS: &[u8] = br#"{"identity":"billing","identity_url":"","permission_count":1}"#;

fn authenticated() -> ConnectionConfig {
    quick().auth_secret(SECRET)
}

fn producer(connection: ConnectionConfig) -> ProducerConfig {
    ProducerConfig::default().connection(connection)
}

/// A peer that asks for a secret.
async fn guarded() -> Peer {
    let mut peer = Peer::bind().await;
    peer.answer.auth_required = true;
    peer
}

async fn admit(conversation: &mut Conversation) {
    conversation.expect(Command::Auth(Secret::new(SECRET))).await;
    conversation
        .send(Frame::Response(Bytes::from_static(PERMISSIONS)))
        .await;
}

async fn accept(peer: &Peer) -> Conversation {
    let mut conversation = peer.accept().await;
    admit(&mut conversation).await;
    conversation
}

#[tokio::test]
async fn the_secret_is_sent_to_a_broker_that_asks_for_it() {
    let peer = guarded().await;
    let connecting = Producer::connect(&peer.address, producer(authenticated()));
    let (connected, _conversation) = tokio::join!(soon(connecting), accept(&peer));
    connected.unwrap();
}

#[tokio::test]
async fn the_secret_is_not_sent_to_a_broker_that_does_not_ask() {
    let peer = Peer::bind().await;
    let connecting = Producer::connect(&peer.address, producer(authenticated()));
    let (connected, mut conversation) = tokio::join!(soon(connecting), peer.accept());
    let producer = connected.unwrap();
    let topic = topic("t");
    let publishing = producer.publish(&topic, body("x"));
    let confirming = async {
        assert_eq!(conversation.published().await, body("x"));
        conversation.ok().await;
    };
    let (published, ()) = tokio::join!(soon(publishing), confirming);
    assert_eq!(published, Ok(()));
}

#[tokio::test]
async fn the_secret_follows_the_upgrades() {
    let mut peer = guarded().await;
    peer.answer.snappy = true;
    let config = producer(authenticated().compression(Compression::Snappy));
    let connecting = Producer::connect(&peer.address, config);
    let admitting = async {
        let mut conversation = peer.accept().await;
        conversation.pack(Packing::new(Compression::Snappy)).await;
        admit(&mut conversation).await;
        conversation
    };
    let (connected, _conversation) = tokio::join!(soon(connecting), admitting);
    connected.unwrap();
}

#[tokio::test]
async fn a_missing_secret_is_an_error_that_says_where_to_set_it() {
    let peer = guarded().await;
    let connecting = Producer::connect(&peer.address, producer(quick()));
    let (connected, mut conversation) = tokio::join!(soon(connecting), peer.accept());
    let error = connected.unwrap_err();
    assert!(matches!(error, ConnectError::AuthRequired { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "{} requires authentication: set the secret with `ConnectionConfig::auth_secret`",
            peer.address
        )
    );
    conversation.until_closed().await;
}

#[tokio::test]
async fn a_refused_secret_is_an_error_with_the_brokers_words() {
    let peer = guarded().await;
    let connecting = Producer::connect(&peer.address, producer(authenticated()));
    let refusing = async {
        let mut conversation = peer.accept().await;
        conversation.next().await;
        conversation.error(ErrorCode::AuthFailed, "AUTH failed").await;
        conversation
    };
    let (connected, _conversation) = tokio::join!(soon(connecting), refusing);
    let error = connected.unwrap_err();
    assert!(matches!(error, ConnectError::AuthRefused { .. }), "{error:?}");
    let start = format!(
        "{} refuses the authentication secret: E_AUTH_FAILED AUTH failed",
        peer.address
    );
    assert!(error.to_string().starts_with(&start), "{error}");
}

#[tokio::test]
async fn the_secret_is_never_shown() {
    let config = producer(authenticated());
    assert!(!format!("{config:?}").contains("horse"), "{config:?}");

    let peer = guarded().await;
    let connecting = Producer::connect(&peer.address, config);
    let repeating = async {
        let mut conversation = peer.accept().await;
        conversation.next().await;
        let words = format!("no such secret: {SECRET}");
        conversation.error(ErrorCode::Unauthorized, &words).await;
        conversation
    };
    let (connected, _conversation) = tokio::join!(soon(connecting), repeating);
    let error = connected.unwrap_err();
    assert!(error.to_string().contains("E_UNAUTHORIZED"), "{error}");
    assert!(!error.to_string().contains("horse"), "{error}");
    assert!(!format!("{error:?}").contains("horse"), "{error:?}");
}

#[tokio::test]
async fn a_permission_that_expired_is_asked_for_again() {
    let peer = guarded().await;
    let config = producer(authenticated()).publish_timeout(Duration::from_secs(10));
    let connecting = Producer::connect(&peer.address, config);
    let (connected, mut conversation) = tokio::join!(soon(connecting), accept(&peer));
    let producer = connected.unwrap();
    let topic = topic("t");
    let publishing = producer.publish(&topic, body("x"));
    let expiring = async {
        conversation.published().await;
        conversation.error(ErrorCode::AuthFailed, "AUTH failed").await;
        conversation.hang_up().await;
    };
    let (published, ()) = tokio::join!(soon(publishing), expiring);
    let error = published.unwrap_err();
    assert!(
        matches!(&error, PublishError::Refused { cause, .. } if cause.code == ErrorCode::AuthFailed),
        "{error:?}"
    );

    let mut next = accept(&peer).await;
    let publishing = producer.publish(&topic, body("y"));
    let confirming = async {
        assert_eq!(next.published().await, body("y"));
        next.ok().await;
    };
    let (published, ()) = tokio::join!(soon(publishing), confirming);
    assert_eq!(published, Ok(()));
}
