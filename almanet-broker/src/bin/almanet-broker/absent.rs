//! Flags that nsqd has and this broker has not, each with the reason.
//!
//! Whoever brings a command line along from nsqd shall hear what becomes of it, not that the flag is unknown.

const NO_DISK_QUEUE: &str = "messages wait in memory, not in a queue on disk: \
     --max-channel-depth and --max-memory bound it, and --data-path keeps messages over a restart";
const NO_SCAN: &str = "timeouts are kept by a timer, to the millisecond; nothing is scanned for them";
const NO_STATSD: &str = "nothing is pushed to statsd; statistics are read over HTTP";
#[cfg(not(feature = "tls"))]
const NO_TLS: &str = "it was built without the feature tls";

/// The names, without dashes, and why they are absent.
pub(crate) const ABSENT: &[(&str, &str)] = &[
    (
        "config",
        "there is no configuration file: settings are given as flags",
    ),
    ("log-prefix", "log lines have no prefix of their own"),
    (
        "verbose",
        "it has no effect in nsqd either: use --log-level=debug",
    ),
    (
        "node-id",
        "message ids are made from the time of the start, not from a node's number",
    ),
    (
        "worker-id",
        "message ids are made from the time of the start, not from a node's number",
    ),
    #[cfg(not(feature = "tls"))]
    ("https-address", NO_TLS),
    ("mem-queue-size", NO_DISK_QUEUE),
    ("max-bytes-per-file", NO_DISK_QUEUE),
    ("sync-every", NO_DISK_QUEUE),
    ("sync-timeout", NO_DISK_QUEUE),
    ("queue-scan-worker-pool-max", NO_SCAN),
    ("queue-scan-selection-count", NO_SCAN),
    ("statsd-address", NO_STATSD),
    ("statsd-interval", NO_STATSD),
    ("statsd-mem-stats", NO_STATSD),
    ("statsd-prefix", NO_STATSD),
    ("statsd-udp-packet-size", NO_STATSD),
    ("statsd-exclude-ephemeral", NO_STATSD),
    #[cfg(not(feature = "tls"))]
    ("tls-cert", NO_TLS),
    #[cfg(not(feature = "tls"))]
    ("tls-key", NO_TLS),
    #[cfg(not(feature = "tls"))]
    ("tls-client-auth-policy", NO_TLS),
    #[cfg(not(feature = "tls"))]
    ("tls-root-ca-file", NO_TLS),
    #[cfg(not(feature = "tls"))]
    ("tls-required", NO_TLS),
    #[cfg(not(feature = "tls"))]
    ("tls-min-version", NO_TLS),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::FLAGS;

    #[test]
    fn a_flag_is_either_there_or_absent() {
        for (name, _) in ABSENT {
            assert!(
                FLAGS.iter().all(|flag| flag.name != *name),
                "--{name} is in both tables: remove it from this one"
            );
        }
    }
}
