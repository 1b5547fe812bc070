//! Names of procedures.

use std::{cell::RefCell, fmt, str::FromStr};

use almanet_nsq::{InvalidName, TopicName};

use crate::recent::Recent;

/// What stands before a procedure's URI in the name of its topic.
const TOPIC_PREFIX: &str = "_rpc_.";

/// First segments that no procedure can have: of reply topics, and of the topic by which services are asked what they are.
const RESERVED: [&str; 2] = ["_reply_", "_control_"];

/// The name of a procedure, such as `net.example.greet`. Cheap to clone.
///
/// Segments of letters, digits and `_` that do not begin with a digit, joined by dots; at most
/// [`Uri::MAX_LENGTH`] characters, because the topic `_rpc_.<uri>` must fit into NSQ's 64.
///
/// ```
/// use almanet::Uri;
///
/// let uri = Uri::new("net.example.greet")?;
/// assert_eq!(uri.topic().as_str(), "_rpc_.net.example.greet");
/// # Ok::<(), almanet::InvalidUri>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uri {
    /// `_rpc_.<uri>`: the topic holds the name, so that neither is made twice.
    topic: TopicName,
}

impl Uri {
    /// The most characters of a URI.
    pub const MAX_LENGTH: usize = almanet_nsq::MAX_NAME_LENGTH - TOPIC_PREFIX.len();

    /// Checks `uri` and makes it a name.
    ///
    /// # Errors
    ///
    /// [`InvalidUri`] says which segment is wrong and why.
    pub fn new(uri: impl AsRef<str>) -> Result<Self, InvalidUri> {
        thread_local! {
            static RECENT: RefCell<Recent<Uri>> = RefCell::new(Recent::new());
        }
        RECENT.with_borrow_mut(|recent| recent.get_or_make(uri.as_ref(), Self::make))
    }

    fn make(uri: &str) -> Result<Self, InvalidUri> {
        validate(uri)?;
        // Put together where it costs no allocation.
        let mut name = [0; almanet_nsq::MAX_NAME_LENGTH];
        for (place, part) in [(0, TOPIC_PREFIX), (TOPIC_PREFIX.len(), uri)] {
            if let Some(room) = name.get_mut(place..place + part.len()) {
                room.copy_from_slice(part.as_bytes());
            }
        }
        let name = name.get(..TOPIC_PREFIX.len() + uri.len());
        let name = name.and_then(|name| std::str::from_utf8(name).ok());
        let topic = TopicName::new(name.unwrap_or_default()).map_err(|source| InvalidUri::Topic {
            uri: uri.to_owned(),
            source,
        })?;
        Ok(Self { topic })
    }

    /// The procedure whose topic this is; `None` when it is another kind of topic.
    pub(crate) fn of_topic(topic: &TopicName) -> Option<Self> {
        validate(topic.as_str().strip_prefix(TOPIC_PREFIX)?).ok()?;
        Some(Self { topic: topic.clone() })
    }

    /// The URI as text.
    pub fn as_str(&self) -> &str {
        self.topic.as_str().get(TOPIC_PREFIX.len()..).unwrap_or_default()
    }

    /// The topic that carries the procedure's invocations.
    pub fn topic(&self) -> &TopicName {
        &self.topic
    }
}

fn validate(uri: &str) -> Result<(), InvalidUri> {
    if uri.len() > Uri::MAX_LENGTH {
        let shown = uri.chars().take(Uri::MAX_LENGTH).collect();
        return Err(InvalidUri::TooLong {
            uri: shown,
            length: uri.len(),
        });
    }
    if !is_well_formed(uri) {
        return Err(wrong_segment(uri));
    }
    // All of them begin so, which is a quicker look.
    if uri.starts_with('_')
        && uri
            .split('.')
            .next()
            .is_some_and(|first| RESERVED.contains(&first))
    {
        return Err(InvalidUri::Reserved { uri: uri.to_owned() });
    }
    Ok(())
}

