//! The flags: one table, from which the command line, its help and the broker's configuration are made.

use almanet_broker::{BrokerConfig, Percentile};

#[cfg(feature = "tls")]
use crate::security;
use crate::{
    go_duration,
    security::Security,
    value::{address, boolean, host_and_port, level, number},
};

/// One flag. Its name, its default and what it means are nsqd's, unless it is [beyond nsqd](Self::beyond_nsqd).
#[derive(Debug)]
pub(crate) struct Flag {
    /// Without the dashes.
    pub(crate) name: &'static str,
    /// What stands for the value in the help.
    pub(crate) value_name: &'static str,
    /// How many values it takes.
    pub(crate) shape: Shape,
    /// What is set when the flag is not given; `None` leaves the configuration as it is.
    pub(crate) default: Option<&'static str>,
    /// One line for the help.
    pub(crate) help: &'static str,
    /// Whether nsqd has no such flag.
    pub(crate) is_own: bool,
    /// Puts a value into the configuration, or says what is wrong with it.
    pub(crate) apply: Apply,
}

/// How often a flag may come, and whether it needs a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One value; of several, the last counts, as in Go.
    Single,
    /// A value each time it is given.
    Repeated,
    /// `--flag`, `--flag=true` or `--flag=false`.
    Switch,
}

/// Where a flag's value goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Apply {
    Config(fn(BrokerConfig, &str) -> Result<BrokerConfig, String>),
    /// Kept until all flags are read, as some of these count together only.
    Security(fn(&mut Security, &str) -> Result<(), String>),
}

impl Apply {
    pub(crate) fn run(
        self,
        config: BrokerConfig,
        security: &mut Security,
        text: &str,
    ) -> Result<BrokerConfig, String> {
        match self {
            Self::Config(apply) => apply(config, text),
            Self::Security(apply) => apply(security, text).map(|()| config),
        }
    }
}

impl Flag {
    const fn new(
        name: &'static str,
        value_name: &'static str,
        help: &'static str,
        apply: fn(BrokerConfig, &str) -> Result<BrokerConfig, String>,
    ) -> Self {
        Self {
            name,
            value_name,
            shape: Shape::Single,
            default: None,
            help,
            is_own: false,
            apply: Apply::Config(apply),
        }
    }

