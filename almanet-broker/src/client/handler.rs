//! What each command does, and in which state of the connection it may come.

use std::{
    slice,
    sync::{Arc, OnceLock},
    time::Duration,
};

use almanet_nsq_proto::{
    CLOSE_WAIT, ChannelName, Command, ErrorCode, Frame, Identify, MessageId, OK, ProtocolError, TopicName,
};
use bytes::Bytes;

use super::{inbox::Inbox, negotiate::Settings, output::Output, subscription::Subscription};
use crate::{
    channel::{NotInFlight, Subscriber},
    config::BrokerConfig,
    connections::{Connection, Description},
    limits::LimitReached,
    registry::Registry,
    step::Step,
    topic::{Topic, TopicError},
};

/// Executes the commands of one client.
#[derive(Debug)]
pub(super) struct Handler {
    config: Arc<BrokerConfig>,
    registry: Arc<Registry>,
    output: Arc<Output>,
    connection: Arc<Connection>,
    settings: Settings,
    state: State,
    subscription: Arc<OnceLock<Subscription>>,
    /// The topic that was published to last: the next publish mostly goes there too.
    last_topic: Option<Arc<Topic>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is subscribed.
    Init,
    Subscribed,
    /// After CLS: no more messages, but answers to those in flight.
    Closing,
}

impl Handler {
    pub(super) fn new(
        config: Arc<BrokerConfig>,
        registry: Arc<Registry>,
        output: Arc<Output>,
        connection: Arc<Connection>,
        subscription: Arc<OnceLock<Subscription>>,
    ) -> Self {
        Self {
            settings: Settings::new(&config),
            config,
            registry,
            output,
            connection,
            state: State::Init,
            subscription,
            last_topic: None,
        }
    }

    pub(super) fn heartbeat_interval(&self) -> Option<Duration> {
        self.settings.heartbeat_interval
    }

    /// Executes a command and writes its answer, if it has one.
    ///
    /// # Errors
    ///
    /// The refusal that the client shall get. Afterwards the connection ends if it
    /// [is fatal](ProtocolError::is_fatal).
    pub(super) fn execute(&mut self, command: Command, step: &mut Step) -> Result<(), ProtocolError> {
        match command {
            Command::Pub { topic, body } => {
                let bodies = slice::from_ref(&body);
                self.publish(&topic, bodies, None, step)
                    .map_err(|reached| self.no_room(ErrorCode::PubFailed, "PUB", &reached, step))?;
                self.respond(OK, step);
            }
            Command::Fin(id) => {
                let subscription = self.subscription("FIN")?;
                subscription
                    .finish(&id, step)
                    .map_err(|reason| failed(ErrorCode::FinFailed, "FIN", &id, reason))?;
            }
            Command::Rdy(count) => self.ready(count, step)?,
            Command::Mpub { topic, bodies } => {
                self.publish(&topic, &bodies, None, step)
                    .map_err(|reached| self.no_room(ErrorCode::MpubFailed, "MPUB", &reached, step))?;
                self.respond(OK, step);
            }
            Command::Dpub { topic, delay, body } => {
                self.check_delay(delay)?;
                let bodies = slice::from_ref(&body);
                self.publish(&topic, bodies, Some(delay), step)
                    .map_err(|reached| self.no_room(ErrorCode::DpubFailed, "DPUB", &reached, step))?;
                self.respond(OK, step);
            }
            Command::Req { id, delay } => {
                let subscription = self.subscription("REQ")?;
                // A delay beyond the maximum is cut to it, where DPUB refuses it: nsqd's rule.
                let delay = delay.min(self.config.max_requeue_timeout);
                subscription
                    .requeue(&id, delay, step)
                    .map_err(|reason| failed(ErrorCode::ReqFailed, "REQ", &id, reason))?;
            }
            Command::Touch(id) => {
                let subscription = self.subscription("TOUCH")?;
                subscription
                    .touch(&id, step)
                    .map_err(|reason| failed(ErrorCode::TouchFailed, "TOUCH", &id, reason))?;
            }
            Command::Sub { topic, channel } => self.subscribe(&topic, &channel, step)?,
            Command::Identify(identify) => self.identify(&identify, step)?,
            Command::Auth(_) => {
                self.require(State::Init, "AUTH")?;
                return Err(ProtocolError::new(ErrorCode::AuthDisabled, "AUTH disabled"));
            }
            Command::Cls => {
                self.require(State::Subscribed, "CLS")?;
                self.subscription("CLS")?.close();
                self.state = State::Closing;
                self.respond(CLOSE_WAIT, step);
            }
            Command::Nop => {}
        }
        Ok(())
    }

    /// Writes a refusal.
    pub(super) fn refuse(&self, refusal: ProtocolError, step: &mut Step) {
        self.output.write(&Frame::Error(refusal), &mut step.touched);
    }

    fn respond(&self, response: &'static [u8], step: &mut Step) {
        let frame = Frame::Response(Bytes::from_static(response));
        self.output.write(&frame, &mut step.touched);
    }

