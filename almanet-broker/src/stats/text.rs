//! The statistics as text, line by line as nsqd writes them.

use std::{
    fmt::{self, Display, Write},
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    client::ClientStats,
    node::{ChannelStats, Latency, MemoryStats, NodeStats, TopicStats},
};

impl NodeStats {
    pub(crate) fn to_text(&self, start_time: SystemTime, uptime: Duration) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text, start_time, uptime);
        text
    }

    fn write(&self, text: &mut String, start_time: SystemTime, uptime: Duration) -> fmt::Result {
        writeln!(text, "almanet-broker v{}", self.version)?;
        let start_time = humantime::format_rfc3339_seconds(start_time);
        writeln!(text, "start_time {start_time}")?;
        let uptime = Duration::from_secs(uptime.as_secs());
        writeln!(text, "uptime {}", humantime::format_duration(uptime))?;
        writeln!(text, "\nHealth: {}", self.health)?;
        if let Some(memory) = &self.memory {
            memory.write(text)?;
        }

        let topics = self.topics.as_deref().unwrap_or_default();
        text.push_str(if topics.is_empty() {
            "\nTopics: None\n"
        } else {
            "\nTopics:"
        });
        for topic in topics {
            topic.write(text)?;
        }

        let producers = self.producers.as_deref().unwrap_or_default();
        text.push_str(if producers.is_empty() {
            "\nProducers: None\n"
        } else {
            "\nProducers:\n"
        });
        for producer in producers {
            write!(text, "   ")?;
            producer.write(text)?;
        }
        Ok(())
    }
}

impl MemoryStats {
    fn write(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "\nMemory:")?;
        let heap_in_use = u64::try_from(self.heap_in_use_bytes).unwrap_or(u64::MAX);
        for (name, value) in [
            ("heap_objects", self.heap_objects),
            ("heap_idle_bytes", self.heap_idle_bytes),
            ("heap_in_use_bytes", heap_in_use),
            ("heap_released_bytes", self.heap_released_bytes),
            ("gc_pause_usec_100", self.gc_pause_usec_100),
            ("gc_pause_usec_99", self.gc_pause_usec_99),
            ("gc_pause_usec_95", self.gc_pause_usec_95),
            ("next_gc_bytes", self.next_gc_bytes),
            ("gc_total_runs", self.gc_total_runs.into()),
        ] {
            writeln!(text, "   {name:<25}\t{value}")?;
        }
        Ok(())
    }
}

impl TopicStats {
    fn write(&self, text: &mut String) -> fmt::Result {
        writeln!(
            text,
            "\n{}[{:<15}] depth: {:<5} be-depth: {:<5} msgs: {:<8} e2e%: {}",
            if self.paused { "*P " } else { "   " },
            self.topic_name,
            self.depth,
            self.backend_depth,
            self.message_count,
            self.e2e_processing_latency,
        )?;
        for channel in &self.channels {
            channel.write(text)?;
        }
        Ok(())
    }
}

impl ChannelStats {
    fn write(&self, text: &mut String) -> fmt::Result {
        writeln!(
            text,
            "{}[{:<25}] depth: {:<5} be-depth: {:<5} inflt: {:<4} def: {:<4} re-q: {:<5} timeout: {:<5} msgs: {:<8} \
             e2e%: {}",
            if self.paused { "   *P " } else { "      " },
            self.channel_name,
            self.depth,
            self.backend_depth,
            self.in_flight_count,
            self.deferred_count,
            self.requeue_count,
            self.timeout_count,
            self.message_count,
            self.e2e_processing_latency,
        )?;
        for client in self.clients.iter().flatten() {
            write!(text, "        ")?;
            client.write(text)?;
        }
        Ok(())
    }
}

impl Display for Latency {
    /// The values alone, as nsqd writes them: in the largest unit that they are more than one of.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, percentile) in self.percentiles.iter().flatten().enumerate() {
            let (unit, name) = match percentile.value {
                nanos if nanos > 1e9 => (1e9, "s"),
                nanos if nanos > 1e6 => (1e6, "ms"),
                nanos if nanos > 1e3 => (1e3, "us"),
                _ => (1.0, "ns"),
            };
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}{:.1}{name}", percentile.value / unit)?;
        }
        Ok(())
    }
}

impl ClientStats {
    fn write(&self, text: &mut String) -> fmt::Result {
        let port = self
            .remote_address
            .parse()
            .map_or(0, |address: SocketAddr| address.port());
        let id = format!("{}:{port} {}", self.hostname, self.user_agent);
        let connected = humantime::format_duration(self.connected());
        if self.pub_counts.is_empty() {
            return writeln!(
                text,
                "[{} {id:<21}] state: {} inflt: {:<4} rdy: {:<4} fin: {:<8} re-q: {:<8} msgs: {:<8} connected: {connected}",
                self.version,
                self.state,
                self.in_flight_count,
                self.ready_count,
                self.finish_count,
                self.requeue_count,
                self.message_count,
            );
        }
        let total: u64 = self.pub_counts.iter().map(|published| published.count).sum();
        let topics: Vec<_> = self
            .pub_counts
            .iter()
            .map(|published| format!("{}={}", published.topic, published.count))
            .collect();
        let topics = topics.join(",");
        writeln!(
            text,
            "[{} {id:<21}] msgs: {total:<8} topics: {topics} connected: {connected}",
            self.version
        )
    }

    /// For how many seconds it has been connected.
    fn connected(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = Duration::from_secs(u64::try_from(self.connect_ts).unwrap_or(0));
        Duration::from_secs(now.saturating_sub(since).as_secs())
    }
}
