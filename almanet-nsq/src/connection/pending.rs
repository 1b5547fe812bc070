//! Commands that wait for their answer.

use std::collections::VecDeque;

/// How much room for commands is kept when none wait.
const KEPT_CAPACITY: usize = 1024;

/// What was handed to the socket and is not answered yet, in the order in which the answers will come.
///
/// NSQ's answers do not say what they answer: the first answer belongs to the first command. So an item that is
/// given up keeps its place until its answer arrives. Items whose commands end at the same position are one command.
#[derive(Debug)]
pub(crate) struct Pending<T> {
    waiting: VecDeque<Place<T>>,
    /// How many places at the front belong to items that were given up.
    given_up: usize,
}

#[derive(Debug)]
struct Place<T> {
    item: Option<T>,
    /// The position in the connection's outgoing bytes at which the command ends.
    end: u64,
}

/// An answer came and nothing was waiting for one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unasked;

impl<T> Pending<T> {
    pub(crate) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            given_up: 0,
        }
    }

    /// Adds an item whose command ends at `end`, counted in bytes from the connection's start.
    pub(crate) fn push(&mut self, item: T, end: u64) {
        self.waiting.push_back(Place {
            item: Some(item),
            end,
        });
    }

    /// Moves the items that the next answer belongs to into `answered`, without those that were given up.
    pub(crate) fn answer(&mut self, answered: &mut Vec<T>) -> Result<(), Unasked> {
        let end = self.waiting.front().ok_or(Unasked)?.end;
        while let Some(place) = self.waiting.front()
            && place.end == end
        {
            self.given_up = self.given_up.saturating_sub(1);
            answered.extend(self.waiting.pop_front().and_then(|place| place.item));
        }
        // A burst of commands shall not keep its memory for ever.
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT_CAPACITY {
            self.waiting.shrink_to(KEPT_CAPACITY);
        }
        Ok(())
    }

    /// Gives up the oldest items, as long as `is_due`.
    pub(crate) fn give_up(&mut self, is_due: impl Fn(&T) -> bool) -> Vec<T> {
        let mut due = Vec::new();
        while let Some(place) = self.waiting.get_mut(self.given_up) {
            let Some(item) = place.item.take_if(|item| is_due(item)) else {
                break;
            };
            due.push(item);
            self.given_up += 1;
        }
        due
    }

    /// The item that `is_it`, if it is still there.
    pub(crate) fn find(&mut self, is_it: impl Fn(&T) -> bool) -> Option<&mut T> {
        let mut items = self.waiting.iter_mut().filter_map(|place| place.item.as_mut());
        items.find(|item| is_it(item))
    }

    /// The oldest item that was not given up.
    pub(crate) fn oldest(&self) -> Option<&T> {
        self.waiting.get(self.given_up)?.item.as_ref()
    }

    /// Takes everything: first the items whose commands are within the first `written` bytes, then the others.
    pub(crate) fn split(&mut self, written: u64) -> (Vec<T>, Vec<T>) {
        let whole = self.waiting.partition_point(|place| place.end <= written);
        let unsent = self.waiting.split_off(whole);
        let sent = std::mem::take(&mut self.waiting);
        self.given_up = 0;
        let items = |places: VecDeque<Place<T>>| places.into_iter().filter_map(|place| place.item).collect();
        (items(sent), items(unsent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(items: impl IntoIterator<Item = u32>) -> Pending<u32> {
        let mut pending = Pending::new();
        for (index, item) in (1..).zip(items) {
            pending.push(item, index * 10);
        }
        pending
    }

    fn answered(pending: &mut Pending<u32>) -> Result<Vec<u32>, Unasked> {
        let mut answered = Vec::new();
        pending.answer(&mut answered).map(|()| answered)
    }

    #[test]
    fn answers_belong_to_the_commands_in_their_order() {
        let mut pending = pending([7, 8]);
        assert_eq!(answered(&mut pending), Ok(vec![7]));
        assert_eq!(answered(&mut pending), Ok(vec![8]));
        assert_eq!(answered(&mut pending), Err(Unasked));
    }

    #[test]
    fn one_answer_belongs_to_all_items_of_one_command() {
        let mut pending = Pending::new();
        for (item, end) in [(1, 10), (2, 30), (3, 30), (4, 30), (5, 40)] {
            pending.push(item, end);
        }
        assert_eq!(pending.give_up(|item| *item <= 2), vec![1, 2]);
        assert_eq!(answered(&mut pending), Ok(vec![]));
        assert_eq!(answered(&mut pending), Ok(vec![3, 4]));
        assert_eq!(pending.give_up(|_| true), vec![5]);
        assert_eq!(answered(&mut pending), Ok(vec![]));
        assert_eq!(answered(&mut pending), Err(Unasked));
    }

    #[test]
    fn an_item_that_is_given_up_keeps_its_place() {
        let mut pending = pending([1, 2, 3]);
        assert_eq!(pending.give_up(|item| *item < 3), vec![1, 2]);
        assert!(pending.give_up(|item| *item < 3).is_empty());
        assert_eq!(pending.oldest(), Some(&3));
        assert_eq!(answered(&mut pending), Ok(vec![]));
        assert_eq!(answered(&mut pending), Ok(vec![]));
        assert_eq!(pending.give_up(|_| true), vec![3]);
        assert_eq!(pending.oldest(), None);
        assert_eq!(answered(&mut pending), Ok(vec![]));
        assert_eq!(answered(&mut pending), Err(Unasked));
    }

    #[test]
    fn a_command_counts_as_sent_when_its_last_byte_was_written() {
        let mut pending = pending([1, 2, 3]);
        assert_eq!(pending.split(29), (vec![1, 2], vec![3]));
        assert_eq!(answered(&mut pending), Err(Unasked));
    }

    #[test]
    fn what_was_given_up_is_not_split_off_again() {
        let mut pending = pending([1, 2, 3]);
        pending.give_up(|item| *item == 1);
        assert_eq!(pending.split(30), (vec![2, 3], vec![]));
    }
}
