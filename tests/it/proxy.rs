//! The proxy that the fault tests rely on does what it says.

use std::{io, time::Duration};

use almanet_tests::proxy::{Cut, Direction, Proxy};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Longer than anything here takes, so that a test that would hang fails instead.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a proxy leads to: what stands for the broker.
async fn upstream() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// A client and the broker's end of its connection.
async fn connected(proxy: &Proxy, upstream: &TcpListener) -> (TcpStream, TcpStream) {
    let accepted = proxy.counts().accepted + 1;
    let (client, broker, _) = tokio::join!(
        TcpStream::connect(proxy.address()),
        upstream.accept(),
        proxy.accepted(accepted)
    );
    (client.unwrap(), broker.unwrap().0)
}

async fn read<const N: usize>(stream: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    timeout(PATIENCE, stream.read_exact(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    bytes
}

/// Everything up to the end, and how it ended.
async fn rest(stream: &mut TcpStream) -> (Vec<u8>, io::Result<usize>) {
    let mut bytes = Vec::new();
    let outcome = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap();
    (bytes, outcome)
}

#[tokio::test]
async fn bytes_travel_both_ways_and_are_counted() {
    let (listener, address) = upstream().await;
    let proxy = Proxy::to(address).await;
    let (mut client, mut broker) = connected(&proxy, &listener).await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut broker).await.0, b"question");
    // The other direction stays open.
    broker.write_all(b"answer").await.unwrap();
    drop(broker);
    assert_eq!(rest(&mut client).await.0, b"answer");
    let counts = proxy.open(0).await;
    assert_eq!((counts.accepted, counts.to_broker, counts.to_client), (1, 8, 6));
}

#[tokio::test]
async fn a_cut_ends_what_is_open_and_nothing_that_comes_later() {
    let (listener, address) = upstream().await;
    let proxy = Proxy::to(address).await;
    for how in [Cut::Fin, Cut::Reset] {
        let (mut client, mut broker) = connected(&proxy, &listener).await;
        proxy.cut(how);
        let ends = [rest(&mut client).await.1, rest(&mut broker).await.1];
        for end in ends {
            match how {
                Cut::Fin => assert_eq!(end.unwrap(), 0),
                Cut::Reset => assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset),
            }
        }
        drop((client, broker));
        proxy.open(0).await;
    }
    let (mut client, mut broker) = connected(&proxy, &listener).await;
    client.write_all(b"x").await.unwrap();
    assert_eq!(&read::<1>(&mut broker).await, b"x");
}

#[tokio::test]
async fn a_connection_is_cut_after_the_byte_that_was_named() {
    let (listener, address) = upstream().await;
    let proxy = Proxy::to(address).await;
    for direction in Direction::BOTH {
        let (client, broker) = connected(&proxy, &listener).await;
        let (mut sender, mut receiver) = match direction {
            Direction::ToBroker => (client, broker),
            Direction::ToClient => (broker, client),
        };
        sender.write_all(b"before").await.unwrap();
        assert_eq!(&read::<6>(&mut receiver).await, b"before");
        proxy.cut_after(direction, 4, Cut::Fin);
        sender.write_all(b"ab").await.unwrap();
        assert_eq!(&read::<2>(&mut receiver).await, b"ab");
        sender.write_all(b"cdef").await.unwrap();
        assert_eq!(rest(&mut receiver).await.0, b"cd");
        assert_eq!(rest(&mut sender).await.0, b"");
    }
    // Each was for one connection.
    let (mut client, mut broker) = connected(&proxy, &listener).await;
    client.write_all(b"and more").await.unwrap();
    assert_eq!(&read::<8>(&mut broker).await, b"and more");
}

#[tokio::test]
async fn a_stalled_direction_holds_its_sender_up_until_it_goes_on() {
    const MUCH: usize = 32 * 1024 * 1024;
    let (listener, address) = upstream().await;
    let proxy = Proxy::to(address).await;
    let (mut client, mut broker) = connected(&proxy, &listener).await;
    proxy.stall(Direction::ToBroker);
    let (mut from_broker, mut to_broker) = client.split();
    let sending = async {
        to_broker.write_all(&vec![b'x'; MUCH]).await.unwrap();
        to_broker.shutdown().await.unwrap();
    };
    let receiving = async {
        // The other direction still works.
        for _ in 0..100 {
            broker.write_all(b"!").await.unwrap();
            assert_eq!(from_broker.read_u8().await.unwrap(), b'!');
        }
        assert_eq!(proxy.counts().to_broker, 0);
        proxy.resume();
        rest(&mut broker).await.0.len()
    };
    let ((), received) = tokio::join!(sending, receiving);
    assert_eq!(received, MUCH);
}

