//! The statistics of a node in nsqd's shape.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use almanet_nsq_proto::TopicName;
use serde::Serialize;

use super::client::ClientStats;
use crate::{
    channel::{LatencyReport, SubscriberId, SubscriberReport},
    connections::Connections,
    registry::Registry,
    topic::{NamedReport, TopicReport},
    version::VERSION,
};

/// What of the statistics is asked for.
#[derive(Debug)]
pub(crate) struct Selection<'a> {
    /// One topic only.
    pub(crate) topic: Option<&'a str>,
    /// Channels of this name only, and topics that have one.
    pub(crate) channel: Option<&'a str>,
    pub(crate) clients: bool,
    pub(crate) memory: bool,
}

/// The answer to `/stats?format=json`, with nsqd's field names.
#[derive(Debug, Serialize)]
pub(crate) struct NodeStats {
    pub(super) version: &'static str,
    pub(super) health: &'static str,
    /// Seconds since 1970.
    pub(super) start_time: u64,
    /// `None` when the topic that is asked for does not exist.
    pub(super) topics: Option<Vec<TopicStats>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory: Option<MemoryStats>,
    /// The clients that have published; `None` when there is none.
    pub(super) producers: Option<Vec<ClientStats>>,
}

/// One topic.
#[derive(Debug, Serialize)]
pub(crate) struct TopicStats {
    pub(super) topic_name: String,
    pub(super) channels: Vec<ChannelStats>,
    pub(super) depth: usize,
    pub(super) backend_depth: usize,
    pub(super) message_count: u64,
    pub(super) message_bytes: u64,
    pub(super) paused: bool,
    pub(super) e2e_processing_latency: Latency,
}

/// One channel.
#[derive(Debug, Serialize)]
pub(crate) struct ChannelStats {
    pub(super) channel_name: String,
    pub(super) depth: usize,
    pub(super) backend_depth: usize,
    pub(super) in_flight_count: usize,
    pub(super) deferred_count: usize,
    pub(super) message_count: u64,
    pub(super) requeue_count: u64,
    pub(super) timeout_count: u64,
    pub(super) client_count: usize,
    /// `None` when clients are not asked for.
    pub(super) clients: Option<Vec<ClientStats>>,
    pub(super) paused: bool,
    pub(super) e2e_processing_latency: Latency,
}

/// How long messages of late took from their publication to their FIN.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Latency {
    count: usize,
    /// `None` when it is not measured.
    pub(super) percentiles: Option<Vec<LatencyPercentile>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct LatencyPercentile {
    quantile: f64,
    /// Nanoseconds.
    pub(super) value: f64,
}

impl Latency {
    fn new(report: &LatencyReport) -> Self {
        let percentiles = report.percentiles().map(|(percentile, value)| LatencyPercentile {
            quantile: percentile.get(),
            value,
        });
        Self {
            count: report.count(),
            percentiles: Some(percentiles.collect()),
        }
    }
}

/// nsqd's numbers about Go's heap. Of these, the broker knows what its waiting messages take; there is no garbage
/// collector.
#[derive(Debug, Default, Serialize)]
pub(crate) struct MemoryStats {
    pub(super) heap_objects: u64,
    pub(super) heap_idle_bytes: u64,
    pub(super) heap_in_use_bytes: usize,
    pub(super) heap_released_bytes: u64,
    pub(super) gc_pause_usec_100: u64,
    pub(super) gc_pause_usec_99: u64,
    pub(super) gc_pause_usec_95: u64,
    pub(super) next_gc_bytes: u64,
    pub(super) gc_total_runs: u32,
}

impl NodeStats {
    pub(crate) fn gather(registry: &Registry, start_time: SystemTime, selection: &Selection<'_>) -> Self {
        let reports = match selection.topic {
            None => Some(registry.reports()),
            Some(name) => TopicName::new(name)
                .ok()
                .and_then(|name| registry.existing(&name)?.report())
                .map(|report| vec![report]),
        };
        let connections = registry.connections();
        let producers = (selection.clients && reports.is_some())
            .then(|| {
                producers(
                    connections,
                    reports.as_deref().unwrap_or_default(),
                    selection.topic,
                )
            })
            .filter(|producers| !producers.is_empty());
        let topics = reports.map(|reports| {
            reports
                .into_iter()
                .filter_map(|report| TopicStats::new(report, connections, selection))
                .collect()
        });
        Self {
            version: VERSION,
            health: "OK",
            start_time: start_time
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
            topics,
            memory: selection.memory.then(|| MemoryStats {
                heap_in_use_bytes: registry.memory().used(),
                ..MemoryStats::default()
            }),
            producers,
        }
    }
}

/// The clients that have published, with their subscriptions if they are among `topics`.
fn producers(connections: &Connections, topics: &[TopicReport], topic: Option<&str>) -> Vec<ClientStats> {
    let channels = topics.iter().flat_map(|topic| &topic.channels);
    let subscribers: HashMap<SubscriberId, &SubscriberReport> = channels
        .flat_map(|named| &named.channel.subscribers)
        .map(|subscriber| (subscriber.id, subscriber))
        .collect();
    let open = connections.open();
    open.iter()
        .filter(|connection| connection.published().is_some())
        .map(|connection| ClientStats::new(connection, subscribers.get(&connection.id()).copied(), topic))
        .collect()
}

impl TopicStats {
    /// The topic, or `None` when it has no channel of the name that is asked for.
    fn new(report: TopicReport, connections: &Connections, selection: &Selection<'_>) -> Option<Self> {
        let is_wanted =
            |named: &NamedReport| selection.channel.is_none_or(|name| named.name.as_str() == name);
        let channels: Vec<_> = report
            .channels
            .iter()
            .filter(|named| is_wanted(named))
            .map(|named| ChannelStats::new(named, connections, selection))
            .collect();
        if selection.channel.is_some() && channels.is_empty() {
            return None;
        }
        let latency = report.latency();
        Some(Self {
            topic_name: report.name.as_str().to_owned(),
            channels,
            depth: report.depth,
            backend_depth: 0,
            message_count: report.messages,
            message_bytes: report.bytes,
            paused: report.is_paused,
            e2e_processing_latency: latency.as_ref().map(Latency::new).unwrap_or_default(),
        })
    }
}

impl ChannelStats {
    fn new(named: &NamedReport, connections: &Connections, selection: &Selection<'_>) -> Self {
        let report = &named.channel;
        let clients = selection.clients.then(|| {
            let subscribers = report.subscribers.iter();
            subscribers
                .filter_map(|subscriber| {
                    let connection = connections.get(subscriber.id)?;
                    Some(ClientStats::new(&connection, Some(subscriber), selection.topic))
                })
                .collect()
        });
        Self {
            channel_name: named.name.as_str().to_owned(),
            depth: report.depth,
            backend_depth: 0,
            in_flight_count: report.in_flight,
            deferred_count: report.deferred,
            message_count: report.counts.messages,
            requeue_count: report.counts.requeued,
            timeout_count: report.counts.timed_out,
            client_count: report.subscribers.len(),
            clients,
            paused: report.is_paused,
            e2e_processing_latency: report.latency.as_ref().map(Latency::new).unwrap_or_default(),
        }
    }
}
