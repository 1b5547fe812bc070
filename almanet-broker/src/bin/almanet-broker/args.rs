//! The command line: nsqd's flags, in nsqd's spelling.

use std::ffi::OsString;

use almanet_broker::BrokerConfig;
use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser, error::ErrorKind};

use crate::{
    absent::ABSENT,
    flags::{FLAGS, Flag, Shape},
    logging::LogLevel,
    security::Security,
};

const LOG_LEVEL: &str = "log-level";

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) config: BrokerConfig,
    pub(crate) security: Security,
    /// `None` when the flag was not given.
    pub(crate) log_level: Option<LogLevel>,
}

impl Args {
    /// Reads a command line. Flags may have one dash or two, as in Go's programs.
    pub(crate) fn from_command_line(line: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut line = line.into_iter();
        let program = line.next();
        let mut command = command();
        let matches =
            command.try_get_matches_from_mut(program.into_iter().chain(line.map(with_two_dashes)))?;

        for (name, reason) in ABSENT {
            if matches.contains_id(name) {
                let text = format!("almanet-broker has no '--{name}': {reason}");
                return Err(command.error(ErrorKind::UnknownArgument, text));
            }
        }
        let mut config = BrokerConfig::default();
        let mut security = Security::default();
        for flag in FLAGS {
            for text in values(&matches, flag.name) {
                config = flag.apply.run(config, &mut security, text).map_err(|reason| {
                    let text = format!(
                        "invalid value '{text}' for '--{} <{}>': {reason}",
                        flag.name, flag.value_name
                    );
                    command.error(ErrorKind::ValueValidation, text)
                })?;
            }
        }
        security
            .check()
            .map_err(|reason| command.error(ErrorKind::ArgumentConflict, reason))?;
        let log_level = values(&matches, LOG_LEVEL).next().and_then(LogLevel::from_name);
        Ok(Self {
            config,
            security,
            log_level,
        })
    }
}

fn values<'a>(matches: &'a ArgMatches, name: &str) -> impl Iterator<Item = &'a str> {
    let values = matches.get_many::<String>(name);
    values.into_iter().flatten().map(String::as_str)
}

/// clap's command with all flags; those that are absent are known to it, but not shown.
fn command() -> Command {
    let absent = ABSENT.iter().map(|(name, _)| {
        Arg::new(*name)
            .long(*name)
            .num_args(0..=1)
            .default_missing_value("")
            .hide(true)
    });
    Command::new("almanet-broker")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A broker for one machine that speaks NSQ's protocol, with nsqd's flags")
        .after_help("Flags may have one dash or two. Durations are written as 500ms, 60s or 1h30m.")
        .args_override_self(true)
        .args(FLAGS.iter().map(arg))
        .arg(
            Arg::new(LOG_LEVEL)
                .long(LOG_LEVEL)
                .value_name("LEVEL")
                .value_parser(PossibleValuesParser::new(LogLevel::NAMES))
                .help("How much to log [default: info, or what RUST_LOG says]"),
        )
        .args(absent)
}

