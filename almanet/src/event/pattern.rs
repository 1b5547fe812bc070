//! Patterns over the names of topics.

use std::{fmt, str::FromStr};

use almanet_nsq::TopicName;

/// Topics that are there for the machinery: nobody means them who does not name them.
const CALLS: &str = "_rpc_.";
const DEAD_LETTERS: &str = ".dlq";

/// A pattern over the names of topics, such as `*.log` or `orders.*`: each `*` stands for one character or more, of any
/// kind.
///
/// Topics of calls and replies (`_rpc_.`...) and of dead letters (...`.dlq`) match only patterns that begin and end so
/// themselves.
///
/// ```
/// use almanet::{TopicPattern, transport::TopicName};
///
/// let pattern: TopicPattern = "orders.*".parse()?;
/// assert!(pattern.matches(&TopicName::new("orders.paid")?));
/// assert!(!pattern.matches(&TopicName::new("orders.paid.dlq")?));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TopicPattern(Box<str>);

impl TopicPattern {
    /// Checks `pattern` and makes it one.
    ///
    /// # Errors
    ///
    /// [`InvalidPattern`] when it is empty or has a character that no topic has.
    pub fn new(pattern: impl AsRef<str>) -> Result<Self, InvalidPattern> {
        let pattern = pattern.as_ref();
        let is_possible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*' | '#');
        if pattern.is_empty() || pattern.len() > 64 || !pattern.chars().all(is_possible) {
            return Err(InvalidPattern {
                pattern: pattern.chars().take(64).collect(),
            });
        }
        Ok(Self(pattern.into()))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `topic` is one of those that are meant.
    pub fn matches(&self, topic: &TopicName) -> bool {
        let topic = topic.as_str();
        let hidden = topic.starts_with(CALLS) && !self.0.starts_with(CALLS)
            || topic.ends_with(DEAD_LETTERS) && !self.0.ends_with(DEAD_LETTERS);
        !hidden && matches(self.0.as_bytes(), topic.as_bytes())
    }
}

/// Goes back to the last star only, which suffices: what an earlier one took cannot help a later one.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(position) {
        match pattern.get(at) {
            Some(b'*') => {
                // It takes one character at least.
                star = Some((at + 1, position + 1));
                at += 1;
                position += 1;
            }
            Some(expected) if expected == byte => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((after, taken_to)) = &mut star else {
                    return false;
                };
                *taken_to += 1;
                at = *after;
                position = *taken_to;
            }
        }
    }
    at == pattern.len()
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TopicPattern {
    type Err = InvalidPattern;

    fn from_str(pattern: &str) -> Result<Self, InvalidPattern> {
        Self::new(pattern)
    }
}

/// A text that is no pattern of topics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{pattern:?} is no pattern of topics: write 1 to 64 letters, digits, `.`, `_` and `-`, with `*` for any characters"
)]
pub struct InvalidPattern {
    pattern: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_match(pattern: &str, topic: &str) -> bool {
        TopicPattern::new(pattern)
            .unwrap()
            .matches(&TopicName::new(topic).unwrap())
    }

    #[test]
    fn a_star_stands_for_characters() {
        for (pattern, topic) in [
            ("orders.*", "orders.paid"),
            ("orders.*", "orders.paid.late"),
            ("*.log", "app.log"),
            ("*", "orders"),
            ("a*b*c", "aXbXbXc"),
            ("*.*", "a.b.c"),
            ("orders", "orders"),
            ("*#ephemeral", "a#ephemeral"),
        ] {
            assert!(is_match(pattern, topic), "{pattern} {topic}");
        }
        for (pattern, topic) in [
            ("orders.*", "orders."),
            ("orders.*", "orders"),
            ("orders.*", "my.orders.paid"),
            ("*.log", "app.log.old"),
            ("a*b*c", "abc"),
            ("orders", "orders2"),
        ] {
            assert!(!is_match(pattern, topic), "{pattern} {topic}");
        }
    }

    #[test]
    fn the_machinerys_own_topics_have_to_be_named() {
        assert!(!is_match("*", "_rpc_.net.example.greet"));
        assert!(is_match("_rpc_.*", "_rpc_.net.example.greet"));
        assert!(!is_match("orders.*", "orders.paid.dlq"));
        assert!(is_match("*.dlq", "orders.paid.dlq"));
    }

    #[test]
    fn what_no_topic_can_have_is_refused() {
        for bad in ["", "a b", "ä*", &"a".repeat(65)] {
            assert!(TopicPattern::new(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_trying_everything(pattern in "[ab*]{1,6}", text in "[ab]{1,8}") {
            fn slow(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern, text) {
                    ([], []) => true,
                    ([b'*', rest @ ..], [_, after @ ..]) => {
                        (0..=after.len()).any(|taken| slow(rest, &after[taken..]))
                    }
                    ([p, rest @ ..], [t, after @ ..]) => p == t && slow(rest, after),
                    _ => false,
                }
            }
            prop_assert_eq!(is_match(&pattern, &text), slow(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