/// Whether these are segments joined by dots.
fn is_well_formed(uri: &str) -> bool {
    let mut begins = true;
    let fits = uri.bytes().all(|byte| {
        let fits = byte.is_ascii_alphabetic()
            || byte == b'_'
            || (!begins && (byte.is_ascii_digit() || byte == b'.'));
        begins = byte == b'.';
        fits
    });
    fits && !begins
}

/// What is wrong with a text that is not well formed.
fn wrong_segment(uri: &str) -> InvalidUri {
    let wrong = uri.split('.').find(|segment| !is_segment(segment));
    InvalidUri::Segment {
        uri: uri.to_owned(),
        segment: wrong.unwrap_or_default().to_owned(),
    }
}

fn is_segment(text: &str) -> bool {
    is_well_formed(text) && !text.contains('.')
}

/// A text that is no procedure's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUri {
    /// A segment is empty, begins with a digit or has a character that is not allowed.
    #[error(
        "uri {uri:?} has the segment {segment:?}: a segment begins with a letter or `_` and has only letters, digits and `_`; segments are joined by dots"
    )]
    Segment {
        /// The refused text.
        uri: String,
        /// The segment that is wrong.
        segment: String,
    },
    /// The URI has more than [`Uri::MAX_LENGTH`] characters.
    #[error(
        "uri {uri:?} has {length} characters: at most {} are allowed, so that its topic fits into NSQ's 64",
        Uri::MAX_LENGTH
    )]
    TooLong {
        /// The first characters of the refused text.
        uri: String,
        /// How many bytes the refused text has.
        length: usize,
    },
    /// The URI makes no topic name. The rules above leave no such URI; this is here so that none can panic.
    #[error("uri {uri:?} makes no topic name")]
    Topic {
        /// The refused text.
        uri: String,
        /// What is wrong with the topic name.
        source: InvalidName,
    },
    /// The URI begins with `_reply_` or `_control_`, which are no procedures' segments.
    #[error(
        "uri {uri:?} begins with `_reply_` or `_control_`: those segments are kept for Almanet's own topics"
    )]
    Reserved {
        /// The refused text.
        uri: String,
    },
}

impl FromStr for Uri {
    type Err = InvalidUri;

    fn from_str(uri: &str) -> Result<Self, InvalidUri> {
        Self::new(uri)
    }
}

impl AsRef<str> for Uri {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_made_of_identifiers_joined_by_dots() {
        for good in ["greet", "net.example.greet", "_private.a1", "A.B_c"] {
            assert_eq!(Uri::new(good).unwrap().as_str(), good);
        }
        for (bad, segment) in [
            ("", ""),
            ("net..greet", ""),
            ("net.1st", "1st"),
            ("net.a-b", "a-b"),
            ("ä", "ä"),
        ] {
            let expected = InvalidUri::Segment {
                uri: bad.to_owned(),
                segment: segment.to_owned(),
            };
            assert_eq!(Uri::new(bad), Err(expected));
        }
        for reserved in ["_reply_.x", "_control_"] {
            let uri = reserved.to_owned();
            assert_eq!(Uri::new(reserved), Err(InvalidUri::Reserved { uri }));
        }
    }

    #[test]
    fn only_the_topic_of_a_procedure_has_a_uri() {
        let uri = Uri::new("net.example.greet").unwrap();
        assert_eq!(Uri::of_topic(uri.topic()), Some(uri));
        for other in [
            "net.example.greet",
            "_rpc_._reply_.0a#ephemeral",
            // Of a multicall of the Python package: like all its reply topics it ends as no procedure's can.
            "_rpc_._replies_.0a#ephemeral",
            "_rpc_._control_",
            "_rpc_.a#ephemeral",
        ] {
            assert_eq!(Uri::of_topic(&TopicName::new(other).unwrap()), None, "{other}");
        }
    }

    #[test]
    fn the_longest_uri_makes_the_longest_topic() {
        let longest = "a".repeat(Uri::MAX_LENGTH);
        assert_eq!(Uri::new(&longest).unwrap().topic().as_str().len(), 64);
        let error = Uri::new(format!("{longest}a")).unwrap_err();
        assert!(
            error.to_string().contains("has 59 characters: at most 58"),
            "{error}"
        );
    }
}
