//! The broker's metrics, gathered at each scrape.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType::{self, Counter, Gauge},
    registry::Unit,
};

use crate::{
    channel::ChannelReport,
    registry::Registry,
    topic::{TopicReport, Totals},
};

/// How many topics and channels together have series of their own: some 10,000 series.
///
/// The metrics of the whole broker count all.
const MAX_LISTED: usize = 1000;

/// One metric: what it is called behind `almanet_broker_`, what it says, its type, and where its value is.
struct Metric<T> {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    /// `bytes`, and nothing for messages and other things that are counted one by one.
    unit: Option<Unit>,
    value: fn(&T) -> u64,
}

impl<T> Metric<T> {
    const fn new(kind: MetricType, name: &'static str, help: &'static str, value: fn(&T) -> u64) -> Self {
        let unit = None;
        Self {
            name,
            help,
            kind,
            unit,
            value,
        }
    }

    const fn bytes(kind: MetricType, name: &'static str, help: &'static str, value: fn(&T) -> u64) -> Self {
        let unit = Some(Unit::Bytes);
        Self {
            name,
            help,
            kind,
            unit,
            value,
        }
    }
}

/// The whole broker at one moment.
#[derive(Debug)]
struct Whole {
    totals: Totals,
    topics: Vec<TopicReport>,
    connections: u64,
    connections_accepted: u64,
    memory: u64,
    start_time: u64,
}

#[rustfmt::skip] // One metric, two lines.
const WHOLE: &[Metric<Whole>] = &[
    Metric::new(Counter, "published_messages", "Messages that were published",
        |whole| whole.totals.messages),
    Metric::bytes(Counter, "published", "Bodies of the messages that were published",
        |whole| whole.totals.bytes),
    Metric::new(Counter, "delivered_messages", "Messages that were sent to subscribers, each time",
        |whole| whole.totals.channels.delivered),
    Metric::bytes(Counter, "delivered", "Bodies of the messages that were sent to subscribers",
        |whole| whole.totals.channels.delivered_bytes),
    Metric::new(Counter, "finished_messages", "Messages that subscribers have finished",
        |whole| whole.totals.channels.finished),
    Metric::new(Counter, "requeued_messages", "Messages that subscribers gave back",
        |whole| whole.totals.channels.requeued),
    Metric::new(Counter, "timed_out_messages", "Messages that were not answered in time or whose subscriber left",
        |whole| whole.totals.channels.timed_out),
    Metric::new(Counter, "dropped_messages", "Messages that ephemeral topics and channels had no room for",
        |whole| whole.totals.dropped),
    Metric::new(Gauge, "waiting_messages", "Messages that wait in topics and channels, without deferred ones",
        |whole| sum(whole, |topic| topic.depth, |channel| channel.depth)),
    Metric::new(Gauge, "deferred_messages", "Messages that are deferred in channels",
        |whole| sum(whole, |_| 0, |channel| channel.deferred)),
    Metric::new(Gauge, "in_flight_messages", "Messages that are sent and not answered yet",
        |whole| sum(whole, |_| 0, |channel| channel.in_flight)),
    Metric::bytes(Gauge, "memory", "What max_memory limits: bodies of waiting messages and their bookkeeping",
        |whole| whole.memory),
    Metric::new(Gauge, "topics", "Topics, ephemeral ones included",
        |whole| whole.topics.len() as u64),
    Metric::new(Gauge, "channels", "Channels, ephemeral ones included",
        |whole| sum(whole, |topic| topic.channels.len(), |_| 0)),
    Metric::new(Gauge, "connections", "NSQ clients that are connected",
        |whole| whole.connections),
    Metric::new(Counter, "connections_accepted", "NSQ clients that have connected",
        |whole| whole.connections_accepted),
    Metric::new(Gauge, "start_time_seconds", "When the broker was started, in seconds since 1970",
        |whole| whole.start_time),
];

#[rustfmt::skip] // One metric, two lines.
const TOPIC: &[Metric<TopicReport>] = &[
    Metric::new(Counter, "topic_published_messages", "Messages that were published to the topic",
        |topic| topic.messages),
    Metric::bytes(Counter, "topic_published", "Bodies of the messages that were published to the topic",
        |topic| topic.bytes),
    Metric::new(Counter, "topic_dropped_messages", "Messages that ephemeral channels of the topic had no room for",
        |topic| topic.dropped),
    Metric::new(Gauge, "topic_waiting_messages", "Messages that wait in the topic: it has no channel or is paused",
        |topic| topic.depth as u64),
    Metric::new(Gauge, "topic_paused", "1 while the topic is paused",
        |topic| topic.is_paused.into()),
];

#[rustfmt::skip] // One metric, two lines.
const CHANNEL: &[Metric<ChannelReport>] = &[
    Metric::new(Counter, "channel_messages", "Messages that came into the channel",
        |channel| channel.counts.messages),
    Metric::new(Counter, "channel_delivered_messages", "Messages of the channel that were sent, each time",
        |channel| channel.counts.delivered),
    Metric::bytes(Counter, "channel_delivered", "Bodies of the messages of the channel that were sent",
        |channel| channel.counts.delivered_bytes),
    Metric::new(Counter, "channel_finished_messages", "Messages of the channel that were finished",
        |channel| channel.counts.finished),
    Metric::new(Counter, "channel_requeued_messages", "Messages of the channel that were given back",
        |channel| channel.counts.requeued),
    Metric::new(Counter, "channel_timed_out_messages", "Messages of the channel that were not answered in time",
        |channel| channel.counts.timed_out),
    Metric::new(Gauge, "channel_waiting_messages", "Messages that wait in the channel, without deferred ones",
        |channel| channel.depth as u64),
    Metric::new(Gauge, "channel_deferred_messages", "Messages that are deferred in the channel",
        |channel| channel.deferred as u64),
    Metric::new(Gauge, "channel_in_flight_messages", "Messages of the channel that are not answered yet",
        |channel| channel.in_flight as u64),
    Metric::new(Gauge, "channel_subscribers", "Clients that are subscribed to the channel",
        |channel| channel.subscribers.len() as u64),
    Metric::new(Gauge, "channel_paused", "1 while the channel is paused",
        |channel| channel.is_paused.into()),
];