    const fn security(
        name: &'static str,
        value_name: &'static str,
        help: &'static str,
        apply: fn(&mut Security, &str) -> Result<(), String>,
    ) -> Self {
        let mut flag = Self::new(name, value_name, help, |config, _| Ok(config));
        flag.apply = Apply::Security(apply);
        flag
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn repeated(mut self) -> Self {
        self.shape = Shape::Repeated;
        self
    }

    const fn switch(mut self) -> Self {
        self.shape = Shape::Switch;
        self
    }

    const fn beyond_nsqd(mut self) -> Self {
        self.is_own = true;
        self
    }
}

/// Every flag that configures the broker, in the order of the help.
#[rustfmt::skip] // One flag, two lines: what it is called, and what it does.
pub(crate) const FLAGS: &[Flag] = &[
    Flag::new("tcp-address", "HOST:PORT", "Address to listen on for NSQ clients",
        |config, text| Ok(config.tcp_address(address(text)?))).default("127.0.0.1:4150"),
    Flag::new("http-address", "HOST:PORT", "Address to listen on for HTTP; empty for none",
        |config, text| if text.is_empty() { Ok(config) } else { Ok(config.http_address(address(text)?)) })
        .default("127.0.0.1:4151"),
    #[cfg(feature = "tls")]
    Flag::new("https-address", "HOST:PORT", "Address to listen on for HTTP over TLS, where there is --tls-cert; empty for none",
        |config, text| if text.is_empty() { Ok(config) } else { Ok(config.https_address(address(text)?)) })
        .default("127.0.0.1:4152"),
    Flag::new("data-path", "DIRECTORY", "Directory in which messages outlive a clean stop; without it, memory only",
        |config, text| Ok(config.data_path(text))),
    Flag::new("broadcast-address", "HOST", "Name under which others reach this machine [default: the host's name]",
        |config, text| Ok(config.broadcast_address(text))),
    Flag::new("broadcast-tcp-port", "PORT", "TCP port that is registered at nsqlookupd [default: the one it listens on]",
        |config, text| Ok(config.broadcast_tcp_port(number(text)?))),
    Flag::new("broadcast-http-port", "PORT", "HTTP port that is registered at nsqlookupd [default: the one it listens on]",
        |config, text| Ok(config.broadcast_http_port(number(text)?))),
    Flag::new("lookupd-tcp-address", "HOST:PORT", "TCP address of an nsqlookupd to register at (may be given several times)",
        |config, text| Ok(config.lookupd_tcp_address(host_and_port(text)?))).repeated(),
    Flag::new("max-msg-size", "BYTES", "Largest message",
        |config, text| Ok(config.max_message_size(number(text)?))).default("1048576"),
    Flag::new("max-body-size", "BYTES", "Largest body of a command",
        |config, text| Ok(config.max_body_size(number(text)?))).default("5242880"),
    Flag::new("max-rdy-count", "COUNT", "Largest RDY count of a client",
        |config, text| Ok(config.max_ready_count(number(text)?))).default("2500"),
    Flag::new("msg-timeout", "DURATION", "Time after which an unanswered message is delivered again",
        |config, text| Ok(config.message_timeout(go_duration::parse(text)?))).default("1m0s"),
    Flag::new("max-msg-timeout", "DURATION", "Longest message timeout that a client may ask for",
        |config, text| Ok(config.max_message_timeout(go_duration::parse(text)?))).default("15m0s"),
    Flag::new("max-req-timeout", "DURATION", "Longest delay of a requeued or deferred message",
        |config, text| Ok(config.max_requeue_timeout(go_duration::parse(text)?))).default("1h0m0s"),
    Flag::new("max-heartbeat-interval", "DURATION", "Longest heartbeat interval that a client may ask for",
        |config, text| Ok(config.max_heartbeat_interval(go_duration::parse(text)?))).default("1m0s"),

    Flag::new("max-output-buffer-size", "BYTES", "Largest output buffer that a client may ask for; nothing is held back for it",
        |config, text| Ok(config.max_output_buffer_size(number(text)?))).default("65536"),
    Flag::new("max-output-buffer-timeout", "DURATION", "Longest time between flushes that a client may ask for",
        |config, text| Ok(config.max_output_buffer_timeout(go_duration::parse(text)?))).default("30s"),
    Flag::new("min-output-buffer-timeout", "DURATION", "Shortest time between flushes that a client may ask for",
        |config, text| Ok(config.min_output_buffer_timeout(go_duration::parse(text)?))).default("25ms"),
    Flag::new("output-buffer-timeout", "DURATION", "Time between flushes that is answered to a client that asks for none",
        |config, text| Ok(config.output_buffer_timeout(go_duration::parse(text)?))).default("250ms"),

    Flag::new("max-channel-consumers", "COUNT", "How many clients may be subscribed to one channel, 0 for any number",
        |config, text| Ok(config.max_channel_consumers(number(text)?))).default("0"),

    Flag::new("e2e-processing-latency-percentile", "SHARES",
        "Processing latency to show in the statistics, such as 0.99,0.5 (may be given several times) [default: none]",
        percentiles).repeated(),
    Flag::new("e2e-processing-latency-window-time", "DURATION", "Time for which a message counts in these percentiles",
        |config, text| Ok(config.processing_latency_window(go_duration::parse(text)?))).default("10m0s"),

    Flag::new("snappy", "BOOL", "Whether clients may ask for snappy",
        |config, text| Ok(config.snappy(boolean(text)?))).switch().default("true"),
    Flag::new("deflate", "BOOL", "Whether clients may ask for deflate",
        |config, text| Ok(config.deflate(boolean(text)?))).switch().default("true"),
    Flag::new("max-deflate-level", "LEVEL", "Highest deflate level that a client gets, 1 to 9",
        |config, text| Ok(config.max_deflate_level(level(text)?))).default("6"),

    Flag::security("auth-http-address", "ADDRESS",
        "Auth server to ask what a client's secret allows: HOST:PORT or a URL with http or https (may be given several times)",
        |security, text| { security.auth_http_addresses.push(text.to_owned()); Ok(()) }).repeated(),
    Flag::new("http-client-connect-timeout", "DURATION", "Time for the connection to an auth server or to nsqlookupd's HTTP",
        |config, text| Ok(config.http_client_connect_timeout(go_duration::parse(text)?))).default("2s"),
    Flag::new("http-client-request-timeout", "DURATION", "Time for their answer, from the connection on",
        |config, text| Ok(config.http_client_request_timeout(go_duration::parse(text)?))).default("5s"),
    Flag::security("auth-secret-file", "FILE", "File with the one secret that clients have to show",
        |security, text| { security.auth_secret_file = Some(text.into()); Ok(()) }).beyond_nsqd(),

    #[cfg(feature = "tls")]
    Flag::security("tls-cert", "FILE", "PEM file with the broker's certificate",
        |security, text| { security.tls.certificate = Some(text.into()); Ok(()) }),
    #[cfg(feature = "tls")]
    Flag::security("tls-key", "FILE", "PEM file with the certificate's private key",
        |security, text| { security.tls.key = Some(text.into()); Ok(()) }),
    #[cfg(feature = "tls")]
    Flag::security("tls-client-auth-policy", "POLICY",
        "Which certificate clients have to show: any (require), or one of the authority in --tls-root-ca-file (require-verify)",
        |security, text| { security.tls.client_auth = Some(security::client_auth(text)?); Ok(()) }),
    #[cfg(feature = "tls")]
    Flag::security("tls-root-ca-file", "FILE", "PEM file with the authority that issues the certificates of clients, and of auth servers asked over https",
        |security, text| { security.tls.root_ca_file = Some(text.into()); Ok(()) }),
    #[cfg(feature = "tls")]
    Flag::security("tls-required", "WHICH", "Whether clients have to change to TLS: true, false, or tcp-https for all but HTTP",
        |security, text| { security.tls.required = security::required(text)?; Ok(()) }).switch().default("false"),
    #[cfg(feature = "tls")]
    Flag::security("tls-min-version", "VERSION", "Oldest version of TLS that is spoken; those before tls1.2 count as tls1.2",
        |security, text| { security.tls.min_version = Some(security::version(text)?); Ok(()) }).default("tls1.2"),

    Flag::new("max-channel-depth", "COUNT", "How many messages may wait in one channel",
        |config, text| Ok(config.max_channel_depth(number(text)?))).default("1048576").beyond_nsqd(),
    Flag::new("max-memory", "BYTES", "How much memory all waiting messages may take together",
        |config, text| Ok(config.max_memory(number(text)?))).default("1073741824").beyond_nsqd(),
    Flag::new("max-connections", "COUNT", "How many clients may be connected at a time",
        |config, text| Ok(config.max_connections(number(text)?))).default("10000").beyond_nsqd(),
    Flag::new("max-http-connections", "COUNT", "How many HTTP clients may be connected at a time",
        |config, text| Ok(config.max_http_connections(number(text)?))).default("256").beyond_nsqd(),
];

/// nsqd's list of shares, with commas between them.
fn percentiles(config: BrokerConfig, text: &str) -> Result<BrokerConfig, String> {
    text.split(',').try_fold(config, |config, share| {
        let percentile = Percentile::new(number(share)?).map_err(|error| error.to_string())?;
        Ok(config.processing_latency_percentile(percentile))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_librarys_but_for_the_ports() {
        let config = FLAGS
            .iter()
            .filter_map(|flag| Some((flag, flag.default?)))
            .try_fold(BrokerConfig::default(), |config, (flag, text)| {
                flag.apply.run(config, &mut Security::default(), text)
            })
            .unwrap();
        let expected = BrokerConfig::default()
            .tcp_address(([127, 0, 0, 1], 4150).into())
            .http_address(([127, 0, 0, 1], 4151).into());
        #[cfg(feature = "tls")]
        let expected = expected.https_address(([127, 0, 0, 1], 4152).into());
        assert_eq!(format!("{config:?}"), format!("{expected:?}"));
    }
}
