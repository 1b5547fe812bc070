//! A topic as it is at one moment.

use std::time::Instant;

use almanet_nsq_proto::{ChannelName, TopicName};

use super::Topic;
#[cfg(feature = "http")]
use crate::channel::LatencyReport;
use crate::channel::{ChannelReport, Counts};

/// What statistics say of a topic.
#[derive(Debug, Clone)]
pub(crate) struct TopicReport {
    pub(crate) name: TopicName,
    /// Messages that were published.
    pub(crate) messages: u64,
    /// The bodies of those, in bytes.
    pub(crate) bytes: u64,
    /// Messages that wait in the topic itself: it has no channel, or is paused.
    pub(crate) depth: usize,
    pub(crate) is_paused: bool,
    /// Messages that ephemeral channels had no room for.
    pub(crate) dropped: u64,
    /// Sorted by name.
    pub(crate) channels: Vec<NamedReport>,
}

/// A channel's report and its name.
#[derive(Debug, Clone)]
pub(crate) struct NamedReport {
    pub(crate) name: ChannelName,
    pub(crate) channel: ChannelReport,
}

/// What the channels of a topic know.
#[derive(Debug)]
pub(super) struct ChannelsReport {
    pub(super) depth: usize,
    pub(super) is_paused: bool,
    pub(super) dropped: u64,
    pub(super) channels: Vec<NamedReport>,
}

/// What topics and their channels did so far, together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    /// Messages that were published.
    pub(crate) messages: u64,
    /// The bodies of those, in bytes.
    pub(crate) bytes: u64,
    /// Messages that ephemeral channels had no room for.
    pub(crate) dropped: u64,
    /// What the channels did.
    pub(crate) channels: Counts,
}

impl Totals {
    /// The larger of each count.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            messages: self.messages.max(other.messages),
            bytes: self.bytes.max(other.bytes),
            dropped: self.dropped.max(other.dropped),
            channels: self.channels.max(other.channels),
        }
    }

    pub(crate) fn add(&mut self, topic: &TopicReport) {
        self.messages += topic.messages;
        self.bytes += topic.bytes;
        self.dropped += topic.dropped;
        for named in &topic.channels {
            self.channels += named.channel.counts;
        }
    }
}

impl TopicReport {
    /// The processing latency of all channels; `None` when it is not measured, or there is no channel.
    #[cfg(feature = "http")]
    pub(crate) fn latency(&self) -> Option<LatencyReport> {
        let mut channels = self
            .channels
            .iter()
            .filter_map(|named| named.channel.latency.as_ref());
        let mut all = channels.next()?.clone();
        channels.for_each(|latency| all.merge(latency));
        Some(all)
    }
}

impl Topic {
    /// The report; `None` when the topic is gone.
    pub(crate) fn report(&self) -> Option<TopicReport> {
        let state = self.state.lock();
        if state.gone {
            return None;
        }
        let channels = state.channels.report(Instant::now());
        Some(TopicReport {
            name: self.name.clone(),
            messages: state.messages,
            bytes: state.bytes,
            depth: channels.depth,
            is_paused: channels.is_paused,
            dropped: channels.dropped,
            channels: channels.channels,
        })
    }
}
