//! The body of AUTH, which is never shown.

use std::fmt;

use bytes::Bytes;

/// A secret that [`Command::Auth`](crate::Command::Auth) carries: its `Debug` is blank, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Bytes);

impl Secret {
    /// The secret with these bytes.
    pub fn new(secret: impl Into<Bytes>) -> Self {
        Self(secret.into())
    }

    /// The bytes themselves, to be checked and nothing else.
    pub fn reveal(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use crate::{Command, Secret};

    #[test]
    fn a_command_does_not_show_its_secret() {
        let command = Command::Auth(Secret::new("hunter2"));
        assert_eq!(format!("{command:?}"), "Auth(Secret(..))");
    }
}
