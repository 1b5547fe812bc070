//! A broker's words, which must not bring the secret that it was sent into a log or an error.

use almanet_nsq_proto::{ProtocolError, Secret};

/// `error`, without its words where they repeat `secret`. nsqd never does that; what stands in for it may.
pub(super) fn without_secret(error: ProtocolError, secret: Option<&Secret>) -> ProtocolError {
    let Some(secret) = secret else { return error };
    let text = String::from_utf8_lossy(secret.reveal());
    if text.is_empty() || !error.to_string().contains(&*text) {
        return error;
    }
    ProtocolError::new(error.code, "(its words repeat the secret)")
}
