//! Which messages have room, and which are refused or dropped.

use std::time::Duration;

use almanet_nsq_proto::Message;
use bytes::Bytes;

use super::list::{Channels, Named};
use crate::{
    channel::Channel,
    client::Inbox,
    limits::{EPHEMERAL_DEPTH, LimitReached, body_cost, cost},
    topic::TopicContext,
};

impl Channels {
    /// Refuses messages that have no room. Ephemeral channels do not refuse: they drop.
    pub(in crate::topic) fn check_room(
        &self,
        bodies: &[Bytes],
        delay: Option<Duration>,
    ) -> Result<(), LimitReached> {
        let at_once = bodies.len() == 1 && delay.is_none();
        let limit = self.context.max_channel_depth;
        if self.keeps_back() && !self.named.is_empty() {
            return self.check_room_when_paused(bodies);
        }
        if self.named.is_empty() && !self.topic.is_ephemeral() {
            if self.unclaimed.depth() + bodies.len() > limit {
                return Err(LimitReached::TopicDepth {
                    topic: self.topic.clone(),
                    limit,
                });
            }
            return self.check_memory(bodies, 1);
        }
        let (mut copies, mut at_once_copies) = (0, 0);
        for Named { name, machine, .. } in self.named.values() {
            if name.is_ephemeral() {
                continue;
            }
            if at_once && machine.is_hungry() {
                at_once_copies += 1;
                continue;
            }
            if machine.depth() + bodies.len() > limit {
                return Err(LimitReached::ChannelDepth {
                    topic: self.topic.clone(),
                    channel: name.clone(),
                    limit,
                });
            }
            copies += 1;
        }
        let memory = &self.context.memory;
        memory.check_room_in_flight(all(bodies).saturating_mul(at_once_copies))?;
        self.check_memory(bodies, copies)
    }

    /// What waits in a paused topic comes into each of its channels, so there it has to have room too.
    fn check_room_when_paused(&self, bodies: &[Bytes]) -> Result<(), LimitReached> {
        let limit = self.context.max_channel_depth;
        let coming = self.unclaimed.depth() + bodies.len();
        let full = self
            .named
            .values()
            .find(|channel| !channel.name.is_ephemeral() && channel.machine.depth() + coming > limit);
        if let Some(channel) = full {
            return Err(LimitReached::ChannelDepth {
                topic: self.topic.clone(),
                channel: channel.name.clone(),
                limit,
            });
        }
        if coming > limit {
            return Err(LimitReached::PausedDepth {
                topic: self.topic.clone(),
                limit,
            });
        }
        self.check_memory(bodies, self.named.len())
    }

    fn check_memory(&self, bodies: &[Bytes], copies: usize) -> Result<(), LimitReached> {
        if copies == 0 {
            return Ok(());
        }
        self.context.memory.check_room(all(bodies).saturating_mul(copies))
    }
}

/// Whether an ephemeral channel takes the message.
pub(super) fn has_room(channel: &Channel<Inbox>, message: &Message, context: &TopicContext) -> bool {
    let max_depth = EPHEMERAL_DEPTH.min(context.max_channel_depth);
    let room = if channel.is_hungry() {
        context.memory.check_room_in_flight(cost(message))
    } else if channel.depth() < max_depth {
        context.memory.check_room(cost(message))
    } else {
        return false;
    };
    room.is_ok()
}

/// What all of the messages count together, in bytes.
fn all(bodies: &[Bytes]) -> usize {
    bodies.iter().map(|body| body_cost(body.len())).sum()
}
