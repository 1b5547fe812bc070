//! Deliveries that are touched while the user works on them.

use std::time::Duration;

use almanet_nsq_proto::MessageId;
use tokio::time::Instant;

/// Deliveries of one connection that were handed out and are not answered. It knows no clock.
///
/// Each has a slot, so that taking one and giving it back costs no search and, mostly, no memory.
#[derive(Debug)]
pub(super) struct Held {
    msg_timeout: Duration,
    /// For how long a delivery is touched.
    longest: Duration,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    look_at: Option<Instant>,
}

#[derive(Debug)]
struct Slot {
    id: MessageId,
    /// When the broker should hear of it; `None` once it has been held for too long.
    due: Option<Instant>,
    /// Until when it is touched.
    end: Instant,
}

impl Held {
    pub(super) fn new(msg_timeout: Duration, longest: Duration) -> Self {
        Self {
            msg_timeout,
            longest,
            slots: Vec::new(),
            free: Vec::new(),
            look_at: None,
        }
    }

    /// A message that came at `received_at` is handed out. Returns its slot, and whether [`look_at`](Self::look_at)
    /// is sooner than it was.
    pub(super) fn hold(&mut self, id: MessageId, received_at: Instant, now: Instant) -> (usize, bool) {
        let due = received_at + self.msg_timeout / 3;
        let slot = Some(Slot {
            id,
            due: Some(due),
            end: now + self.longest,
        });
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(place) = self.slots.get_mut(index) {
                    *place = slot;
                }
                index
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        let is_sooner = self.look_at.is_none_or(|look_at| due < look_at);
        if is_sooner {
            self.look_at = Some(due);
        }
        (index, is_sooner)
    }

    /// The message in this slot is answered.
    pub(super) fn release(&mut self, index: usize) {
        if let Some(place) = self.slots.get_mut(index)
            && place.take().is_some()
        {
            self.free.push(index);
        }
    }

    /// When to call [`touch`](Self::touch).
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Calls `touch` for each message that the broker should hear of about now.
    pub(super) fn touch(&mut self, now: Instant, mut touch: impl FnMut(MessageId)) {
        // Those that are due soon are touched with the others, so that few writes do.
        let soon = now + self.msg_timeout / 12;
        let mut next: Option<Instant> = None;
        for slot in self.slots.iter_mut().flatten() {
            if slot.due.is_some_and(|due| due <= soon) {
                slot.due = (now < slot.end).then(|| {
                    touch(slot.id);
                    now + self.msg_timeout / 3
                });
            }
            next = match (next, slot.due) {
                (Some(next), Some(due)) => Some(next.min(due)),
                (next, due) => next.or(due),
            };
        }
        self.look_at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn id(number: u64) -> MessageId {
        MessageId::from_number(number)
    }

    fn touched(held: &mut Held, now: Instant) -> Vec<MessageId> {
        let mut ids = Vec::new();
        held.touch(now, |id| ids.push(id));
        ids
    }

    #[test]
    fn a_message_is_touched_at_each_third_of_its_timeout_until_it_is_answered() {
        let now = Instant::now();
        let mut held = Held::new(60 * SECOND, 3600 * SECOND);
        // It has waited for five seconds already.
        let (slot, is_sooner) = held.hold(id(1), now, now + 5 * SECOND);
        assert!(is_sooner);
        for round in 1..10 {
            let due = now + round * 20 * SECOND;
            assert_eq!(held.look_at(), Some(due));
            assert_eq!(touched(&mut held, due), [id(1)]);
        }
        held.release(slot);
        assert_eq!(touched(&mut held, now + 200 * SECOND), []);
        assert_eq!(held.look_at(), None);
    }

    #[test]
    fn after_the_longest_time_a_message_is_no_longer_touched() {
        let now = Instant::now();
        let mut held = Held::new(60 * SECOND, 45 * SECOND);
        held.hold(id(1), now, now);
        let count = (1..10).map(|round| touched(&mut held, now + round * 20 * SECOND).len());
        assert_eq!(count.sum::<usize>(), 2);
        assert_eq!(held.look_at(), None);
    }

    #[test]
    fn messages_that_are_due_about_now_are_touched_together() {
        let now = Instant::now();
        let mut held = Held::new(60 * SECOND, 3600 * SECOND);
        held.hold(id(1), now, now);
        held.hold(id(2), now + 4 * SECOND, now + 4 * SECOND);
        held.hold(id(3), now + 10 * SECOND, now + 10 * SECOND);
        assert_eq!(touched(&mut held, now + 20 * SECOND), [id(1), id(2)]);
        assert_eq!(held.look_at(), Some(now + 30 * SECOND));
    }

    #[test]
    fn slots_are_used_again() {
        let now = Instant::now();
        let mut held = Held::new(60 * SECOND, 3600 * SECOND);
        for number in 0..1000 {
            let (slot, _) = held.hold(id(number), now, now);
            assert_eq!(slot, 0);
            held.release(slot);
            held.release(slot);
        }
        assert_eq!((held.slots.len(), held.free.len()), (1, 1));
    }
}
