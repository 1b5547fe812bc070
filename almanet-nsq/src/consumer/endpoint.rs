//! A consumer as each of its connections sees it.

use std::{
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use almanet_nsq_proto::{CLOSE_WAIT, Frame, FrameError, IdentifyResponse, Message, MessageHead, OK};
use bytes::Bytes;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::coop,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    burst::{Batch, Bursts},
    delivery::Delivery,
    expected::Expected,
    flow::Flow,
    give_up::LastResort,
    held::Held,
    link::{Answers, Link},
    lost::LostNodes,
    ready::Ready,
    window::AdaptiveWindow,
};
use crate::{
    config::{ConnectionConfig, LONGEST, Window},
    connection::{ConnectionRole, Ended, Endpoint, Established, Incoming, Lost, Outgoing, Purpose, connect},
    error::ConnectError,
};

/// A message that is too large is requeued with a delay that doubles with each attempt, within these bounds: another
/// consumer may take it, and this one should not be busy with it.
const TOO_LARGE_DELAY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

/// nsqd's defaults, for a broker that does not say.
const DEFAULT_MSG_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_MAX_READY: usize = 2500;

#[derive(Debug)]
pub(super) struct ConsumerEndpoint {
    pub(super) address: Arc<str>,
    pub(super) config: ConnectionConfig,
    pub(super) purpose: Purpose,
    pub(super) window: Window,
    /// How many messages are still to come, as far as somebody knows.
    pub(super) expected: Option<Expected>,
    pub(super) ready: Arc<Ready>,
    pub(super) deliveries: mpsc::Sender<Delivery>,
    /// For how long deliveries are touched.
    pub(super) auto_touch: Option<Duration>,
    pub(super) last_resort: LastResort,
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

    fn role(&self) -> ConnectionRole {
        self.purpose.role()
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
            last_resort: self.last_resort.clone(),
            bursts: Bursts::default(),
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
            Ok(millis @ 1..) => Duration::from_millis(millis).min(LONGEST),
            _ => DEFAULT_MSG_TIMEOUT,
        };
        let max_ready = match usize::try_from(granted.max_rdy_count) {
            Ok(count @ 1..) => count,
            _ => DEFAULT_MAX_READY,
        };
        let (window, max_ready) = match self.window {
            Window::Adaptive if granted.flushes_when_idle => {
                (Some(AdaptiveWindow::unbuffered(Instant::now())), max_ready)
            }
            Window::Adaptive => {
                let window = AdaptiveWindow::new(Instant::now(), self.expected.clone());
                (Some(window), max_ready)
            }
            Window::Fixed(count) => (None, max_ready.min(count.max(1))),
            Window::Unbuffered => (None, max_ready),
        };
        let held = self.auto_touch.map(|longest| Held::new(msg_timeout, longest));
        let (address, outcomes) = (Arc::clone(&self.address), Arc::clone(&self.ready.outcomes));
        let max_message_size = self.config.max_message_size;
        let flow = Flow::new(window);
        Link::new(
            address,
            msg_timeout,
            max_ready,
            max_message_size,
            flow,
            held,
            outcomes,
        )
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
    last_resort: LastResort,
    bursts: Bursts,
}

impl Incoming for Arrivals {
    async fn receive(&mut self, frames: &mut Vec<Frame>) -> Result<(), Lost> {
        let (now, round) = (Instant::now(), self.link.outcomes.round());
        self.count(frames, now);
        for frame in frames.drain(..) {
            match frame {
                Frame::Message(message) => {
                    let is_spent = self.last_resort.is_due(message.attempts);
                    let delivery = Delivery::new(message, Arc::clone(&self.link), now, round);
                    // Once the consumer closes or lets go of the broker, what still arrives is dropped here, and so
                    // requeued.
                    if self.link.is_wanted() && is_spent {
                        self.give_up(delivery, now);
                    } else if self.link.is_wanted() {
                        self.hand_over(delivery).await;
                    }
                }
                Frame::Response(text) if text == CLOSE_WAIT => self.link.unsubscribed(),
                Frame::Response(text) if text == OK && self.link.confirmed() => {}
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

    fn too_large(&mut self, error: FrameError) -> Result<(), Lost> {
        let FrameError::MessageTooLarge { head, size, .. } = error else {
            return Err(Lost::Garbage(error));
        };
        let MessageHead {
            timestamp,
            attempts,
            id,
        } = head;
        let message = Message {
            timestamp,
            attempts,
            id,
            body: Bytes::new(),
        };
        let (now, round) = (Instant::now(), self.link.outcomes.round());
        self.link.received(now, &Batch::new(1, None));
        let delivery = Delivery::new(message, Arc::clone(&self.link), now, round).skipped(size);
        if self.last_resort.is_due(attempts) {
            self.give_up(delivery, now);
            return Ok(());
        }
        let delay = too_large_delay(attempts);
        error!(address = %self.link.address, %error, attempts, ?delay, "requeueing a message that is too large");
        // On a connection that is gone there is nothing to give back: the broker delivers the message again.
        let _ = delivery.requeue_without_backoff(delay);
        Ok(())
    }
}

impl Arrivals {
    /// Waits for a place in the queue, where there is none at once.
    async fn hand_over(&self, delivery: Delivery) {
        let Err(TrySendError::Full(delivery)) = self.deliveries.try_send(delivery) else {
            // Whoever takes them may begin before the last of many is there.
            return coop::consume_budget().await;
        };
        tokio::select! {
            biased;
            _ = self.deliveries.send(delivery) => {}
            () = self.link.released() => {}
        }
    }

    fn give_up(&self, delivery: Delivery, now: Instant) {
        delivery.count_as_failed();
        if let Some(delivery) = delivery.take(now) {
            self.last_resort.give_up(delivery);
        }
    }

    /// Counts the messages before the first of them is handed out.
    fn count(&mut self, frames: &[Frame], now: Instant) {
        let messages = frames.iter().filter_map(|frame| match frame {
            Frame::Message(message) => Some(message),
            Frame::Response(_) | Frame::Error(_) => None,
        });
        let timestamps = messages.clone().map(|message| message.timestamp);
        let (count, youngest) = messages.fold((0, None), |(count, youngest), message| {
            // What is delivered again has waited for its consumer, not for its place in a write.
            let timestamp = (message.attempts <= 1).then_some(message.timestamp);
            (count + 1, youngest.max(timestamp))
        });
        if count > 0 {
            let age = youngest.map(|timestamp| unix_nanos().saturating_sub(timestamp));
            let mut batch = Batch::new(count, age);
            self.bursts.note(&mut batch, timestamps);
            self.link.received(now, &batch);
        }
    }
}

fn too_large_delay(attempts: u16) -> Duration {
    let doublings = u32::from(attempts.saturating_sub(1));
    let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
    TOO_LARGE_DELAY
        .start()
        .saturating_mul(factor)
        .min(*TOO_LARGE_DELAY.end())
}

fn unix_nanos() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
