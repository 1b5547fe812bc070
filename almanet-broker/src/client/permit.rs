//! What a client may do once it has shown a secret.

use std::time::Instant;

use almanet_nsq_proto::{ChannelName, Command, ErrorCode, ProtocolError, Secret, TopicName};

use crate::auth::{Auth, Grant};

/// What a client of a broker with AUTH may do.
#[derive(Debug)]
pub(super) struct Permit {
    pub(super) auth: Auth,
    shown: Option<Shown>,
}

#[derive(Debug)]
struct Shown {
    secret: Secret,
    grant: Grant,
}

/// What is known about a command's permission.
pub(super) enum Verdict {
    Allowed,
    Refused(ProtocolError),
    /// What was known is too old: it has to be asked again with this secret.
    Expired(Secret),
}

impl Permit {
    pub(super) fn new(auth: Auth) -> Self {
        Self { auth, shown: None }
    }

    /// Whether a secret was shown that allows anything.
    pub(super) fn is_authorized(&self) -> bool {
        self.grant().is_some()
    }

    fn grant(&self) -> Option<&Shown> {
        self.shown
            .as_ref()
            .filter(|shown| shown.grant.permission_count() > 0)
    }

    /// Keeps what a secret allows.
    pub(super) fn keep(&mut self, secret: Secret, grant: Grant) -> &Grant {
        &self.shown.insert(Shown { secret, grant }).grant
    }

    /// Whether `command` is allowed at `now`.
    pub(super) fn check(&self, command: &Command, now: Instant) -> Verdict {
        let (name, topic, channel) = match command {
            Command::Sub { topic, channel } => ("SUB", topic, Some(channel)),
            Command::Pub { topic, .. } => ("PUB", topic, None),
            Command::Mpub { topic, .. } => ("MPUB", topic, None),
            Command::Dpub { topic, .. } => ("DPUB", topic, None),
            _ => return Verdict::Allowed,
        };
        if let Some(shown) = self.grant()
            && shown.grant.is_expired(now)
        {
            return Verdict::Expired(shown.secret.clone());
        }
        match self.check_known(name, topic, channel) {
            Ok(()) => Verdict::Allowed,
            Err(refusal) => Verdict::Refused(refusal),
        }
    }

    /// Whether what is known allows the command `name`, as long as it is not too old to count.
    pub(super) fn check_known(
        &self,
        name: &str,
        topic: &TopicName,
        channel: Option<&ChannelName>,
    ) -> Result<(), ProtocolError> {
        let Some(shown) = self.grant() else {
            return Err(ProtocolError::new(
                ErrorCode::AuthFirst,
                format!("AUTH required before {name}"),
            ));
        };
        let channel = channel.map(ChannelName::as_str);
        if shown.grant.is_expired(Instant::now()) || shown.grant.allows(topic.as_str(), channel) {
            return Ok(());
        }
        let channel = channel.unwrap_or_default();
        Err(ProtocolError::new(
            ErrorCode::Unauthorized,
            format!("AUTH failed for {name} on \"{topic}\" \"{channel}\""),
        ))
    }
}
