//! Topic and channel names, valid by construction.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

/// The most characters a topic or channel name can have, `#ephemeral` included.
pub const MAX_NAME_LENGTH: usize = 64;

const EPHEMERAL: &str = "#ephemeral";

/// Why a text is no topic or channel name.
///
/// The rule is nsqd's: `^[.a-zA-Z0-9_-]+(#ephemeral)?$`, 1 to 64 characters in all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// The name has no characters before its suffix.
    #[error("{kind} name is empty: give it 1 to {MAX_NAME_LENGTH} characters")]
    Empty {
        /// `"topic"` or `"channel"`.
        kind: &'static str,
    },
    /// The name has more than [`MAX_NAME_LENGTH`] characters.
    #[error(
        "{kind} name {name:?} has {length} characters: at most {MAX_NAME_LENGTH} are allowed, `#ephemeral` included"
    )]
    TooLong {
        /// `"topic"` or `"channel"`.
        kind: &'static str,
        /// The first [`MAX_NAME_LENGTH`] characters of the refused name.
        name: String,
        /// How many bytes the refused name has.
        length: usize,
    },
    /// The name holds a character that NSQ does not allow.
    #[error(
        "{kind} name {name:?} has the character {character:?}: only letters, digits, `.`, `_` and `-` are allowed, and the suffix `#ephemeral`"
    )]
    Character {
        /// `"topic"` or `"channel"`.
        kind: &'static str,
        /// The refused name.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
}

fn validate(kind: &'static str, name: &str) -> Result<(), InvalidName> {
    if name.len() > MAX_NAME_LENGTH {
        let shown = name.chars().take(MAX_NAME_LENGTH).collect();
        return Err(InvalidName::TooLong {
            kind,
            name: shown,
            length: name.len(),
        });
    }
    let stem = name.strip_suffix(EPHEMERAL).unwrap_or(name);
    if stem.is_empty() {
        return Err(InvalidName::Empty { kind });
    }
    if is_allowed(stem) {
        return Ok(());
    }
    match stem
        .chars()
        .find(|character| !is_allowed(character.encode_utf8(&mut [0; 4])))
    {
        Some(character) => Err(InvalidName::Character {
            kind,
            name: name.to_owned(),
            character,
        }),
        None => Ok(()),
    }
}

/// Whether a name may have these characters.
///
/// Names are checked with every message, and nearly all are right: so all of one are looked at together, without an end at the first
/// wrong one, which takes a few instructions where one after the other takes some for each.
fn is_allowed(characters: &str) -> bool {
    characters.bytes().fold(true, |allowed, byte| {
        allowed & (byte.is_ascii_alphanumeric() | (byte == b'.') | (byte == b'_') | (byte == b'-'))
    })
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            #[doc = concat!("Checks `name` and makes it a ", $kind, " name.")]
            ///
            /// # Errors
            ///
            /// [`InvalidName`] when the name is empty, has more than 64 characters or one that NSQ does not allow.
            pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidName> {
                let name = name.as_ref();
                validate($kind, name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether the broker forgets it once nobody uses it (the suffix `#ephemeral`).
            pub fn is_ephemeral(&self) -> bool {
                self.0.ends_with(EPHEMERAL)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = InvalidName;

            fn try_from(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(name: String) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// A valid NSQ topic name. Cheap to clone.
    ///
    /// ```
    /// use almanet_nsq_proto::TopicName;
    ///
    /// assert!(TopicName::new("orders.v1#ephemeral")?.is_ephemeral());
    /// assert!(TopicName::new("two words").is_err());
    /// # Ok::<(), almanet_nsq_proto::InvalidName>(())
    /// ```
    TopicName, "topic"
}

name! {
    /// A valid NSQ channel name. Cheap to clone.
    ///
    /// ```
    /// use almanet_nsq_proto::ChannelName;
    ///
    /// assert_eq!(ChannelName::new("mailer")?.as_str(), "mailer");
    /// # Ok::<(), almanet_nsq_proto::InvalidName>(())
    /// ```
    ChannelName, "channel"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_64_characters_with_its_suffix() {
        let longest = format!("{}#ephemeral", "a".repeat(54));
        assert!(TopicName::new(&longest).unwrap().is_ephemeral());
        let error = TopicName::new(format!("a{longest}")).unwrap_err();
        assert!(error.to_string().contains("has 65 characters"), "{error}");
    }

    #[test]
    fn a_bad_name_says_which_character_is_wrong() {
        let error = ChannelName::new("a b").unwrap_err();
        assert_eq!(
            error.to_string(),
            "channel name \"a b\" has the character ' ': only letters, digits, `.`, `_` and `-` are allowed, \
             and the suffix `#ephemeral`"
        );
        assert_eq!(
            ChannelName::new("#ephemeral"),
            Err(InvalidName::Empty { kind: "channel" })
        );
        assert!(ChannelName::new("a#ephemeralb").is_err());
        assert!(ChannelName::new("a#durable").is_err());
    }
}
