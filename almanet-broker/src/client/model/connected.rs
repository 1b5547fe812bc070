//! A client's side and the broker's side of a connection that has no socket.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock},
};

use almanet_nsq_proto::{Command, CommandDecoder, Frame, FrameDecoder, Identify, MAGIC_V2};

use crate::{
    BrokerConfig,
    channel::SubscriberId,
    client::{
        handler::{Handler, Stop},
        output::Output,
        reader::Received,
        subscription::Subscription,
    },
    registry::Registry,
    step::Step,
};

pub(super) struct Client {
    handler: Handler,
    received: Received,
    output: Arc<Output>,
    subscription: Arc<OnceLock<Subscription>>,
}

impl Client {
    /// Connects and says how long it takes for a message, in milliseconds.
    pub(super) fn connect(
        id: SubscriberId,
        timeout: u64,
        config: &Arc<BrokerConfig>,
        registry: &Arc<Registry>,
        step: &mut Step,
    ) -> Self {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let entry = registry.connections().enter(id, peer);
        let output = Output::upgraded();
        let subscription = Arc::new(OnceLock::new());
        let handler = Handler::new(
            Arc::clone(config),
            Arc::clone(registry),
            Arc::clone(&output),
            Arc::clone(entry.connection()),
            Arc::clone(&subscription),
        );
        let mut new = Self {
            handler,
            received: Received::new(CommandDecoder::new(config.limits()), registry.memory()),
            output,
            subscription,
        };
        new.received.buffer.extend_from_slice(MAGIC_V2);
        let identify = Identify {
            msg_timeout: i64::try_from(timeout).ok(),
            ..Identify::default()
        };
        assert!(!new.say(&Command::Identify(Box::new(identify)), step));
        new
    }

    /// Sends a command; says whether that ends the connection.
    pub(super) fn say(&mut self, command: &Command, step: &mut Step) -> bool {
        command.encode(&mut self.received.buffer);
        match self.received.execute(&mut self.handler, step) {
            Ok(_) => false,
            Err(Stop::Refused(refusal)) => {
                self.handler.refuse(refusal, step);
                true
            }
            Err(stop) => panic!("{stop:?}"),
        }
    }

    /// Reads what came.
    pub(super) fn hear(&self) -> Vec<Frame> {
        let mut buffer = self.output.take().unwrap_or_default();
        self.output.sent();
        let mut decoder = FrameDecoder::new(1 << 20);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
            frames.push(frame);
        }
        assert!(buffer.is_empty(), "half a frame");
        frames
    }

    /// The end of the connection, as the broker sees it.
    pub(super) fn leave(&self, registry: &Registry, step: &mut Step) {
        if let Some(subscription) = self.subscription.get() {
            subscription.leave(registry, step);
        }
    }

    /// Whether the broker has ended the connection.
    pub(super) fn is_ended(&self) -> bool {
        self.output.is_ended()
    }
}

/// The type of a frame and what it says.
pub(super) fn text(frame: &Frame) -> (i32, String) {
    match frame {
        Frame::Response(body) => (0, String::from_utf8_lossy(body).into_owned()),
        Frame::Error(error) => (1, error.to_string()),
        Frame::Message(message) => (2, message.id.to_string()),
    }
}

/// nsqd's words for an answer that does not count.
pub(super) fn refusal(command: &Command, reason: &str) -> String {
    match command {
        Command::Fin(id) => format!("E_FIN_FAILED FIN {id} failed {reason}"),
        Command::Req { id, .. } => format!("E_REQ_FAILED REQ {id} failed {reason}"),
        Command::Touch(id) => format!("E_TOUCH_FAILED TOUCH {id} failed {reason}"),
        command => panic!("{command:?} is not refused so"),
    }
}
