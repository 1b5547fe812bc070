//! Short texts that travel with a call beside its payload.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The header by which a call names the work that is to be done once.
pub(crate) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header that names the procedure which is told of the error of a call that nobody waits for.
pub(crate) const ERRORS_TO: &str = "almanet-errors-to";

/// The header by which a call asks who answers it, with any value.
pub(crate) const RESPONDER: &str = "almanet-responder";

/// The header by which a call asks for a stream: how many items may be sent before the caller grants more.
pub(crate) const STREAM_CREDIT: &str = "stream-credit";

/// Names and values that travel beside a payload, for what concerns every call alike: traces, tenants, tokens.
///
/// Names are compared as they are, case included.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(BTreeMap<String, String>);

impl Headers {
    /// No headers, for those who lend some.
    pub(crate) const NONE: &Self = &Self::new();

    /// No headers.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Sets the header `name`; returns its former value.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) -> Option<String> {
        self.0.insert(name.into(), value.into())
    }

    /// Takes the header `name` out; returns its value.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// The value of the header `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All headers, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Shows the names only: values can be secrets.
impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
