//! In which state of the connection a command may come.
//!
//! nsqd looks at this before it looks at the rest of the command.

use almanet_nsq_proto::{Admission, Gate, ProtocolError, TopicName, Verb};

use super::handler::{Handler, invalid, wrong_state};

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing is subscribed.
    Init,
    Subscribed,
    /// After CLS: no more messages, but answers to those in flight.
    Closing,
}

impl Gate for Handler {
    fn admit(&self, verb: Verb<'_>) -> Result<Admission, ProtocolError> {
        if verb != Verb::Identify && self.lacks_tls() {
            return Err(invalid(format!("cannot {verb} in current state (TLS required)")));
        }
        let state = self.state();
        let is_allowed = match verb {
            Verb::Pub | Verb::Mpub | Verb::Dpub | Verb::Nop | Verb::Unknown(_) => true,
            // A RDY that crosses the CLS is let pass, as in nsqd.
            Verb::Rdy if state == State::Closing => return Ok(Admission::PassOver),
            Verb::Rdy | Verb::Fin | Verb::Req | Verb::Touch => state != State::Init,
            Verb::Cls => state == State::Subscribed,
            Verb::Identify | Verb::Auth | Verb::Sub => state == State::Init,
        };
        if !is_allowed {
            return Err(wrong_state(verb));
        }
        if verb == Verb::Sub && self.heartbeat_interval().is_none() {
            return Err(invalid("cannot SUB with heartbeats disabled"));
        }
        Ok(Admission::Read)
    }

    fn admit_mpub(&self, topic: &TopicName) -> Result<(), ProtocolError> {
        self.permit()
            .map_or(Ok(()), |permit| permit.check_known("MPUB", topic, None))
    }
}
