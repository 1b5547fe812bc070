//! What each command does.

use std::{
    fmt, slice,
    sync::{Arc, OnceLock},
    time::Duration,
};

use almanet_nsq_proto::{
    CLOSE_WAIT, ChannelName, Command, ErrorCode, Frame, Identify, MessageId, OK, ProtocolError, Secret,
    TopicName,
};
use bytes::Bytes;
use serde::Serialize;
#[cfg(feature = "tls")]
use tokio_rustls::rustls::ServerConnection;

use super::{
    gate::State,
    inbox::Inbox,
    negotiate::Settings,
    output::Output,
    permit::{Permit, Verdict},
    subscription::Subscription,
    upgrade::Upgrade,
};
#[cfg(feature = "tls")]
use crate::tls;
use crate::{
    auth::{AskError, Asker, Auth, Grant},
    channel::{NotInFlight, Subscriber},
    config::BrokerConfig,
    connections::{Compression, Connection},
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
    /// `None` when the broker asks for no AUTH.
    permit: Option<Permit>,
    /// What is known about the client beside what it says.
    asker: Asker,
    is_upgraded: bool,
    /// The topic that was published to last: the next publish mostly goes there too.
    last_topic: Option<Arc<Topic>>,
}

/// Why the next command is not executed yet, or never.
#[derive(Debug)]
pub(super) enum Stop {
    /// The client shall get this refusal.
    Refused(ProtocolError),
    /// The connection changes its form first.
    Upgrade(Box<Upgrade>),
    /// Somebody has to be asked first; then the handler [resumes](Handler::resume).
    Ask(Box<Question>),
}

impl From<ProtocolError> for Stop {
    fn from(refusal: ProtocolError) -> Self {
        Self::Refused(refusal)
    }
}

/// What a secret allows.
#[derive(Debug)]
pub(super) struct Question {
    auth: Auth,
    config: Arc<BrokerConfig>,
    asker: Asker,
    secret: Secret,
    /// The command that waits for the answer, unless it is AUTH itself.
    command: Option<Command>,
}

