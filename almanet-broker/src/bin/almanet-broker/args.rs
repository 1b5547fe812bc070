//! The command line: nsqd's flags, in nsqd's spelling.

use std::{
    error::Error,
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs},
    time::Duration,
};

use almanet_broker::BrokerConfig;
use clap::Parser;

#[cfg(feature = "tls")]
use crate::security_args::TlsArgs;
use crate::{
    go_duration,
    security_args::{AuthArgs, CompressionArgs},
};

/// A broker for one machine that speaks NSQ's TCP protocol. Messages are kept in memory only.
#[derive(Debug, Parser)]
#[command(name = "almanet-broker", version, about)]
pub(crate) struct Args {
    /// Address to listen on for NSQ clients
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4150", value_parser = address)]
    tcp_address: SocketAddr,

    /// Largest message in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    max_msg_size: usize,

    /// Largest body of a command in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 5 * 1024 * 1024)]
    max_body_size: usize,

    /// Largest RDY count of a client
    #[arg(long, value_name = "COUNT", default_value_t = 2500)]
    max_rdy_count: u64,

    /// Time after which an unanswered message is delivered again
    #[arg(long, value_name = "DURATION", default_value = "1m0s", value_parser = go_duration::parse)]
    msg_timeout: Duration,

    /// Longest message timeout that a client may ask for
    #[arg(long, value_name = "DURATION", default_value = "15m0s", value_parser = go_duration::parse)]
    max_msg_timeout: Duration,

    /// Longest delay of a requeued or deferred message
    #[arg(long, value_name = "DURATION", default_value = "1h0m0s", value_parser = go_duration::parse)]
    max_req_timeout: Duration,

    /// Longest heartbeat interval that a client may ask for
    #[arg(long, value_name = "DURATION", default_value = "1m0s", value_parser = go_duration::parse)]
    max_heartbeat_interval: Duration,

    #[command(flatten)]
    compression: CompressionArgs,

    #[command(flatten)]
    auth: AuthArgs,

    #[cfg(feature = "tls")]
    #[command(flatten)]
    tls: TlsArgs,
}

impl Args {
    /// Reads a command line. Flags may have one dash or two, as in Go's programs.
    pub(crate) fn from_command_line(line: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut line = line.into_iter();
        let program = line.next();
        Self::try_parse_from(program.into_iter().chain(line.map(with_two_dashes)))
    }

    pub(crate) fn into_config(self) -> Result<BrokerConfig, Box<dyn Error>> {
        let config = BrokerConfig::default()
            .tcp_address(self.tcp_address)
            .max_message_size(self.max_msg_size)
            .max_body_size(self.max_body_size)
            .max_ready_count(self.max_rdy_count)
            .message_timeout(self.msg_timeout)
            .max_message_timeout(self.max_msg_timeout)
            .max_requeue_timeout(self.max_req_timeout)
            .max_heartbeat_interval(self.max_heartbeat_interval);
        let config = self.auth.apply(self.compression.apply(config))?;
        #[cfg(feature = "tls")]
        let config = self.tls.apply(config)?;
        Ok(config)
    }
}

/// `-flag` becomes `--flag`; `-h` and `-V` stay, as clap's own.
fn with_two_dashes(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(text) if text.starts_with('-') && !text.starts_with("--") && text.len() > 2 => {
            format!("-{text}").into()
        }
        _ => argument,
    }
}

/// `host:port`, or `:port` for all interfaces.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix(':') {
        let port = port
            .parse()
            .map_err(|error| format!("port {port:?} is no port number: {error}"))?;
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    text.to_socket_addrs()
        .map_err(|error| error.to_string())?
        .next()
        .ok_or_else(|| "the name has no address".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Result<Args, String> {
        Args::from_command_line(line.split(' ').map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_are_written_as_for_nsqd() {
        for line in [
            "broker --tcp-address=127.0.0.1:5000 --msg-timeout=1m30s",
            "broker -tcp-address=127.0.0.1:5000 -msg-timeout=1m30s",
            "broker --tcp-address 127.0.0.1:5000 -msg-timeout 1m30s",
        ] {
            let args = args(line).unwrap();
            assert_eq!(args.tcp_address, ([127, 0, 0, 1], 5000).into(), "{line}");
            assert_eq!(args.msg_timeout, Duration::from_secs(90), "{line}");
        }
    }

    #[test]
    fn without_flags_it_listens_on_nsqds_port() {
        assert_eq!(args("broker").unwrap().tcp_address, ([127, 0, 0, 1], 4150).into());
        assert_eq!(
            args("broker --tcp-address=:4150").unwrap().tcp_address,
            ([0, 0, 0, 0], 4150).into()
        );
    }

    #[test]
    fn an_unknown_flag_is_refused_with_a_suggestion() {
        let error = args("broker -msg-timout=1s").unwrap_err();
        assert!(error.contains("--msg-timout"), "{error}");
        assert!(error.contains("'--msg-timeout'"), "{error}");
    }

    #[test]
    fn a_bad_value_is_refused_with_the_reason() {
        let error = args("broker --msg-timeout=soon").unwrap_err();
        assert!(error.contains("soon"), "{error}");
        let error = args("broker --tcp-address=:notaport").unwrap_err();
        assert!(error.contains("notaport"), "{error}");
    }
}
