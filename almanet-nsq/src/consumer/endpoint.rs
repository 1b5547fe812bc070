//! A consumer as each of its connections sees it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use almanet_nsq_proto::{CLOSE_WAIT, Frame, IdentifyResponse};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    delivery::Delivery,
    flow::Flow,
    link::{Answers, Link},
    lost::LostNodes,
    ready::Ready,
    window::AdaptiveWindow,
};
use crate::{
    config::{ConnectionConfig, Window},
    connection::{Ended, Endpoint, Established, Incoming, Lost, Outgoing, Purpose, connect},
    error::ConnectError,
};

/// nsqd's defaults, for a broker that does not say.
const DEFAULT_MSG_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_MAX_READY: usize = 2500;

#[derive(Debug)]
pub(super) struct ConsumerEndpoint {
    pub(super) address: Arc<str>,
    pub(super) config: ConnectionConfig,
    pub(super) purpose: Purpose,
    pub(super) window: Window,
    pub(super) ready: Arc<Ready>,
    pub(super) deliveries: mpsc::Sender<Delivery>,
    /// Who is told when the connection has ended.
    pub(super) lost: Arc<LostNodes>,
    /// Cancelled when no further messages are wanted from this broker.
    pub(super) let_go: CancellationToken,
    /// The connection that is there.
    pub(super) link: Option<Arc<Link>>,
}

impl Endpoint for ConsumerEndpoint {
    fn address(&self) -> &str {
        &self.address
    }

    fn config(&self) -> &ConnectionConfig {
        &self.config
    }

    async fn establish(&self) -> Result<Established, ConnectError> {
        connect(&self.address, &self.config, &self.purpose).await
    }

    fn open(&mut self, established: &Established) -> (impl Outgoing + use<>, impl Incoming + use<>) {
        let link = Arc::new(self.link(&established.granted));
        self.ready.join(Arc::clone(&link), &self.let_go);
        self.link = Some(Arc::clone(&link));
        let arrivals = Arrivals {
            link: Arc::clone(&link),
            deliveries: self.deliveries.clone(),
        };
        (Answers::new(link), arrivals)
    }

    fn shut(&mut self, _ended: &Ended) {
        self.lose();
    }
}

impl ConsumerEndpoint {
    fn link(&self, granted: &IdentifyResponse) -> Link {
        let msg_timeout = match u64::try_from(granted.msg_timeout) {
            Ok(millis @ 1..) => Duration::from_millis(millis),
            _ => DEFAULT_MSG_TIMEOUT,
        };
        let max_ready = match usize::try_from(granted.max_rdy_count) {
            Ok(count @ 1..) => count,
            _ => DEFAULT_MAX_READY,
        };
        let (window, max_ready) = match self.window {
            Window::Adaptive if !granted.flushes_when_idle => {
                (Some(AdaptiveWindow::new(Instant::now())), max_ready)
            }
            Window::Fixed(count) => (None, max_ready.min(count.max(1))),
            Window::Adaptive | Window::Unbuffered => (None, max_ready),
        };
        let address = Arc::clone(&self.address);
        Link::new(address, msg_timeout, max_ready, Flow::new(window))
    }

    fn lose(&mut self) {
        if let Some(link) = self.link.take() {
            link.lose();
            self.ready.leave(&link);
            self.lost.note(&self.address);
        }
    }
}

impl Drop for ConsumerEndpoint {
    /// Without this end of it no answer would ever leave, even if only the runtime went away.
    fn drop(&mut self) {
        self.lose();
    }
}

/// What becomes of what a consumer's connection reads.
#[derive(Debug)]
struct Arrivals {
    link: Arc<Link>,
    deliveries: mpsc::Sender<Delivery>,
}

impl Incoming for Arrivals {
    async fn receive(&mut self, frames: &mut Vec<Frame>) -> Result<(), Lost> {
        self.count(frames);
        for frame in frames.drain(..) {
            match frame {
                Frame::Message(message) => {
                    let delivery = Delivery::new(message, Arc::clone(&self.link));
                    // Once the consumer closes or lets go of the broker, what still arrives is dropped here, and so
                    // requeued.
                    if self.link.is_wanted() {
                        tokio::select! {
                            biased;
                            _ = self.deliveries.send(delivery) => {}
                            () = self.link.released() => {}
                        }
                    }
                }
                Frame::Response(text) if text == CLOSE_WAIT => self.link.unsubscribed(),
                Frame::Response(_) => return Err(Lost::Unasked),
                Frame::Error(error) if error.is_fatal() => return Err(Lost::Refused(error)),
                Frame::Error(error) => {
                    // nsqd names the message in the text. It had timed out, and is delivered again.
                    warn!(address = %self.link.address, %error, "an answer came too late");
                }
            }
        }
        // Whoever takes the messages may answer them before this is written, and then has it written with that.
        self.link.flush();
        Ok(())
    }
}

impl Arrivals {
    /// Counts the messages before the first of them is handed out.
    fn count(&self, frames: &[Frame]) {
        let messages = frames.iter().filter_map(|frame| match frame {
            Frame::Message(message) => Some(message),
            Frame::Response(_) | Frame::Error(_) => None,
        });
        let (count, youngest) = messages.fold((0, None), |(count, youngest), message| {
            // What is delivered again has waited for its consumer, not for its place in a write.
            let timestamp = (message.attempts <= 1).then_some(message.timestamp);
            (count + 1, youngest.max(timestamp))
        });
        if count > 0 {
            let age = youngest.map(|timestamp| unix_nanos().saturating_sub(timestamp));
            self.link.received(Instant::now(), count, age);
        }
    }
}

fn unix_nanos() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
