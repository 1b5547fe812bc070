//! The proxy as a test holds it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    counts::Counts,
    relay::{Relay, Shared},
    settings::{Cut, Direction, Flow, Settings},
};

/// Longer than anything that a test waits for, so that a test that would hang fails instead.
const PATIENCE: Duration = Duration::from_secs(20);

/// A TCP proxy in front of a broker, and the faults that it makes.
///
/// Dropping it closes its listener and its connections.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use almanet_tests::proxy::{Cut, Direction, Proxy};
///
/// let proxy = Proxy::to("127.0.0.1:4150").await;
/// let session = almanet::Session::connect(proxy.address()).await?;
/// proxy.cut_after(Direction::ToClient, 7, Cut::Reset); // in the middle of the next frame
/// session.produce("net.example.joined", &1).await.unwrap_err();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    settings: watch::Sender<Settings>,
    _listening: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Starts a proxy to the broker at `upstream` (`host:port`). It listens on a free port when this resolves.
    pub async fn to(upstream: impl Into<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("the address of a listener");
        let settings = watch::Sender::new(Settings::new(upstream.into()));
        let shared = Arc::new(Shared::default());
        let listening = tokio::spawn(listen(listener, Arc::clone(&shared), settings.subscribe()));
        Self {
            address,
            shared,
            settings,
            _listening: AbortOnDropHandle::new(listening),
        }
    }

    /// Where clients connect to, as `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Leads the connections that come to another broker. Those that are open stay where they are.
    pub fn point_to(&self, upstream: impl Into<String>) {
        let upstream = upstream.into();
        self.settings.send_modify(|settings| settings.upstream = upstream);
    }

    /// Resets the connections that come as soon as they are there, as if no broker listened; or takes them again.
    pub fn refuse(&self, refuses: bool) {
        self.settings.send_modify(|settings| settings.refuses = refuses);
    }

    /// Cuts all connections that are open now, those that [`counts`](Self::counts) has seen.
    pub fn cut(&self, how: Cut) {
        self.settings.send_modify(|settings| {
            settings.cuts += 1;
            settings.cut = how;
        });
    }

    /// Cuts one connection, once: the one that hands on byte number `bytes` in this direction, counted from now over
    /// all connections. That byte is the last one that arrives.
    ///
    /// 0 takes back what was said before.
    pub fn cut_after(&self, direction: Direction, bytes: u64, how: Cut) {
        self.shared.allow(direction, bytes, how);
    }

    /// Reads no more in this direction. The sender notices nothing until its own buffers are full.
    pub fn stall(&self, direction: Direction) {
        self.flow(direction, Flow::Stalled);
    }

    /// Reads in this direction and throws away what it reads: the other peer seems silent, and the sender is never
    /// held up. What comes after [`resume`](Self::resume) need not begin with a whole frame.
    pub fn swallow(&self, direction: Direction) {
        self.flow(direction, Flow::Swallowed);
    }

    /// Hands everything on again, in both directions, in pieces of any size.
    pub fn resume(&self) {
        self.settings.send_modify(|settings| {
            for direction in Direction::BOTH {
                *settings.way_mut(direction) = Default::default();
            }
        });
    }

    /// Hands bytes on in pieces of at most this size: 1 for a dribble.
    pub fn chunk(&self, direction: Direction, size: usize) {
        assert!(size > 0, "a chunk has at least one byte");
        self.settings
            .send_modify(|settings| settings.way_mut(direction).chunk = Some(size));
    }

    /// Sends a frame of the test's own to the client of every connection that is open, before the next frame that
    /// the broker begins. It has to be whole, and connections have to be plain: the proxy follows their frames.
    pub fn inject(&self, frame: Bytes) {
        self.settings
            .send_modify(|settings| Arc::make_mut(&mut settings.injected).push(frame));
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        *self.shared.counts.borrow()
    }

    /// Waits until the counts are as they should be, and returns them.
    pub async fn until(&self, is_so: impl FnMut(&Counts) -> bool) -> Counts {
        let mut counts = self.shared.counts.subscribe();
        match timeout(PATIENCE, counts.wait_for(is_so)).await {
            Ok(counts) => *counts.expect("the sender is borrowed"),
            Err(_) => panic!("waited in vain for {:?} to change", self.counts()),
        }
    }

    /// Waits until so many connections have been accepted in all.
    pub async fn accepted(&self, connections: u64) -> Counts {
        self.until(|counts| counts.accepted >= connections).await
    }

    /// Waits until exactly so many connections are open.
    pub async fn open(&self, connections: u64) -> Counts {
        self.until(|counts| counts.open == connections).await
    }

    /// Waits until so many bytes in all have been handed on in this direction.
    pub async fn forwarded(&self, direction: Direction, bytes: u64) -> Counts {
        self.until(|counts| counts.bytes(direction) >= bytes).await
    }

    fn flow(&self, direction: Direction, flow: Flow) {
        self.settings
            .send_modify(|settings| settings.way_mut(direction).flow = flow);
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>, settings: watch::Receiver<Settings>) {
    let mut relays = JoinSet::new();
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = relays.join_next() => continue,
        };
        let Ok((client, _)) = client else { continue };
        match connect(&settings).await {
            Some(broker) => {
                // A relay knows what was said before it was counted.
                let relay = Relay::new(client, broker, Arc::clone(&shared), settings.clone());
                shared.counts.send_modify(|counts| {
                    counts.accepted += 1;
                    counts.open += 1;
                });
                relays.spawn(relay.run());
            }
            None => {
                let _ = client.set_zero_linger();
                drop(client);
                shared.counts.send_modify(|counts| counts.refused += 1);
            }
        }
    }
}

/// A connection to the broker, if there shall be one and it can be had.
async fn connect(settings: &watch::Receiver<Settings>) -> Option<TcpStream> {
    let settings = settings.borrow().clone();
    if settings.refuses {
        return None;
    }
    TcpStream::connect(settings.upstream).await.ok()
}
