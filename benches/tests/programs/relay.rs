//! What clients say to their broker.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

type Heard = Arc<Mutex<Vec<Vec<u8>>>>;

/// Passes on what clients and a broker say, and keeps what the clients said. Its threads end with the connections, and the one that
/// accepts them with this process.
pub(crate) struct Relay {
    address: SocketAddr,
    /// For each connection.
    heard: Heard,
}

impl Relay {
    pub(crate) fn to(broker: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, broker) = (Heard::default(), broker.to_owned());
        let hearing = Arc::clone(&heard);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                pass_on(client, TcpStream::connect(&broker).unwrap(), Arc::clone(&hearing));
            }
        });
        Self { address, heard }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// All that was said on the connections on which `words` were said.
    pub(crate) fn heard(&self, words: &str) -> String {
        let heard = self.heard.lock().unwrap();
        let said = heard.iter().map(|said| String::from_utf8_lossy(said));
        let said: String = said.filter(|said| said.contains(words)).collect();
        assert!(!said.is_empty(), "nobody said {words}");
        said
    }
}

fn pass_on(mut client: TcpStream, mut broker: TcpStream, heard: Heard) {
    for stream in [&client, &broker] {
        stream.set_nodelay(true).unwrap();
    }
    let (mut to_client, mut from_broker) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_broker, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let place = {
        let mut heard = heard.lock().unwrap();
        heard.push(Vec::new());
        heard.len() - 1
    };
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            heard.lock().unwrap()[place].extend_from_slice(&buffer[..count]);
            if broker.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = broker.shutdown(Shutdown::Both);
    });
}
