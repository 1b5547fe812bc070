//! JSON Schemas of what a procedure takes and returns.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The JSON Schemas (draft 2020-12) of what a procedure takes and returns, as far as they are known.
///
/// A type has a schema when it implements `JsonSchema` of [`schemars`](crate::schemars); `#[procedure]` finds out by
/// itself, and a type without one does as well.
///
/// ```
/// use almanet::{procedure, schemars};
/// use serde::{Deserialize, Serialize};
///
/// /// Whom to greet.
/// #[derive(Serialize, Deserialize, schemars::JsonSchema)]
/// #[schemars(crate = "almanet::schemars")]
/// struct Greeting {
///     name: String,
/// }
///
/// #[procedure(uri = "net.example.greet")]
/// async fn greet(greeting: Greeting) -> String {
///     format!("Hello, {}!", greeting.name)
/// }
///
/// let payload = greet::procedure().make_schemas().payload.unwrap();
/// assert_eq!(payload["description"], "Whom to greet.");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Schemas {
    /// The schema of the payload.
    #[serde(default)]
    pub payload: Option<Value>,
    /// The schema of what is returned.
    #[serde(default)]
    pub result: Option<Value>,
    /// The errors that the procedure says it raises.
    #[serde(default)]
    pub errors: Vec<ErrorSchema>,
}

impl Schemas {
    /// These schemas.
    pub fn new(payload: Option<Value>, result: Option<Value>, errors: Vec<ErrorSchema>) -> Self {
        Self {
            payload,
            result,
            errors,
        }
    }

    /// The schemas of a procedure that takes a `P` and returns a `T` or an `E`; for
    /// [`Procedure::schemas`](crate::Procedure::schemas).
    #[cfg(feature = "schema")]
    pub fn of<P, T, E>() -> Self
    where
        P: schemars::JsonSchema,
        T: schemars::JsonSchema,
        E: crate::RpcError,
    {
        use super::probe::Probe;

        Self::new(
            Probe::<P>::new().payload(),
            Probe::<T>::new().result(),
            E::schemas(),
        )
    }
}

/// An error that a procedure can raise: one name, and what comes with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorSchema {
    /// The name on the wire.
    pub name: String,
    /// What it means, for people. `derive(RpcError)` takes the doc comment.
    #[serde(default)]
    pub description: String,
    /// The schema of the error's payload.
    #[serde(default)]
    pub payload: Option<Value>,
}

impl ErrorSchema {
    /// The error called `name`.
    pub fn new(name: impl Into<String>, description: impl Into<String>, payload: Option<Value>) -> Self {
        Self {
            name: name.into(),
            description: description.into(),
            payload,
        }
    }
}
