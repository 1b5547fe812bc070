//! What an operator does to a topic and its channels.

use almanet_nsq_proto::ChannelName;

use super::{Fate, Topic, TopicError};
use crate::{channel::Channel, client::Inbox, step::Step};

/// The topic has no channel of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoSuchChannel;

impl Topic {
    /// Makes a channel, unless there is one of that name.
    pub(crate) fn create_channel(&self, channel: &ChannelName) -> Result<(), TopicError> {
        let mut state = self.state.lock();
        if state.gone {
            return Err(TopicError::Gone);
        }
        state.channels.open(channel)?;
        self.set_alarm(&mut state);
        Ok(())
    }

    /// Removes a channel, its messages and its subscribers' connections; with its last channel an ephemeral topic.
    pub(crate) fn delete_channel(&self, channel: &ChannelName) -> Result<Fate, NoSuchChannel> {
        let mut state = self.state.lock();
        let key = state.channels.key(channel).ok_or(NoSuchChannel)?;
        state.channels.remove(key);
        if state.channels.is_empty() && self.name.is_ephemeral() {
            return Ok(self.vanish(&mut state));
        }
        Ok(Fate::Stays)
    }

    /// Forgets all messages of a channel.
    pub(crate) fn empty_channel(&self, channel: &ChannelName) -> Result<(), NoSuchChannel> {
        self.with_named(channel, Channel::empty)
    }

    /// Ends deliveries of a channel.
    pub(crate) fn pause_channel(&self, channel: &ChannelName) -> Result<(), NoSuchChannel> {
        self.with_named(channel, Channel::pause)
    }

    /// Goes on with the deliveries of a channel.
    pub(crate) fn unpause_channel(
        &self,
        channel: &ChannelName,
        step: &mut Step,
    ) -> Result<(), NoSuchChannel> {
        self.with_named(channel, |channel| channel.unpause(step.now, &mut step.touched))
    }

    /// Keeps messages that are published from now on from the channels; those that are there go on being delivered.
    pub(crate) fn pause(&self) {
        self.state.lock().channels.pause();
    }

    /// Gives the channels what has waited.
    pub(crate) fn unpause(&self, step: &mut Step) {
        let mut state = self.state.lock();
        state.channels.unpause(step);
        self.set_alarm(&mut state);
    }

    /// Forgets the messages that wait in the topic itself; those of its channels stay, as in nsqd.
    pub(crate) fn empty(&self) {
        self.state.lock().channels.empty();
    }

    /// Removes everything of the topic. It takes nothing from then on.
    pub(crate) fn delete(&self) {
        let mut state = self.state.lock();
        let _: Fate = self.vanish(&mut state);
    }

    fn with_named(
        &self,
        channel: &ChannelName,
        work: impl FnOnce(&mut Channel<Inbox>),
    ) -> Result<(), NoSuchChannel> {
        let mut state = self.state.lock();
        let key = state.channels.key(channel).ok_or(NoSuchChannel)?;
        work(state.channels.get_mut(key).ok_or(NoSuchChannel)?);
        self.set_alarm(&mut state);
        Ok(())
    }
}