    fn identify(&mut self, identify: &Identify, step: &mut Step) -> Result<(), ProtocolError> {
        self.require(State::Init, "IDENTIFY")?;
        self.settings.apply(identify, &self.config)?;
        self.connection.describe(Description {
            client_id: identify.client_id.clone().unwrap_or_default(),
            hostname: identify.hostname.clone().unwrap_or_default(),
            user_agent: identify.user_agent.clone().unwrap_or_default(),
            sample_rate: self.settings.sample_rate,
        });
        tracing::debug!(
            connection = self.connection.id().0,
            ?identify,
            "client identified"
        );
        if !identify.feature_negotiation.unwrap_or(false) {
            self.respond(OK, step);
            return Ok(());
        }
        let response = self.settings.response(&self.config);
        let body = serde_json::to_vec(&response).map_err(|error| {
            ProtocolError::new(ErrorCode::IdentifyFailed, format!("IDENTIFY failed {error}"))
        })?;
        self.output
            .write(&Frame::Response(body.into()), &mut step.touched);
        Ok(())
    }

    fn subscribe(
        &mut self,
        topic: &TopicName,
        channel: &ChannelName,
        step: &mut Step,
    ) -> Result<(), ProtocolError> {
        self.require(State::Init, "SUB")?;
        if self.settings.heartbeat_interval.is_none() {
            return Err(invalid("cannot SUB with heartbeats disabled"));
        }
        let subscription = self
            .join(topic, channel)
            .map_err(|reached| self.no_room(ErrorCode::SubFailed, "SUB", &reached, step))?;
        if self.subscription.set(subscription).is_err() {
            return Err(invalid("cannot SUB in current state"));
        }
        self.state = State::Subscribed;
        self.respond(OK, step);
        Ok(())
    }

    fn join(&self, name: &TopicName, channel: &ChannelName) -> Result<Subscription, LimitReached> {
        loop {
            let topic = self.registry.topic(name)?;
            let inbox = Inbox::new(Arc::clone(&self.output), self.settings.sample_rate);
            let subscriber = Subscriber::new(inbox, self.settings.message_timeout);
            match topic.subscribe(channel, self.connection.id(), subscriber) {
                Ok(key) => return Ok(Subscription::new(topic, key, self.connection.id())),
                // Whoever made it vanish is about to do this too; once it is done, a new topic can be made.
                Err(TopicError::Gone) => self.registry.forget(&topic),
                Err(TopicError::Limit(reached)) => return Err(reached),
            }
        }
    }

    fn ready(&self, count: u64, step: &mut Step) -> Result<(), ProtocolError> {
        // A RDY that crosses the CLS is let pass, as in nsqd.
        if self.state == State::Closing {
            return Ok(());
        }
        let subscription = self.subscription("RDY")?;
        let most = self.config.max_ready_count;
        if count > most {
            return Err(invalid(format!("RDY count {count} out of range 0-{most}")));
        }
        subscription.ready(count, step);
        Ok(())
    }

    fn publish(
        &mut self,
        name: &TopicName,
        bodies: &[Bytes],
        delay: Option<Duration>,
        step: &mut Step,
    ) -> Result<(), LimitReached> {
        loop {
            let topic = match self.last_topic.take() {
                Some(last) if last.name() == name => last,
                _ => self.registry.topic(name)?,
            };
            match topic.publish(bodies, delay, step) {
                Ok(()) => {
                    self.connection.count_published(name, bodies.len() as u64);
                    self.last_topic = Some(topic);
                    return Ok(());
                }
                Err(TopicError::Gone) => self.registry.forget(&topic),
                Err(TopicError::Limit(reached)) => return Err(reached),
            }
        }
    }

    /// The refusal for a limit, which the log hears of too.
    fn no_room(&self, code: ErrorCode, command: &str, reached: &LimitReached, step: &Step) -> ProtocolError {
        self.registry.limit_log().report(reached, step.now);
        ProtocolError::new(code, format!("{command} failed {reached}"))
    }

    fn check_delay(&self, delay: Duration) -> Result<(), ProtocolError> {
        let most = self.config.max_requeue_timeout;
        if delay > most {
            return Err(invalid(format!(
                "DPUB timeout {} out of range 0-{}",
                delay.as_millis(),
                most.as_millis()
            )));
        }
        Ok(())
    }

    fn require(&self, state: State, command: &str) -> Result<(), ProtocolError> {
        if self.state == state {
            Ok(())
        } else {
            Err(wrong_state(command))
        }
    }

    fn subscription(&self, command: &str) -> Result<&Subscription, ProtocolError> {
        self.subscription.get().ok_or_else(|| wrong_state(command))
    }
}

fn invalid(description: impl Into<String>) -> ProtocolError {
    ProtocolError::new(ErrorCode::Invalid, description)
}

fn wrong_state(command: &str) -> ProtocolError {
    invalid(format!("cannot {command} in current state"))
}

fn failed(code: ErrorCode, command: &str, id: &MessageId, reason: NotInFlight) -> ProtocolError {
    ProtocolError::new(code, format!("{command} {id} failed {reason}"))
}
