//! IDENTIFY: what a client asks for, checked in nsqd's order and refused in its words.

use std::{ops::RangeInclusive, time::Duration};

use almanet_nsq_proto::{ErrorCode, Identify, IdentifyResponse, ProtocolError};

use super::upgrade::Upgrade;
use crate::{config::BrokerConfig, connections::Compression, version::VERSION};

/// The smallest output buffer that a client can ask for, in bytes.
const SMALLEST_OUTPUT_BUFFER: i64 = 64;

const SAMPLE_RATES: RangeInclusive<i64> = 0..=99;

/// The shortest heartbeat interval and message timeout that a client can ask for, in milliseconds.
const SHORTEST: i64 = 1000;

/// The level for clients that ask for none.
const DEFLATE_LEVEL: u8 = 6;

/// What holds for one connection.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// `None` when the client wants no heartbeats.
    pub(super) heartbeat_interval: Option<Duration>,
    pub(super) message_timeout: Duration,
    /// Percentage of messages, 0 for all.
    pub(super) sample_rate: u8,
    output_buffer_size: i64,
    output_buffer_timeout: i64,
}

impl Settings {
    pub(super) fn new(config: &BrokerConfig) -> Self {
        Self {
            heartbeat_interval: Some(config.heartbeat_interval),
            message_timeout: config.message_timeout,
            sample_rate: 0,
            output_buffer_size: 16 * 1024,
            output_buffer_timeout: millis(config.output_buffer.timeout),
        }
    }

    /// Applies what the client asks for. The output buffer is only checked: this broker holds nothing back.
    pub(super) fn apply(&mut self, identify: &Identify, config: &BrokerConfig) -> Result<(), ProtocolError> {
        match identify.heartbeat_interval.unwrap_or(0) {
            0 => {}
            -1 => self.heartbeat_interval = None,
            interval if (SHORTEST..=millis(config.max_heartbeat_interval)).contains(&interval) => {
                self.heartbeat_interval = Some(duration(interval));
            }
            interval => return Err(invalid("heartbeat interval", interval)),
        }
        let buffer = &config.output_buffer;
        let timeouts = millis(buffer.min_timeout)..=millis(buffer.max_timeout);
        match identify.output_buffer_timeout.unwrap_or(0) {
            0 => {}
            -1 => self.output_buffer_timeout = 0,
            timeout if timeouts.contains(&timeout) => self.output_buffer_timeout = timeout,
            timeout => return Err(invalid("output buffer timeout", timeout)),
        }
        let largest = i64::try_from(buffer.max_size).unwrap_or(i64::MAX);
        match identify.output_buffer_size.unwrap_or(0) {
            0 => {}
            -1 => {
                self.output_buffer_size = 1;
                self.output_buffer_timeout = 0;
            }
            size if (SMALLEST_OUTPUT_BUFFER..=largest).contains(&size) => self.output_buffer_size = size,
            size => return Err(invalid("output buffer size", size)),
        }
        let sample_rate = identify.sample_rate.unwrap_or(0);
        self.sample_rate = u8::try_from(sample_rate)
            .ok()
            .filter(|_| SAMPLE_RATES.contains(&sample_rate))
            .ok_or_else(|| invalid("sample rate", sample_rate))?;
        match identify.msg_timeout.unwrap_or(0) {
            0 => {}
            timeout if (SHORTEST..=millis(config.max_message_timeout)).contains(&timeout) => {
                self.message_timeout = duration(timeout);
            }
            timeout => return Err(invalid("msg timeout", timeout)),
        }
        Ok(())
    }

    /// What the client gets to hear when it asked for feature negotiation, and what the two then change to.
    pub(super) fn negotiate(
        &self,
        identify: &Identify,
        config: &BrokerConfig,
    ) -> Result<(IdentifyResponse, Upgrade), ProtocolError> {
        let snappy = config.snappy && identify.snappy.unwrap_or(false);
        let deflate = config.deflate && identify.deflate.unwrap_or(false);
        // The answer names a level although nothing is compressed, as nsqd's does.
        let deflate_level = identify
            .deflate_level
            .filter(|level| deflate && *level > 0)
            .map_or(DEFLATE_LEVEL, |level| u8::try_from(level).unwrap_or(u8::MAX))
            .min(config.max_deflate_level);
        let compression = match (snappy, deflate) {
            (true, true) => {
                return Err(ProtocolError::new(
                    ErrorCode::IdentifyFailed,
                    "cannot enable both deflate and snappy compression",
                ));
            }
            (true, false) => Some(Compression::Snappy),
            (false, true) => Some(Compression::Deflate(deflate_level)),
            (false, false) => None,
        };
        let upgrade = Upgrade {
            #[cfg(feature = "tls")]
            tls: config.tls.clone().filter(|_| identify.tls_v1.unwrap_or(false)),
            compression,
        };
        let response = IdentifyResponse {
            max_rdy_count: i64::try_from(config.max_ready_count).unwrap_or(i64::MAX),
            version: VERSION.to_owned(),
            max_msg_timeout: millis(config.max_message_timeout),
            msg_timeout: millis(self.message_timeout),
            tls_v1: upgrade.has_tls(),
            deflate,
            deflate_level: i64::from(deflate_level),
            max_deflate_level: i64::from(config.max_deflate_level),
            snappy,
            sample_rate: i64::from(self.sample_rate),
            auth_required: config.auth.is_some(),
            output_buffer_size: self.output_buffer_size,
            output_buffer_timeout: self.output_buffer_timeout,
            flushes_when_idle: true,
        };
        Ok((response, upgrade))
    }
}

fn invalid(field: &str, value: i64) -> ProtocolError {
    ProtocolError::new(
        ErrorCode::BadBody,
        format!("IDENTIFY {field} ({value}) is invalid"),
    )
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn duration(millis: i64) -> Duration {
    Duration::from_millis(millis.unsigned_abs())
}
