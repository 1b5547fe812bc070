//! The output buffer that clients may ask for.

use std::time::Duration;

use super::BrokerConfig;

/// What is said of output buffers, with nsqd's names.
///
/// The broker sends as soon as it has nothing more to gather, so none of this delays a message: it decides what a
/// client's IDENTIFY may ask for and what it is answered.
#[derive(Debug, Clone)]
pub(crate) struct OutputBuffer {
    /// In bytes.
    pub(crate) max_size: usize,
    pub(crate) min_timeout: Duration,
    pub(crate) max_timeout: Duration,
    /// For a client that asks for none.
    pub(crate) timeout: Duration,
}

impl Default for OutputBuffer {
    fn default() -> Self {
        Self {
            max_size: 64 * 1024,
            min_timeout: Duration::from_millis(25),
            max_timeout: Duration::from_secs(30),
            timeout: Duration::from_millis(250),
        }
    }
}

impl BrokerConfig {
    /// The largest output buffer in bytes that a client may ask for. The default is 64 KiB, as nsqd's
    /// `--max-output-buffer-size`.
    ///
    /// This and the other settings of the output buffer decide what IDENTIFY may ask for and what is answered. They
    /// delay nothing: messages are sent as soon as there is nothing more to gather.
    #[must_use]
    pub fn max_output_buffer_size(mut self, bytes: usize) -> Self {
        self.output_buffer.max_size = bytes;
        self
    }

    /// The longest time between two flushes that a client may ask for. The default is 30 s, as nsqd's
    /// `--max-output-buffer-timeout`.
    #[must_use]
    pub fn max_output_buffer_timeout(mut self, timeout: Duration) -> Self {
        self.output_buffer.max_timeout = timeout;
        self
    }

    /// The shortest time between two flushes that a client may ask for. The default is 25 ms, as nsqd's
    /// `--min-output-buffer-timeout`.
    #[must_use]
    pub fn min_output_buffer_timeout(mut self, timeout: Duration) -> Self {
        self.output_buffer.min_timeout = timeout;
        self
    }

    /// The time between two flushes that is answered to a client that asks for none. The default is 250 ms, as nsqd's
    /// `--output-buffer-timeout`.
    #[must_use]
    pub fn output_buffer_timeout(mut self, timeout: Duration) -> Self {
        self.output_buffer.timeout = timeout;
        self
    }
}