#[tokio::test]
async fn what_is_swallowed_is_gone() {
    let (listener, address) = upstream().await;
    let proxy = Proxy::to(address).await;
    let (mut client, mut broker) = connected(&proxy, &listener).await;
    proxy.swallow(Direction::ToBroker);
    // More than all buffers on the way hold: its sender is not held up.
    client.write_all(&vec![b'x'; 32 * 1024 * 1024]).await.unwrap();
    proxy.swallow(Direction::ToClient);
    broker.write_all(b"lost").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut broker).await.0, b"");
    drop(broker);
    assert_eq!(rest(&mut client).await.0, b"");
    let counts = proxy.counts();
    assert_eq!(counts.to_broker + counts.to_client, 0);
    assert_eq!(counts.swallowed, 32 * 1024 * 1024 + 4);
}

#[tokio::test]
async fn a_dribble_brings_everything_a_byte_at_a_time() {
    let (listener, address) = upstream().await;
    let proxy = Proxy::to(address).await;
    let (mut client, mut broker) = connected(&proxy, &listener).await;
    proxy.chunk(Direction::ToBroker, 1);
    proxy.cut_after(Direction::ToBroker, 1000, Cut::Fin);
    let mut counts = Vec::new();
    client.write_all(&[b'x'; 1000]).await.unwrap();
    let seen = proxy.until(|now| {
        counts.push(now.to_broker);
        now.to_broker == 1000
    });
    let (_, (received, _)) = tokio::join!(seen, rest(&mut broker));
    assert_eq!(received.len(), 1000);
    assert!(counts.len() > 2, "it came in {} pieces", counts.len());
}

#[tokio::test]
async fn connections_are_refused_taken_and_led_elsewhere() {
    let (first, first_address) = upstream().await;
    let proxy = Proxy::to(first_address).await;
    proxy.refuse(true);
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(rest(&mut refused).await.1.is_err());
    assert_eq!(proxy.until(|counts| counts.refused == 1).await.accepted, 0);

    proxy.refuse(false);
    let (mut stays, mut at_first) = connected(&proxy, &first).await;
    let (second, second_address) = upstream().await;
    proxy.point_to(second_address);
    let (mut client, mut broker) = connected(&proxy, &second).await;
    client.write_all(b"2").await.unwrap();
    assert_eq!(&read::<1>(&mut broker).await, b"2");
    stays.write_all(b"1").await.unwrap();
    assert_eq!(&read::<1>(&mut at_first).await, b"1");

    drop(second);
    let mut nobody_there = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(rest(&mut nobody_there).await.1.is_err());
    assert_eq!(proxy.counts().refused, 2);
}

#[tokio::test]
async fn a_frame_is_injected_between_two_frames() {
    let (listener, address) = upstream().await;
    let proxy = Proxy::to(address).await;
    let (mut client, mut broker) = connected(&proxy, &listener).await;
    broker.write_all(b"\0\0\0\x06\0\0\0\0OK\0\0").await.unwrap();
    assert_eq!(&read::<12>(&mut client).await, b"\0\0\0\x06\0\0\0\0OK\0\0");
    proxy.inject(Bytes::from_static(b"\0\0\0\x05\0\0\0\x01E"));
    broker
        .write_all(b"\0\x06\0\0\0\0no\0\0\0\x06\0\0\0\0OK")
        .await
        .unwrap();
    assert_eq!(
        &read::<27>(&mut client).await,
        b"\0\x06\0\0\0\0no\0\0\0\x05\0\0\0\x01E\0\0\0\x06\0\0\0\0OK"
    );
    // Where nothing has begun it comes at once.
    proxy.inject(Bytes::from_static(b"\0\0\0\x05\0\0\0\x01F"));
    assert_eq!(&read::<9>(&mut client).await, b"\0\0\0\x05\0\0\0\x01F");
    assert_eq!(proxy.counts().injected, 2);
}
