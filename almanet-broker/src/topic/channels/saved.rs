//! From a topic's channels to what is saved, and back.

use std::time::Instant;

use almanet_nsq_proto::{ChannelName, Message};

use super::{ChannelKey, Channels, list::put};
use crate::{
    channel::Channel,
    client::Inbox,
    limits::ROOM_COST,
    step::Step,
    store::{Record, SavedMessage},
};

impl Channels {
    /// Makes a channel that was saved, whether there is room or not.
    pub(in crate::topic) fn restore(&mut self, channel: &ChannelName, paused: bool) -> ChannelKey {
        let key = self.key(channel).unwrap_or_else(|| self.create(channel));
        if let Some(machine) = self.get_mut(key).filter(|_| paused) {
            machine.pause();
        }
        key
    }

    /// Takes in a message that was saved, whether there is room or not, for the channel or for the first one to come.
    pub(in crate::topic) fn restore_message(
        &mut self,
        key: Option<ChannelKey>,
        message: Message,
        due: Option<Instant>,
        step: &mut Step,
    ) {
        let named = key.and_then(|key| self.named.get_mut(&key));
        let machine = named.map_or(&mut self.unclaimed, |named| &mut named.machine);
        put(machine, message, due, step);
    }

    /// Ends deliveries in all channels for good.
    pub(in crate::topic) fn halt(&mut self) {
        self.named
            .values_mut()
            .for_each(|channel| channel.machine.close_all());
    }

    /// Takes out what shall be saved: what waits for a channel, then each channel that is not ephemeral and what it
    /// has.
    pub(in crate::topic) fn take_records(&mut self, now: Instant) -> impl Iterator<Item = Record> + use<> {
        // What is held back when the broker stops goes to the channels there are.
        let mut step = Step::begin();
        self.release(&[], &mut step);
        step.end();
        let named = std::mem::take(&mut self.named);
        self.context.memory.release(ROOM_COST * named.len());
        let unclaimed = records(&mut self.unclaimed, now);
        let kept = named.into_values().filter(|channel| !channel.name.is_ephemeral());
        unclaimed.chain(kept.flat_map(move |mut channel| {
            let messages = records(&mut channel.machine, now);
            let paused = channel.machine.is_paused();
            let name = channel.name;
            std::iter::once(Record::Channel { name, paused }).chain(messages)
        }))
    }
}

fn records(channel: &mut Channel<Inbox>, now: Instant) -> impl Iterator<Item = Record> + use<> {
    channel
        .take_messages(now)
        .map(|(message, delay)| Record::Message(SavedMessage { message, delay }))
}
