//! Secrets show nowhere: not in what is logged at any level, told to an observer, or returned.

use std::{
    io,
    sync::{Arc, Mutex},
};

use almanet_nsq::{ConnectionChange, ErrorCode, Producer, ProducerConfig};
use tracing::{Level, subscriber::DefaultGuard};

use crate::{
    observed::observed,
    peer::{Peer, body, quick, soon, topic},
};

const SECRET: &str = "correct horse battery staple";

/// All that is logged on this thread, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// That `shown`, by whatever way it came out, has no word of the secret.
fn check(shown: &str) {
    for word in SECRET.split(' ') {
        assert!(!shown.contains(word), "`{word}` in: {shown}");
    }
}

#[tokio::test]
async fn a_broker_that_repeats_the_secret_brings_it_into_no_error_event_or_log() {
    let (log, _guard) = Log::start();
    let mut peer = Peer::bind().await;
    peer.answer.auth_required = true;
    let (connection, mut seen) = observed(quick().auth_secret(SECRET));
    let config = ProducerConfig::default().connection(connection);
    check(&format!("{config:?}"));
    let words = format!("no such secret: {SECRET}");
    let refuse = async || {
        let mut conversation = peer.accept().await;
        conversation.next().await;
        conversation.error(ErrorCode::Unauthorized, &words).await;
        conversation.until_closed().await;
    };

    let connecting = Producer::connect(&peer.address, config.clone());
    let (connected, ()) = tokio::join!(soon(connecting), refuse());
    let error = connected.unwrap_err();
    check(&format!("{error} {error:?} {error:#?}"));
    assert!(error.to_string().contains("E_UNAUTHORIZED"), "{error}");

    // Admitted once, and refused when it comes again.
    let connecting = Producer::connect(&peer.address, config);
    let admitting = async {
        let mut conversation = peer.accept().await;
        conversation.next().await;
        conversation.ok().await;
        conversation
    };
    let (producer, mut conversation) = tokio::join!(soon(connecting), admitting);
    let producer = producer.unwrap();
    let orders = topic("orders");
    let repeating = async {
        conversation.published().await;
        conversation.error(ErrorCode::Unauthorized, &words).await;
        conversation.hang_up().await;
    };
    let (published, ()) = tokio::join!(soon(producer.publish(&orders, body("x"))), repeating);
    let error = published.unwrap_err();
    check(&format!("{error} {error:?}"));
    refuse().await;
    let failed = seen
        .until(|event| {
            check(&format!("{event:?}"));
            matches!(event.change, ConnectionChange::Failed { .. })
        })
        .await;
    assert!(format!("{failed:?}").contains("E_UNAUTHORIZED"), "{failed:?}");
    drop(producer);

    let text = log.text();
    // All of it was logged, in the finest detail.
    for line in [
        "greeted the broker",
        "the broker refused",
        "not connected, trying again",
    ] {
        assert!(text.contains(line), "{text}");
    }
    check(&text);
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_private_key_is_shown_nowhere_whether_it_can_be_used_or_not() {
    use almanet_nsq::Tls;

    use crate::{
        certificates::{Authority, acceptor},
        tls_peer::{accept, agreeing, trusting},
    };

    let (log, _guard) = Log::start();
    let authority = Authority::new();
    let client = authority.client();
    let mut shown = Vec::new();

    // A good one, and a broker that refuses it.
    let good = trusting(&authority).client_certificate_pem(client.certificate.clone(), client.key.clone());
    shown.push(format!("{good:?}"));
    let (connection, mut seen) = observed(quick().tls(good.build().unwrap()));
    let config = ProducerConfig::default().connection(connection);
    shown.push(format!("{config:?}"));
    let (peer, stranger) = (agreeing().await, Authority::new());
    let broker = authority.broker("127.0.0.1");
    let (trusted, untrusted) = (
        acceptor(&broker, Some(&authority)),
        acceptor(&broker, Some(&stranger)),
    );
    let connecting = Producer::connect(&peer.address, config);
    let (producer, conversation) = tokio::join!(soon(connecting), accept(&peer, &trusted));
    drop(conversation);
    assert!(accept(&peer, &untrusted).await.is_err());
    let is_failure = |change: &ConnectionChange| matches!(change, ConnectionChange::Failed { .. });
    shown.push(format!(
        "{:?}",
        seen.until(|event| is_failure(&event.change)).await
    ));
    drop(producer);

    // Ones that cannot be used: cut off, of another certificate, and a text where a file was asked for.
    let half: String = client.key.lines().take(2).collect::<Vec<_>>().join("\n");
    let other = authority.client();
    let bad = [
        Tls::builder().client_certificate_pem(client.certificate.clone(), half),
        Tls::builder().client_certificate_pem(other.certificate, client.key.clone()),
        Tls::builder().client_certificate_files(client.certificate.clone(), client.key.clone()),
        Tls::builder().client_certificate_files(client.key.clone(), client.certificate.clone()),
        Tls::builder().ca_file(client.key.clone()),
    ];
    for builder in bad {
        let builder = builder.danger_accept_invalid_certificates();
        shown.push(format!("{builder:?}"));
        if let Err(error) = builder.build() {
            shown.push(format!("{error} {error:?}"));
        }
    }

    let text = log.text();
    assert!(text.contains("not connected, trying again"), "{text}");
    shown.push(text);
    let of_the_key: Vec<&str> = client
        .key
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    assert!(!of_the_key.is_empty());
    for text in shown {
        assert!(!of_the_key.iter().any(|line| text.contains(line)), "{text}");
    }
}
