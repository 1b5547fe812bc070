//! What a broker sends compressed.

use std::{io::Write, time::Duration};

use almanet_nsq::{
    ChannelName, Compression, ConnectionConfig, Consumer, ConsumerConfig, DeflateLevel, TopicName,
};
use almanet_nsq_proto::{Frame, IdentifyResponse, MAGIC_V2, Message, MessageId, OK};
use bytes::{Bytes, BytesMut};
use flate2::write::DeflateEncoder;
use snap::write::FrameEncoder;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::runtime::run;

const MAX_MESSAGE_SIZE: usize = 4096;

/// All that follows the agreement on snappy or deflate, which the first byte chooses: deliveries within the limit, or
/// an error.
pub fn compressed(data: &[u8]) {
    let Some((choice, packed)) = data.split_first() else {
        return;
    };
    let is_snappy = choice % 2 == 0;
    let compression = match is_snappy {
        true => Compression::Snappy,
        false => Compression::Deflate(DeflateLevel::default()),
    };
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let connection = ConnectionConfig::default()
            .compression(compression)
            .max_message_size(MAX_MESSAGE_SIZE)
            // It is not connected again while this run lasts.
            .reconnect_delay(Duration::from_secs(60)..=Duration::from_secs(60));
        let config = ConsumerConfig::default().connection(connection);
        let topic = TopicName::new("topic").expect("a name");
        let channel = ChannelName::new("channel").expect("a name");
        let consuming = Consumer::connect([address], topic, channel, config);
        let (connected, ()) = tokio::join!(consuming, speak(&listener, is_snappy, packed));
        let Ok(mut consumer) = connected else { return };
        while let Some(delivery) = consumer.try_recv() {
            assert!(delivery.body().len() <= MAX_MESSAGE_SIZE);
            let _ = delivery.finish();
        }
    });
}

/// A broker that agrees, says this, and hangs up.
async fn speak(listener: &TcpListener, is_snappy: bool, packed: &[u8]) {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    // The magic, then IDENTIFY: its line, its size, its body.
    let mut head = [0; MAGIC_V2.len() + b"IDENTIFY\n".len() + 4];
    stream.read_exact(&mut head).await.expect("a head");
    let size = head.last_chunk::<4>().map_or(0, |size| u32::from_be_bytes(*size));
    let mut identify = vec![0; size as usize];
    stream.read_exact(&mut identify).await.expect("a body");
    let answer = IdentifyResponse {
        max_rdy_count: 2500,
        snappy: is_snappy,
        deflate: !is_snappy,
        deflate_level: 6,
        msg_timeout: 60_000,
        ..IdentifyResponse::default()
    };
    let mut wire = BytesMut::new();
    let answer = serde_json::to_vec(&answer).expect("an answer");
    Frame::Response(answer.into()).encode(&mut wire);
    // The client must not read what is packed with the answer, so it is there already.
    wire.extend_from_slice(packed);
    let _ = stream.write_all(&wire).await;
    let _ = stream.shutdown().await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

pub(crate) fn compressed_seeds() -> Vec<Vec<u8>> {
    let mut frames = BytesMut::new();
    // For the compression, for the subscription, and a message.
    for _ in 0..2 {
        Frame::Response(Bytes::from_static(OK)).encode(&mut frames);
    }
    Frame::Message(Message {
        timestamp: 1_700_000_000_000_000_000,
        attempts: 1,
        id: MessageId::from_number(1),
        body: Bytes::from_static(&[b'x'; 1000]),
    })
    .encode(&mut frames);
    let mut snappy = FrameEncoder::new(vec![0]);
    snappy.write_all(&frames).expect("it is packed");
    let mut deflate = DeflateEncoder::new(vec![1], flate2::Compression::default());
    deflate.write_all(&frames).expect("it is packed");
    vec![
        snappy.into_inner().expect("it is packed"),
        deflate.finish().expect("it is packed"),
    ]
}
