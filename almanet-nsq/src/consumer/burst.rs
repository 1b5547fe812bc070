//! Which messages were published together, as their timestamps tell.

use std::ops::RangeInclusive;

/// Messages with less time between them than that, in nanoseconds, were published together: by one command, or by callers
/// that had their answers together. Those with more were not. In between it is not clear.
///
/// Measured over nsqd: calls of callers that were answered together are up to 35 microseconds apart; those of callers that run free, and of
/// callers in step from one time to the next, are 50 to 600.
const UNCLEAR: RangeInclusive<u64> = 40_000..=80_000;

/// How many bursts of one size it takes for the next to be as large most likely,
const CERTAIN: u32 = 3;
/// and how many of less than so many messages, which can be chance.
const SMALL: usize = 4;
const CERTAIN_OF_SMALL: u32 = 4;

/// What was read at once from one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    /// How many messages.
    pub(super) count: usize,
    /// How many nanoseconds old the youngest was, by the broker's clock when it was published and by ours now; `None`
    /// where its age says nothing.
    pub(super) age: Option<i64>,
    /// Whether a burst began with the first of them, and with none of the others.
    pub(super) is_burst: bool,
    /// The size of the last burst that is over; zero when that is not clear.
    pub(super) last_burst: usize,
    /// The size of all bursts lately, if the last message here ended another of them.
    pub(super) ended_burst: Option<usize>,
}

impl Batch {
    /// Messages of which nothing is known but their number and the age of the youngest.
    pub(super) fn new(count: usize, age: Option<i64>) -> Self {
        Self {
            count,
            age,
            is_burst: false,
            last_burst: 0,
            ended_burst: None,
        }
    }
}

/// The bursts that the messages of one connection come in.
#[derive(Debug, Default)]
pub(super) struct Bursts {
    last: i64,
    /// How many messages there are of the burst that may not be over.
    current: usize,
    /// How many there were of the last that is; zero when that is not clear.
    size: usize,
    /// How many bursts in a row were of that size.
    times: u32,
}

impl Bursts {
    /// Notes in `batch` what the times say at which it was published.
    pub(super) fn note(&mut self, batch: &mut Batch, timestamps: impl Iterator<Item = i64>) {
        batch.is_burst = true;
        for (number, timestamp) in timestamps.enumerate() {
            let begins = self.saw(timestamp);
            batch.is_burst &= begins == (number == 0);
        }
        batch.last_burst = self.size;
        let certain = if self.size < SMALL {
            CERTAIN_OF_SMALL
        } else {
            CERTAIN
        };
        // The one that ends here, if it does, included.
        let is_certain = self.size > 1 && self.times + 1 >= certain;
        batch.ended_burst = (is_certain && self.current == self.size).then_some(self.size);
    }

    /// Counts a message. Returns whether a burst begins with it.
    fn saw(&mut self, timestamp: i64) -> bool {
        let gap = timestamp.saturating_sub(self.last).unsigned_abs();
        self.last = timestamp;
        if gap < *UNCLEAR.start() {
            self.current += 1;
            return false;
        }
        if UNCLEAR.contains(&gap) {
            (self.size, self.times) = (0, 0);
        } else if self.current == self.size {
            self.times = self.times.saturating_add(1);
        } else {
            (self.size, self.times) = (self.current, 1);
        }
        self.current = 1;
        gap > *UNCLEAR.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection, and what it reads: messages, by the microseconds since the one before.
    #[derive(Default)]
    struct Read(Bursts, i64);

    impl Read {
        fn batch(&mut self, gaps: &[i64]) -> Batch {
            let mut batch = Batch::new(gaps.len(), None);
            let timestamps: Vec<i64> = gaps
                .iter()
                .map(|gap| {
                    self.1 += gap * 1_000;
                    self.1
                })
                .collect();
            self.0.note(&mut batch, timestamps.into_iter());
            batch
        }
    }

    #[test]
    fn bursts_of_one_size_are_certain_as_soon_as_one_more_ends() {
        for (size, certain) in [(2, 4), (3, 4), (4, 3), (16, 3)] {
            let mut read = Read::default();
            read.batch(&[1_000]);
            for number in 1..10 {
                for place in 1..=size {
                    let batch = read.batch(&[if place == 1 { 200 } else { 5 }]);
                    let ends = (place == size && number >= certain).then_some(size);
                    assert_eq!(batch.ended_burst, ends, "message {place} of burst {number}");
                }
            }
            assert_eq!(read.batch(&[200]).last_burst, size);
        }
    }

    #[test]
    fn a_batch_is_a_burst_when_one_began_with_it_and_none_since() {
        let mut read = Read::default();
        let mut is_burst = |gaps| read.batch(gaps).is_burst;
        assert!(is_burst(&[200, 5, 0]));
        assert!(!is_burst(&[5, 5]), "it goes on");
        assert!(is_burst(&[200]));
        assert!(!is_burst(&[200, 5, 200]), "these are two");
        assert!(!is_burst(&[60, 5, 5]), "it is not clear where it begins");
        assert!(is_burst(&[200, 60]), "a straggler, perhaps");
    }

    #[test]
    fn bursts_of_other_sizes_and_what_is_not_clear_are_no_certainty() {
        for odd in [&[200, 5][..], &[200, 5, 5, 5], &[200, 5, 60], &[60, 5, 5]] {
            let mut read = Read::default();
            for _ in 0..10 {
                read.batch(&[200, 5, 5]);
            }
            read.batch(odd);
            read.batch(&[200]);
            assert_eq!(read.batch(&[5, 5]).ended_burst, None, "after {odd:?}");
        }
    }

    #[test]
    fn messages_that_come_one_by_one_are_no_bursts() {
        let mut read = Read::default();
        for _ in 0..100 {
            let batch = read.batch(&[100]);
            assert_eq!((batch.is_burst, batch.ended_burst), (true, None));
        }
    }
}
