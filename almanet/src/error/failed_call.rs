//! What is told of a call whose answer goes to another procedure, when it fails.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::remote::{RemoteError, RpcError};
use crate::{
    id::Id,
    wire::{Codec, Payload},
};

/// The error of a call that nobody waits for, as the procedure gets it that
/// [`OneWayCall::errors_to`](crate::OneWayCall::errors_to) names.
///
/// On the wire it is a map of these four names.
///
/// ```
/// use almanet::{FailedCall, procedure};
///
/// /// Notes what went wrong.
/// #[procedure(uri = "net.example.greeting_failed")]
/// async fn greeting_failed(failed: FailedCall) {
///     println!("{} of {} failed: {}", failed.call_id, failed.procedure, failed.name);
/// }
/// ```
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FailedCall {
    /// The procedure that was called.
    pub procedure: String,
    /// The call, as [`OneWayCall::id`](crate::OneWayCall::id) names it.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub call_id: Id,
    /// The name of the error.
    pub name: String,
    /// What the error says beside its name.
    pub payload: Value,
}

impl FailedCall {
    pub(crate) fn new(procedure: &str, call_id: Id, error: &RemoteError) -> Self {
        Self {
            procedure: procedure.to_owned(),
            call_id,
            name: error.name().to_owned(),
            // What JSON cannot say, as bytes in MessagePack, is left out: the name says most.
            payload: error.payload().decode().unwrap_or_default(),
        }
    }

    /// The error, of the type that the procedure raises.
    ///
    /// # Errors
    ///
    /// The error by name and payload, when `E` has none of this name.
    pub fn error<E: RpcError>(&self) -> Result<E, RemoteError> {
        // A value that was read as JSON can be written as JSON.
        let payload = Payload::encode(Codec::Json, &self.payload)
            .unwrap_or_else(|_| Payload::from_bytes(Codec::Json, "null".into()));
        E::from_remote(RemoteError::new(&self.name, payload))
    }
}

/// Without the payload, which is the user's own.
impl fmt::Debug for FailedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailedCall")
            .field("procedure", &self.procedure)
            .field("call_id", &self.call_id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