impl Question {
    pub(super) async fn ask(&self) -> Result<Grant, AskError> {
        let client = &self.config.http_client;
        self.auth.ask(&self.secret, &self.asker, client).await
    }
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
            permit: config.auth.clone().map(Permit::new),
            config,
            registry,
            output,
            asker: Asker::new(connection.peer().ip()),
            connection,
            state: State::Init,
            subscription,
            is_upgraded: false,
            last_topic: None,
        }
    }

    pub(super) fn heartbeat_interval(&self) -> Option<Duration> {
        self.settings.heartbeat_interval
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn permit(&self) -> Option<&Permit> {
        self.permit.as_ref()
    }

    /// Notes that the connection is encrypted, and what TLS tells about the client.
    #[cfg(feature = "tls")]
    pub(super) fn secured(&mut self, connection: &ServerConnection) {
        self.asker.tls = true;
        self.asker.common_name = tls::common_name(connection);
        self.connection
            .describe(|description| description.tls = Some(tls::describe(connection)));
    }

    /// Notes that the connection is compressed.
    pub(super) fn compressed(&mut self, compression: Compression) {
        self.connection
            .describe(|description| description.compression = Some(compression));
    }

    /// Whether the client has to change to TLS before anything else.
    pub(super) fn lacks_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.config.tls {
            return tls.is_required() && !self.asker.tls;
        }
        false
    }

    /// Writes into `output` from now on, the one of the upgraded connection.
    pub(super) fn change_output(&mut self, output: Arc<Output>) {
        self.output = output;
        self.is_upgraded = true;
    }

    /// Executes a command and writes its answer, if it has one.
    ///
    /// # Errors
    ///
    /// What has to be done first. After a refusal the connection ends if it [is fatal](ProtocolError::is_fatal).
    pub(super) fn execute(&mut self, command: Command, step: &mut Step) -> Result<(), Stop> {
        if let Some(permit) = &self.permit {
            match permit.check(&command, step.now) {
                Verdict::Allowed => {}
                Verdict::Refused(refusal) => return Err(refusal.into()),
                Verdict::Expired(secret) => return Err(self.question(permit, secret, Some(command))),
            }
        }
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
            Command::Auth(secret) => return Err(self.authenticate(secret)),
            Command::Cls => {
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

    fn identify(&mut self, identify: &Identify, step: &mut Step) -> Result<(), Stop> {
        self.settings.apply(identify, &self.config)?;
        self.connection.describe(|description| {
            description.client_id = identify.client_id.clone().unwrap_or_default();
            description.hostname = identify.hostname.clone().unwrap_or_default();
            description.user_agent = identify.user_agent.clone().unwrap_or_default();
            description.sample_rate = self.settings.sample_rate;
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
        let (response, upgrade) = self.settings.negotiate(identify, &self.config)?;
        let failed =
            |cause: &str| ProtocolError::new(ErrorCode::IdentifyFailed, format!("IDENTIFY failed {cause}"));
        if self.is_upgraded && !upgrade.is_none() {
            return Err(failed("the connection is upgraded already").into());
        }
        self.respond_json(&response, step)
            .map_err(|error| failed(&error.to_string()))?;
        if upgrade.is_none() {
            return Ok(());
        }
        Err(Stop::Upgrade(Box::new(upgrade)))
    }

    fn authenticate(&self, secret: Secret) -> Stop {
        match &self.permit {
            Some(permit) if permit.is_authorized() => invalid("AUTH already set").into(),
            Some(permit) => self.question(permit, secret, None),
            None => ProtocolError::new(ErrorCode::AuthDisabled, "AUTH disabled").into(),
        }
    }

    fn question(&self, permit: &Permit, secret: Secret, command: Option<Command>) -> Stop {
        Stop::Ask(Box::new(Question {
            auth: permit.auth.clone(),
            config: Arc::clone(&self.config),
            asker: self.asker.clone(),
            secret,
            command,
        }))
    }

    /// Goes on where a question had stopped it.
    ///
    /// # Errors
    ///
    /// As [`execute`](Self::execute).
    pub(super) fn resume(
        &mut self,
        question: Question,
        answer: Result<Grant, AskError>,
        step: &mut Step,
    ) -> Result<(), Stop> {
        let grant = answer.map_err(|error| {
            // Only the log hears why: it is not the client's business.
            tracing::warn!(connection = self.connection.id().0, client = %self.asker.remote_ip, "AUTH failed: {error}");
            ProtocolError::new(ErrorCode::AuthFailed, "AUTH failed")
        })?;
        let Some(permit) = &mut self.permit else {
            return Ok(());
        };
        let grant = permit.keep(question.secret, grant);
        self.connection
            .describe(|description| description.identity = grant.identity().map(Box::new));
        if let Some(command) = question.command {
            return self.execute(command, step);
        }
        if grant.permission_count() == 0 {
            let words = "AUTH no authorizations found";
            return Err(ProtocolError::new(ErrorCode::Unauthorized, words).into());
        }
        let response = grant.response();
        self.respond_json(&response, step)
            .map_err(|error| ProtocolError::new(ErrorCode::AuthError, format!("AUTH error {error}")))?;
        Ok(())
    }

    fn respond_json(&self, response: &impl Serialize, step: &mut Step) -> Result<(), serde_json::Error> {
        let body = serde_json::to_vec(response)?;
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
        let subscription = self
            .join(topic, channel)
            .map_err(|reached| self.no_room(ErrorCode::SubFailed, "SUB", &reached, step))?;
        if self.subscription.set(subscription).is_err() {
            return Err(wrong_state("SUB"));
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
    pub(super) fn no_room(
        &self,
        code: ErrorCode,
        command: impl fmt::Display,
        reached: &LimitReached,
        step: &Step,
    ) -> ProtocolError {
        self.registry.limit_log().report(reached, step.now);
        ProtocolError::new(code, format!("{command} failed {reached}"))
    }

    fn subscription(&self, command: &str) -> Result<&Subscription, ProtocolError> {
        self.subscription.get().ok_or_else(|| wrong_state(command))
    }
}

pub(super) fn invalid(description: impl Into<String>) -> ProtocolError {
    ProtocolError::new(ErrorCode::Invalid, description)
}

pub(super) fn wrong_state(command: impl fmt::Display) -> ProtocolError {
    invalid(format!("cannot {command} in current state"))
}

fn failed(code: ErrorCode, command: &str, id: &MessageId, reason: NotInFlight) -> ProtocolError {
    ProtocolError::new(code, format!("{command} {id} failed {reason}"))
}
