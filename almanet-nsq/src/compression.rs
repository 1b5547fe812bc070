//! Which compression a connection can ask for.

/// How a connection is compressed, in both directions.
///
/// It pays where the network is the bottleneck and messages are texts; between processes of one machine it only
/// costs time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Snappy's framing format: little work, about half the size for texts.
    ///
    /// nsqd has it unless it runs with `--snappy=false`.
    Snappy,
    /// Raw deflate: several times the work of snappy, and smaller.
    ///
    /// nsqd has it unless it runs with `--deflate=false`. It then gathers messages for up to 25 ms, the least that it
    /// takes for this: deflate holds messages back, and nsqd does not flush it without such a timer.
    Deflate(DeflateLevel),
}

/// How hard deflate tries, from 1 (fast) to 9 (small); 6 by default, as nsqd's.
///
/// The broker may grant less than what was asked for: nsqd's `--max-deflate-level` is 6 by default. Both peers then
/// use what it grants.
///
/// ```
/// use almanet_nsq::DeflateLevel;
///
/// assert_eq!(DeflateLevel::new(6), Some(DeflateLevel::default()));
/// assert_eq!(DeflateLevel::new(10), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeflateLevel(u8);

impl DeflateLevel {
    /// Level 1.
    pub const FASTEST: Self = Self(1);
    /// Level 9.
    pub const SMALLEST: Self = Self(9);

    /// This level; `None` where it is not 1 to 9.
    #[must_use]
    pub const fn new(level: u8) -> Option<Self> {
        match level {
            1..=9 => Some(Self(level)),
            _ => None,
        }
    }

    /// The level as a number.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self.0
    }

    /// This level, or the lower one that the broker granted.
    pub(crate) fn at_most(self, granted: i64) -> Self {
        let granted = u8::try_from(granted).ok().and_then(Self::new);
        granted.map_or(self, |granted| granted.min(self))
    }
}

impl Default for DeflateLevel {
    fn default() -> Self {
        Self(6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_can_lower_the_level_and_not_raise_it() {
        let level = DeflateLevel::default();
        assert_eq!(level.at_most(2).as_u8(), 2);
        assert_eq!(level.at_most(9).as_u8(), 6);
        for nonsense in [i64::MIN, -1, 0, 10, i64::MAX] {
            assert_eq!(level.at_most(nonsense), level);
        }
    }
}
