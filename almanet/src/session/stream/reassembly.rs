//! Numbered items, put in order again.

use std::collections::VecDeque;

/// What has come of a stream and has not been taken. It holds no more than its window has room for.
#[derive(Debug)]
pub(super) struct Reassembly<T> {
    window: u64,
    /// The number of the item that is to be taken next.
    next: u64,
    /// The items from `next` on, with gaps where they are missing.
    held: VecDeque<Option<T>>,
    /// How many of those come before the first gap.
    whole: usize,
    /// How many items the stream has, once that is known.
    count: Option<u64>,
}

/// Items beyond the window, which nobody has asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unasked;

impl<T> Reassembly<T> {
    /// Nothing yet, with room for `window` items.
    pub(super) fn new(window: u32) -> Self {
        Self {
            window: window.into(),
            next: 0,
            held: VecDeque::new(),
            whole: 0,
            count: None,
        }
    }

    /// Takes in items, of which the first has the number `first`. Those that are here, or have been, are passed over.
    /// Says whether there is more now without a gap.
    pub(super) fn insert(&mut self, first: u64, items: impl IntoIterator<Item = T>) -> Result<bool, Unasked> {
        let before = self.whole;
        for (number, item) in (first..=u64::MAX).zip(items) {
            if number < self.next || self.count.is_some_and(|count| number >= count) {
                continue;
            }
            if number >= self.up_to() {
                return Err(Unasked);
            }
            let place = usize::try_from(number - self.next).map_err(|_| Unasked)?;
            if self.held.len() <= place {
                self.held.resize_with(place + 1, || None);
            }
            if let Some(held) = self.held.get_mut(place) {
                held.get_or_insert(item);
            }
        }
        while self.held.get(self.whole).is_some_and(Option::is_some) {
            self.whole += 1;
        }
        Ok(self.whole > before)
    }

    /// Notes that there are `count` items in all.
    pub(super) fn ends_at(&mut self, count: u64) -> Result<(), Unasked> {
        if count > self.up_to() {
            return Err(Unasked);
        }
        self.count.get_or_insert(count);
        Ok(())
    }

    /// The next item in order, if it is here.
    pub(super) fn take(&mut self) -> Option<T> {
        if self.whole == 0 {
            return None;
        }
        let item = self.held.pop_front().flatten()?;
        self.whole -= 1;
        self.next += 1;
        Some(item)
    }

    /// How many items may have been sent in all.
    pub(super) fn up_to(&self) -> u64 {
        self.next.saturating_add(self.window)
    }

    /// How many items have been taken.
    pub(super) fn taken(&self) -> u64 {
        self.next
    }

    /// Whether nothing is missing of the first `sent` items.
    pub(super) fn has_all(&self, sent: u64) -> bool {
        self.next.saturating_add(self.whole as u64) >= sent
    }

    /// Whether nothing is missing of all items.
    pub(super) fn is_whole(&self) -> bool {
        self.count.is_some_and(|count| self.has_all(count))
    }

    /// Whether all items have been taken.
    pub(super) fn is_done(&self) -> bool {
        self.count.is_some_and(|count| self.next >= count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn items_come_out_in_order_and_once() {
        let mut items = Reassembly::new(4);
        assert_eq!(items.insert(1, ["b", "c"]), Ok(false));
        assert_eq!(items.take(), None, "the first is missing");
        assert_eq!(items.insert(0, ["a", "x"]), Ok(true));
        assert!(items.has_all(3) && !items.has_all(4));
        assert_eq!((items.take(), items.take()), (Some("a"), Some("b")));
        assert_eq!(items.insert(0, ["a", "b"]), Ok(false), "they have been taken");
        assert_eq!(items.take(), Some("c"));
        assert_eq!(items.take(), None);
    }

    #[test]
    fn what_is_beyond_the_window_is_refused() {
        let mut items = Reassembly::new(2);
        assert_eq!(items.insert(2, ["c"]), Err(Unasked));
        assert_eq!(items.insert(u64::MAX, ["z", "z"]), Err(Unasked));
        assert_eq!(items.ends_at(3), Err(Unasked));
        assert_eq!(items.insert(1, ["b"]), Ok(false));
        assert_eq!(items.insert(0, ["a"]), Ok(true));
        assert_eq!(items.take(), Some("a"));
        assert_eq!(items.insert(2, ["c"]), Ok(true));
        assert_eq!(items.up_to(), 3);
    }

    #[test]
    fn the_end_is_known_before_its_items_or_after() {
        let mut items = Reassembly::new(8);
        items.ends_at(1).unwrap();
        assert!(!items.is_done());
        items.insert(0, ["a", "beyond the end"]).unwrap();
        assert_eq!(items.take(), Some("a"));
        assert!(items.is_done());
        assert_eq!(items.take(), None);

        let mut empty = Reassembly::<u8>::new(8);
        empty.ends_at(0).unwrap();
        assert!(empty.is_done());
    }

    proptest! {
        /// Parts of a stream are delivered in any order, each once or more, while items are taken now and then.
        #[test]
        fn whatever_comes_how_often_and_when(
            count in 0_u64..200,
            window in 1_u32..40,
            seed in any::<u64>(),
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut items = Reassembly::new(window);
            // Sent and not received, some of them several times.
            let mut under_way: Vec<(u64, Vec<u64>)> = Vec::new();
            let (mut sent, mut taken, mut ended) = (0, Vec::new(), false);
            while !items.is_done() {
                let allowed = items.up_to().min(count);
                if sent < allowed {
                    let length = random.u64(1..=(allowed - sent).min(5));
                    let part: Vec<u64> = (sent..sent + length).collect();
                    for _ in 0..random.usize(1..=3) {
                        under_way.push((sent, part.clone()));
                    }
                    sent += length;
                }
                if sent == count && !ended && random.bool() {
                    prop_assert_eq!(items.ends_at(count), Ok(()));
                    ended = true;
                }
                if !under_way.is_empty() {
                    let (first, part) = under_way.swap_remove(random.usize(..under_way.len()));
                    prop_assert!(items.insert(first, part).is_ok());
                }
                if random.bool() {
                    taken.extend(items.take());
                }
                prop_assert!(items.held.len() <= window as usize);
            }
            prop_assert_eq!(taken, (0..count).collect::<Vec<_>>());
        }
    }
}