fn arg(flag: &Flag) -> Arg {
    let mut arg = Arg::new(flag.name)
        .long(flag.name)
        .value_name(flag.value_name)
        .help(flag.help);
    if let Some(default) = flag.default {
        arg = arg.default_value(default);
    }
    if flag.is_own {
        arg = arg.help_heading("Beyond nsqd");
    }
    match flag.shape {
        Shape::Single => arg,
        Shape::Repeated => arg.action(ArgAction::Append),
        Shape::Switch => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use almanet_broker::Percentile;

    use super::*;

    fn args(line: &str) -> Result<Args, String> {
        Args::from_command_line(line.split(' ').map(OsString::from)).map_err(|error| error.to_string())
    }

    /// Where the program listens for HTTP over TLS unless it is told otherwise.
    fn with_https(config: BrokerConfig) -> BrokerConfig {
        #[cfg(feature = "tls")]
        let config = config.https_address(([127, 0, 0, 1], 4152).into());
        config
    }

    fn expect_config(line: &str, expected: BrokerConfig) {
        let expected = with_https(expected.http_address(([127, 0, 0, 1], 4151).into()));
        let config = args(line).unwrap().config;
        assert_eq!(format!("{config:?}"), format!("{expected:?}"), "{line}");
    }

    #[test]
    fn flags_are_written_as_for_nsqd() {
        for line in [
            "broker --tcp-address=127.0.0.1:5000 --msg-timeout=1m30s",
            "broker -tcp-address=127.0.0.1:5000 -msg-timeout=1m30s",
            "broker --tcp-address 127.0.0.1:5000 -msg-timeout 1m30s",
            "broker --msg-timeout=5s --tcp-address=127.0.0.1:5000 --msg-timeout=1m30s",
        ] {
            let expected = BrokerConfig::default()
                .tcp_address(([127, 0, 0, 1], 5000).into())
                .message_timeout(Duration::from_secs(90));
            expect_config(line, expected);
        }
    }

    #[test]
    fn without_flags_it_listens_on_nsqds_ports() {
        let nsqds = BrokerConfig::default().tcp_address(([127, 0, 0, 1], 4150).into());
        expect_config("broker", nsqds);
        let everywhere = BrokerConfig::default().tcp_address(([0, 0, 0, 0], 4150).into());
        expect_config("broker --tcp-address=:4150", everywhere);
    }

    #[test]
    fn http_can_be_left_out() {
        let nsqds = || BrokerConfig::default().tcp_address(([127, 0, 0, 1], 4150).into());
        let config = args("broker --http-address=").unwrap().config;
        assert_eq!(format!("{config:?}"), format!("{:?}", with_https(nsqds())));
        #[cfg(feature = "tls")]
        {
            let config = args("broker --http-address= -https-address=").unwrap().config;
            assert_eq!(format!("{config:?}"), format!("{:?}", nsqds()));
        }
    }

    #[test]
    fn an_unknown_flag_is_refused_with_a_suggestion() {
        let error = args("broker -msg-timout=1s").unwrap_err();
        assert!(error.contains("--msg-timout"), "{error}");
        assert!(error.contains("'--msg-timeout'"), "{error}");
    }

    #[test]
    fn a_flag_of_nsqd_that_is_absent_is_refused_with_the_reason() {
        for line in [
            "broker --mem-queue-size=100",
            "broker -mem-queue-size 100 -msg-timeout=1s",
        ] {
            let error = args(line).unwrap_err();
            assert!(error.contains("has no '--mem-queue-size': "), "{error}");
            assert!(error.contains("--max-channel-depth"), "{error}");
        }
        let error = args("broker -statsd-mem-stats -msg-timeout=1s").unwrap_err();
        assert!(error.contains("has no '--statsd-mem-stats': "), "{error}");
    }

    #[test]
    fn a_bad_value_is_refused_with_the_reason() {
        let error = args("broker --msg-timeout=soon").unwrap_err();
        assert!(error.contains("'soon' for '--msg-timeout <DURATION>'"), "{error}");
        let error = args("broker --tcp-address=:notaport").unwrap_err();
        assert!(error.contains("notaport"), "{error}");
        let error = args("broker --max-memory=-1").unwrap_err();
        assert!(error.contains("--max-memory"), "{error}");
        let error = args("broker --log-level=loud").unwrap_err();
        assert!(error.contains("debug, info, warn, error, fatal"), "{error}");
    }

    #[test]
    fn a_switch_is_on_when_it_is_bare() {
        let nsqds = || BrokerConfig::default().tcp_address(([127, 0, 0, 1], 4150).into());
        for (line, snappy, deflate) in [
            ("broker", true, true),
            ("broker --snappy=false", false, true),
            ("broker -snappy --deflate=0 --msg-timeout 1m", true, false),
            ("broker --snappy=f --snappy", true, true),
        ] {
            expect_config(line, nsqds().snappy(snappy).deflate(deflate));
        }
        assert!(
            args("broker --snappy=maybe")
                .unwrap_err()
                .contains("true or false")
        );
        expect_config("broker --max-deflate-level=9", nsqds().max_deflate_level(9));
        assert!(
            args("broker --max-deflate-level=10")
                .unwrap_err()
                .contains("1..=9")
        );
    }

    #[test]
    fn output_buffers_have_nsqds_flags() {
        let expected = BrokerConfig::default()
            .tcp_address(([127, 0, 0, 1], 4150).into())
            .max_output_buffer_size(1024)
            .min_output_buffer_timeout(Duration::from_millis(10))
            .max_output_buffer_timeout(Duration::from_secs(1))
            .output_buffer_timeout(Duration::from_millis(50));
        expect_config(
            "broker --max-output-buffer-size=1024 -min-output-buffer-timeout=10ms --max-output-buffer-timeout 1s \
             -output-buffer-timeout=50ms",
            expected,
        );
    }

    #[test]
    fn servers_that_are_asked_have_nsqds_time() {
        let expected = BrokerConfig::default()
            .tcp_address(([127, 0, 0, 1], 4150).into())
            .http_client_connect_timeout(Duration::from_millis(300))
            .http_client_request_timeout(Duration::from_secs(1));
        expect_config(
            "broker --http-client-connect-timeout=300ms -http-client-request-timeout 1s",
            expected,
        );
    }

    #[test]
    fn percentiles_are_named_one_by_one_or_in_a_list() {
        let percentile = |share| Percentile::new(share).unwrap();
        let expected = || {
            BrokerConfig::default()
                .tcp_address(([127, 0, 0, 1], 4150).into())
                .processing_latency_percentile(percentile(0.99))
                .processing_latency_percentile(percentile(0.5))
                .processing_latency_percentile(percentile(1.0))
        };
        for line in [
            "broker --e2e-processing-latency-percentile=0.99,1.0,0.5",
            "broker -e2e-processing-latency-percentile 1 --e2e-processing-latency-percentile=0.5,0.99",
        ] {
            expect_config(line, expected());
        }
        expect_config(
            "broker --e2e-processing-latency-percentile=1,.99,.5 --e2e-processing-latency-window-time=1m",
            expected().processing_latency_window(Duration::from_secs(60)),
        );
        for wrong in ["99", "0", "-0.5", "NaN", "0.5,", "half"] {
            let error = args(&format!("broker --e2e-processing-latency-percentile={wrong}")).unwrap_err();
            assert!(error.contains("--e2e-processing-latency-percentile"), "{error}");
        }
    }

    #[test]
    fn the_help_names_every_flag_and_no_absent_one() {
        let help = args("broker -help").unwrap_err();
        for flag in FLAGS {
            assert!(
                help.contains(&format!("--{}", flag.name)),
                "{} is not in {help}",
                flag.name
            );
        }
        for (name, _) in ABSENT {
            assert!(!help.contains(&format!("--{name} ")), "{name} is in {help}");
        }
    }
}
