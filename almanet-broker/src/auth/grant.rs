//! What a secret allows.

use std::time::{Duration, Instant};

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::{channel::after, connections::Identity};

/// What a secret allows, and until when that is known.
#[derive(Debug)]
pub(crate) struct Grant {
    identity: String,
    identity_url: String,
    authorizations: Vec<Authorization>,
    /// `None` for ever.
    expires: Option<Instant>,
}

/// Some topics and channels, and what may be done with them.
#[derive(Debug)]
struct Authorization {
    topic: Regex,
    channels: Vec<Regex>,
    publish: bool,
    subscribe: bool,
}

/// The answer to AUTH, with nsqd's fields.
#[derive(Debug, Serialize)]
pub(crate) struct AuthResponse {
    identity: String,
    identity_url: String,
    permission_count: usize,
}

/// An auth server's answer. What is not there is empty, as Go reads it.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    ttl: Option<i64>,
    identity: Option<String>,
    identity_url: Option<String>,
    authorizations: Option<Vec<AnsweredAuthorization>>,
}

#[derive(Debug, Deserialize)]
struct AnsweredAuthorization {
    topic: Option<String>,
    channels: Option<Vec<String>>,
    permissions: Option<Vec<String>>,
}

/// Why an auth server's answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadAnswer {
    #[error("unknown permission {0:?}")]
    Permission(String),
    #[error("{0:?} is no regular expression")]
    Pattern(String),
    #[error("the ttl {0} is not above 0")]
    Ttl(i64),
}

impl Grant {
    /// Everything, for ever.
    pub(super) fn everything() -> Result<Self, regex::Error> {
        let all = Regex::new("")?;
        Ok(Self {
            identity: String::new(),
            identity_url: String::new(),
            authorizations: vec![Authorization {
                topic: all.clone(),
                channels: vec![all],
                publish: true,
                subscribe: true,
            }],
            expires: None,
        })
    }

    /// Nothing, for ever.
    pub(super) fn nothing() -> Self {
        Self {
            identity: String::new(),
            identity_url: String::new(),
            authorizations: Vec::new(),
            expires: None,
        }
    }

    /// Checks what an auth server says, as nsqd does.
    pub(super) fn new(answer: Answer, now: Instant) -> Result<Self, BadAnswer> {
        let authorizations = answer
            .authorizations
            .unwrap_or_default()
            .into_iter()
            .map(Authorization::new)
            .collect::<Result<_, _>>()?;
        let ttl = answer.ttl.unwrap_or_default();
        let seconds = u64::try_from(ttl)
            .ok()
            .filter(|seconds| *seconds > 0)
            .ok_or(BadAnswer::Ttl(ttl))?;
        Ok(Self {
            identity: answer.identity.unwrap_or_default(),
            identity_url: answer.identity_url.unwrap_or_default(),
            authorizations,
            expires: Some(after(now, Duration::from_secs(seconds))),
        })
    }

    /// What the client gets to hear.
    pub(crate) fn response(&self) -> AuthResponse {
        AuthResponse {
            identity: self.identity.clone(),
            identity_url: self.identity_url.clone(),
            permission_count: self.permission_count(),
        }
    }

    /// Whom the auth server takes the client for; `None` where it may do nothing.
    pub(crate) fn identity(&self) -> Option<Identity> {
        (self.permission_count() > 0).then(|| Identity {
            name: self.identity.clone(),
            url: self.identity_url.clone(),
        })
    }

    pub(crate) fn permission_count(&self) -> usize {
        self.authorizations.len()
    }

    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires < now)
    }

    /// Whether `topic` may be published to, or, with a channel, subscribed to.
    pub(crate) fn allows(&self, topic: &str, channel: Option<&str>) -> bool {
        self.authorizations
            .iter()
            .any(|authorization| authorization.allows(topic, channel))
    }
}

impl Authorization {
    fn new(answer: AnsweredAuthorization) -> Result<Self, BadAnswer> {
        let permissions = answer.permissions.unwrap_or_default();
        if let Some(unknown) = permissions
            .iter()
            .find(|permission| !matches!(permission.as_str(), "publish" | "subscribe"))
        {
            return Err(BadAnswer::Permission(unknown.clone()));
        }
        let has = |permission: &str| permissions.iter().any(|other| other == permission);
        Ok(Self {
            publish: has("publish"),
            subscribe: has("subscribe"),
            topic: pattern(answer.topic.unwrap_or_default())?,
            channels: answer
                .channels
                .unwrap_or_default()
                .into_iter()
                .map(pattern)
                .collect::<Result<_, _>>()?,
        })
    }

    /// The patterns match anywhere in a name, and publishing matches the channels with an empty one: nsqd's rules.
    fn allows(&self, topic: &str, channel: Option<&str>) -> bool {
        let has_permission = match channel {
            Some(_) => self.subscribe,
            None => self.publish,
        };
        let channel = channel.unwrap_or_default();
        has_permission
            && self.topic.is_match(topic)
            && self.channels.iter().any(|pattern| pattern.is_match(channel))
    }
}

fn pattern(text: String) -> Result<Regex, BadAnswer> {
    Regex::new(&text).map_err(|_| BadAnswer::Pattern(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(text: &str) -> Result<Grant, String> {
        let answer = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Grant::new(answer, Instant::now()).map_err(|error| error.to_string())
    }

    #[test]
    fn patterns_match_anywhere_and_publishing_has_an_empty_channel() {
        let grant = grant(
            r#"{"ttl":1,"authorizations":[
                {"topic":"^in\\.","channels":["^work$"],"permissions":["subscribe","publish"]},
                {"topic":"out","channels":[".*"],"permissions":["publish"]},
                {"topic":"deaf","channels":null,"permissions":["publish"]}]}"#,
        )
        .unwrap();
        for (topic, channel, allowed) in [
            ("in.x", Some("work"), true),
            ("in.x", Some("works"), false),
            ("my.in.x", Some("work"), false),
            // The pattern of its channels does not match an empty one.
            ("in.x", None, false),
            ("about", None, true),
            ("about", Some("work"), false),
            ("deaf", None, false),
        ] {
            assert_eq!(grant.allows(topic, channel), allowed, "{topic} {channel:?}");
        }
    }

    #[test]
    fn answers_that_nsqd_refuses_are_refused() {
        for (text, words) in [
            (r#"{"ttl":0}"#, "the ttl 0 is not above 0"),
            ("{}", "the ttl 0 is not above 0"),
            (r#"{"ttl":-1}"#, "the ttl -1 is not above 0"),
            (
                r#"{"ttl":1,"authorizations":[{"permissions":["rule"]}]}"#,
                "unknown permission \"rule\"",
            ),
            (
                r#"{"ttl":1,"authorizations":[{"topic":"("}]}"#,
                "\"(\" is no regular expression",
            ),
        ] {
            assert_eq!(grant(text).unwrap_err(), words);
        }
    }

    #[test]
    fn it_expires_after_its_ttl() {
        let start = Instant::now();
        let answer = serde_json::from_str(r#"{"ttl":2}"#).unwrap();
        let grant = Grant::new(answer, start).unwrap();
        assert!(!grant.is_expired(start + Duration::from_secs(2)));
        assert!(grant.is_expired(start + Duration::from_millis(2001)));
    }
}
