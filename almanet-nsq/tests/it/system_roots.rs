//! The authorities of the operating system, for which this test binary is run again with others.

use std::{
    env, fs,
    process::{Command, Output},
};

use almanet_nsq::{Producer, ProducerConfig, Tls};
use tokio::task::spawn_blocking;

use crate::{
    certificates::{Authority, acceptor},
    peer::{quick, soon},
    tls_peer::{accept, agreeing},
};

/// The broker to connect to, in the environment of the process that is run.
const ADDRESS: &str = "ALMANET_TEST_TLS_PEER";
/// What names the authorities on systems that keep them in a file.
const SYSTEM_ROOTS: &str = "SSL_CERT_FILE";

/// What becomes of a client whose system trusts `trusted`, or what it is installed to trust.
async fn connect(broker: &Authority, trusted: Option<&Authority>) -> Output {
    let acceptor = acceptor(&broker.broker("127.0.0.1"), None);
    let peer = agreeing().await;
    let directory = tempfile::tempdir().unwrap();
    let mut client = Command::new(env::current_exe().unwrap());
    client
        .args(["system_roots::a_client_for_another_test", "--exact", "--ignored"])
        .env(ADDRESS, &peer.address)
        .env_remove("SSL_CERT_DIR")
        .env_remove(SYSTEM_ROOTS);
    if let Some(trusted) = trusted {
        let path = directory.path().join("roots.pem");
        fs::write(&path, trusted.pem()).unwrap();
        client.env(SYSTEM_ROOTS, path);
    }
    let accepting = async {
        if let Ok(mut conversation) = accept(&peer, &acceptor).await {
            conversation.until_closed().await;
        }
    };
    let mut running = spawn_blocking(move || client.output().unwrap());
    tokio::select! {
        output = &mut running => output.unwrap(),
        () = accepting => soon(running).await.unwrap(),
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn without_a_named_authority_those_of_the_system_are_trusted_and_no_others() {
    let (authority, other) = (Authority::new(), Authority::new());
    let output = connect(&authority, Some(&authority)).await;
    assert!(output.status.success(), "{output:?}");
    for trusted in [Some(&other), None] {
        let output = connect(&authority, trusted).await;
        assert!(!output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout);
        let reasons = ["unknown issuer", "no certificate to trust"];
        assert!(reasons.iter().any(|reason| said.contains(reason)), "{said}");
    }
}

/// No test: what the one above runs.
#[tokio::test]
#[ignore = "a client for another test, which runs it itself"]
async fn a_client_for_another_test() {
    let Ok(address) = env::var(ADDRESS) else { return };
    let tls = Tls::builder().build().unwrap_or_else(|error| panic!("{error}"));
    let config = ProducerConfig::default().connection(quick().tls(tls));
    let connected = soon(Producer::connect(address, config)).await;
    drop(connected.unwrap_or_else(|error| panic!("{error}")));
}
