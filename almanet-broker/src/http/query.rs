//! The parameters of a request, read as nsqd reads them.

use std::sync::Arc;

use almanet_nsq_proto::{ChannelName, TopicName};
use axum::http::Uri;

use super::answer::Refusal;
use crate::{registry::Registry, topic::Topic};

/// The decoded query. Of a parameter that comes twice, the first counts.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(uri: &Uri) -> Result<Self, Refusal> {
        let text = uri.query().unwrap_or_default();
        if !is_well_formed(text) {
            return Err(Refusal::bad_request("INVALID_REQUEST"));
        }
        Ok(Self(
            form_urlencoded::parse(text.as_bytes()).into_owned().collect(),
        ))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut parameters = self.0.iter();
        parameters.find_map(|(known, value)| (known == name).then_some(value.as_str()))
    }

    /// A switch in nsqd's spelling; `None` for anything else.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }
    }

    /// The topic that is published to or created.
    pub(super) fn topic_name(&self) -> Result<TopicName, Refusal> {
        TopicName::new(self.topic_text()?).map_err(|_| Refusal::bad_request("INVALID_TOPIC"))
    }

    /// The parameter `topic` as it came: where the topic has to exist, nsqd does not say that its name is invalid.
    pub(super) fn topic_text(&self) -> Result<&str, Refusal> {
        self.get("topic").ok_or(Refusal::bad_request("MISSING_ARG_TOPIC"))
    }

    /// A channel's name and its topic, which has to exist.
    pub(super) fn channel(&self, registry: &Registry) -> Result<(Arc<Topic>, ChannelName), Refusal> {
        let topic = TopicName::new(self.topic_text()?);
        let topic = topic.map_err(|_| Refusal::bad_request("INVALID_ARG_TOPIC"))?;
        let channel = self
            .get("channel")
            .ok_or(Refusal::bad_request("MISSING_ARG_CHANNEL"))?;
        let channel = ChannelName::new(channel).map_err(|_| Refusal::bad_request("INVALID_ARG_CHANNEL"))?;
        Ok((existing(registry, &topic)?, channel))
    }
}

/// The topic of this name.
pub(super) fn existing(registry: &Registry, topic: &TopicName) -> Result<Arc<Topic>, Refusal> {
    registry
        .existing(topic)
        .ok_or(Refusal::not_found("TOPIC_NOT_FOUND"))
}

/// Whether Go's parser takes the query: no semicolon, and two hexadecimal digits after each percent sign.
fn is_well_formed(query: &str) -> bool {
    let mut escapes = query.split('%');
    let _before = escapes.next();
    !query.contains(';')
        && escapes.all(|after| {
            let digits = after.as_bytes().first_chunk::<2>();
            digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &'static str) -> Result<Query, Refusal> {
        Query::of(&Uri::from_static(text))
    }

    #[test]
    fn the_first_of_a_parameter_counts_and_escapes_are_decoded() {
        let query = query("/pub?topic=a%23ephemeral&topic=b&x+y=1%202&flag").unwrap();
        assert_eq!(query.get("topic"), Some("a#ephemeral"));
        assert_eq!(query.get("x y"), Some("1 2"));
        assert_eq!(query.get("flag"), Some(""));
        assert_eq!(query.get("absent"), None);
    }

    #[test]
    fn what_go_does_not_parse_is_refused() {
        for text in ["/?a=%", "/?a=%2", "/?a=%zz", "/?a=1;b=2"] {
            let refusal = query(text).unwrap_err();
            assert_eq!(refusal, Refusal::bad_request("INVALID_REQUEST"), "{text}");
        }
    }
}
