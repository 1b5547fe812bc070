//! Which part of a channel a consumer reads.

/// The percentage of a channel's messages that a consumer asks for, from 1 to 99.
///
/// The broker draws, so it holds for many messages only. nsqd draws one of 0 to 99 and sends what is not above the rate,
/// which is one percent more than asked for.
///
/// ```
/// use almanet_nsq::{ConsumerConfig, SampleRate};
///
/// # fn example() -> Option<ConsumerConfig> {
/// let config = ConsumerConfig::default().sample_rate(SampleRate::new(10)?);
/// # Some(config)
/// # }
/// assert_eq!(SampleRate::new(0), None);
/// assert_eq!(SampleRate::new(100), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SampleRate(u8);

impl SampleRate {
    /// This percentage; `None` where it is not 1 to 99.
    #[must_use]
    pub const fn new(percent: u8) -> Option<Self> {
        match percent {
            1..=99 => Some(Self(percent)),
            _ => None,
        }
    }

    /// The percentage as a number.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self.0
    }
}