/// Encodes the metrics of a broker.
#[derive(Debug)]
pub(crate) struct BrokerMetrics {
    registry: Arc<Registry>,
    start_time: SystemTime,
    /// What was said last. A topic that vanishes while it is gathered is missed; a counter may not go back for that.
    last: Mutex<Totals>,
}

impl BrokerMetrics {
    pub(crate) fn new(registry: Arc<Registry>, start_time: SystemTime) -> Self {
        Self {
            registry,
            start_time,
            last: Mutex::default(),
        }
    }

    fn gather(&self) -> Whole {
        // What is gone comes first: a topic that vanishes meanwhile is counted once or not at all, but never twice.
        let mut totals = self.registry.departed();
        let topics = self.registry.reports();
        for topic in &topics {
            totals.add(topic);
        }
        let mut last = self.last.lock();
        *last = last.max(totals);
        let since_epoch = self.start_time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Whole {
            totals: *last,
            topics,
            connections: self.registry.connections().open_count() as u64,
            connections_accepted: self.registry.connections().accepted(),
            memory: self.registry.memory().used() as u64,
            start_time: since_epoch.as_secs(),
        }
    }
}

impl Collector for BrokerMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let whole = self.gather();
        for metric in WHOLE {
            encode(&mut encoder, metric, [([], &whole)])?;
        }
        self.encode_refusals(&mut encoder)?;

        let listed = Listed::of(&whole.topics);
        for metric in TOPIC {
            let topics = listed.topics.iter();
            encode(
                &mut encoder,
                metric,
                topics.map(|topic| ([("topic", topic.name.as_str())], *topic)),
            )?;
        }
        for metric in CHANNEL {
            let channels = listed.channels.iter();
            encode(
                &mut encoder,
                metric,
                channels
                    .map(|(topic, channel, report)| ([("topic", *topic), ("channel", *channel)], *report)),
            )?;
        }
        let unlisted = Metric::<u64>::new(
            Gauge,
            "unlisted",
            "Topics and channels without series of their own: ephemeral ones, and what is beyond 1000",
            |count| *count,
        );
        encode(&mut encoder, &unlisted, [([], &listed.left_out)])
    }
}

impl BrokerMetrics {
    fn encode_refusals(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let refusals = Metric::<u64>::new(
            Counter,
            "refusals",
            "Commands and connections that were refused, by the limit that was reached",
            |count| *count,
        );
        let log = self.registry.limit_log();
        let by_limit = [
            ("max_channel_depth", log.depth_refusals()),
            ("max_channel_consumers", log.consumer_refusals()),
            ("max_memory", log.memory_refusals()),
            ("max_connections", log.connection_refusals()),
        ];
        let samples = by_limit.iter().map(|(limit, count)| ([("limit", *limit)], count));
        encode(encoder, &refusals, samples)
    }
}

/// The topics and channels that have series of their own.
///
/// Ephemeral ones have none: their names come and go with sessions, and each would stay in Prometheus for good.
#[derive(Debug, Default)]
struct Listed<'a> {
    topics: Vec<&'a TopicReport>,
    channels: Vec<(&'a str, &'a str, &'a ChannelReport)>,
    left_out: u64,
}

impl<'a> Listed<'a> {
    fn of(topics: &'a [TopicReport]) -> Self {
        let mut listed = Self::default();
        let mut room = MAX_LISTED;
        for topic in topics {
            if topic.name.is_ephemeral() || room == 0 {
                listed.left_out += 1 + topic.channels.len() as u64;
                continue;
            }
            room -= 1;
            listed.topics.push(topic);
            for named in &topic.channels {
                if named.name.is_ephemeral() || room == 0 {
                    listed.left_out += 1;
                    continue;
                }
                room -= 1;
                listed
                    .channels
                    .push((topic.name.as_str(), named.name.as_str(), &named.channel));
            }
        }
        listed
    }
}

fn sum(whole: &Whole, topic: fn(&TopicReport) -> usize, channel: fn(&ChannelReport) -> usize) -> u64 {
    let topics = whole.topics.iter();
    let sums = topics.map(|report| {
        let channels = report.channels.iter().map(|named| channel(&named.channel));
        topic(report) + channels.sum::<usize>()
    });
    sums.sum::<usize>() as u64
}

/// Encodes a metric with one sample for each set of labels.
fn encode<'a, T: 'a, const LABELS: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    metric: &Metric<T>,
    samples: impl IntoIterator<Item = ([(&'a str, &'a str); LABELS], &'a T)>,
) -> fmt::Result {
    let mut family =
        encoder.encode_descriptor(metric.name, metric.help, metric.unit.as_ref(), metric.kind)?;
    for (labels, from) in samples {
        let value = (metric.value)(from);
        if LABELS == 0 {
            encode_value(&mut family, metric.kind, value)?;
        } else {
            encode_value(&mut family.encode_family(&labels)?, metric.kind, value)?;
        }
    }
    Ok(())
}

fn encode_value(sample: &mut MetricEncoder<'_>, kind: MetricType, value: u64) -> fmt::Result {
    match kind {
        Counter => sample.encode_counter::<NoLabelSet, _, u64>(&value, None),
        _ => sample.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX)),
    }
}
