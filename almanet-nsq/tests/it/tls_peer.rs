//! A scripted broker behind TLS.

use std::io;

use almanet_nsq::{Producer, ProducerConfig, Tls, TlsBuilder};
use almanet_nsq_proto::{Frame, OK};
use bytes::{Bytes, BytesMut};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    certificates::Authority,
    peer::{Conversation, Peer, quick, soon, topic},
};

pub(crate) type Secured = Conversation<TlsStream<TcpStream>>;

pub(crate) fn trusting(authority: &Authority) -> TlsBuilder {
    Tls::builder().ca_pem(authority.pem())
}

pub(crate) fn producer(tls: TlsBuilder) -> ProducerConfig {
    ProducerConfig::default().connection(quick().tls(tls.build().unwrap()))
}

/// A peer that agrees to TLS.
pub(crate) async fn agreeing() -> Peer {
    let mut peer = Peer::bind().await;
    peer.answer.tls_v1 = true;
    peer
}

pub(crate) async fn accept(peer: &Peer, acceptor: &TlsAcceptor) -> io::Result<Secured> {
    let conversation = peer.accept().await;
    assert_eq!(conversation.identify.tls_v1, Some(true));
    let mut conversation = conversation
        .over(async |stream| acceptor.accept(stream).await)
        .await?;
    // A client that does not like the certificate is gone by now.
    let mut ok = BytesMut::new();
    Frame::Response(Bytes::from_static(OK)).encode(&mut ok);
    conversation.try_raw(&ok).await?;
    Ok(conversation)
}

pub(crate) async fn connected(peer: &Peer, acceptor: &TlsAcceptor, tls: TlsBuilder) -> (Producer, Secured) {
    let connecting = Producer::connect(&peer.address, producer(tls));
    let (producer, conversation) = tokio::join!(soon(connecting), accept(peer, acceptor));
    (producer.unwrap(), conversation.unwrap())
}

pub(crate) async fn confirm_one(producer: &Producer, conversation: &mut Secured, body: Bytes) {
    let topic = topic("t");
    let publishing = producer.publish(&topic, body.clone());
    let confirming = async {
        assert_eq!(conversation.published().await, body);
        conversation.ok().await;
    };
    let (published, ()) = tokio::join!(soon(publishing), confirming);
    assert_eq!(published, Ok(()));
}
