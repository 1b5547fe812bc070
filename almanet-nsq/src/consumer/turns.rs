//! Who may send when there are more connections than messages that may be in flight.

use std::time::Duration;

use tokio::time::Instant;

/// One connection's place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Since when, as a number: the smallest is the next.
    Waits(u64),
    Has,
    /// Its turn is over, and its messages are still to be answered.
    Leaves,
}

/// One connection's turn.
#[derive(Debug)]
pub(super) struct Turn(Place);

impl Turn {
    /// Whether the connection may have a message out.
    pub(super) fn is_on(&self) -> bool {
        self.0 == Place::Has
    }
}

/// Passes turns on, so that each connection has one in time. It knows no clock.
#[derive(Debug)]
pub(super) struct Turns {
    length: Duration,
    /// When the present turns are over; `None` while there is room for all.
    over_at: Option<Instant>,
    clock: u64,
}

impl Turns {
    pub(super) fn new(length: Duration) -> Self {
        Self {
            length,
            over_at: None,
            clock: 0,
        }
    }

    /// The place of a connection that is new: behind all others.
    pub(super) fn join(&mut self) -> Turn {
        Turn(self.behind_all())
    }

    /// When to call [`pass`](Self::pass) again even if nothing happens until then.
    pub(super) fn over_at(&self) -> Option<Instant> {
        self.over_at
    }

    /// There is room for all.
    pub(super) fn suspend(&mut self) {
        self.over_at = None;
    }

    /// Gives `room` turns to the connections in `seats`, of which each has so many messages unanswered.
    pub(super) fn pass<'a>(
        &mut self,
        now: Instant,
        room: usize,
        seats: impl Iterator<Item = (&'a mut Turn, usize)>,
    ) {
        let mut seats: Vec<_> = seats.collect();
        let is_over = self.over_at.is_none_or(|over_at| over_at <= now);
        if is_over {
            self.over_at = Some(now + self.length);
        }
        let mut taken = 0;
        for (turn, unanswered) in &mut seats {
            let is_on = turn.0 == Place::Has && !is_over && taken < room;
            // Of the connections that wait, none has anything out but what is left from better times.
            let leaves = matches!(turn.0, Place::Has | Place::Leaves) && *unanswered > 0;
            match turn.0 {
                Place::Waits(_) => {}
                _ if is_on => {}
                _ if leaves => turn.0 = Place::Leaves,
                _ => turn.0 = self.behind_all(),
            }
            taken += usize::from(is_on || leaves);
        }
        let mut waiting: Vec<&mut Turn> = seats.into_iter().map(|(turn, _)| turn).collect();
        waiting.retain(|turn| matches!(turn.0, Place::Waits(_)));
        waiting.sort_by_key(|turn| match turn.0 {
            Place::Waits(since) => since,
            Place::Has | Place::Leaves => u64::MAX,
        });
        for turn in waiting.into_iter().take(room.saturating_sub(taken)) {
            turn.0 = Place::Has;
        }
    }

    fn behind_all(&mut self) -> Place {
        self.clock += 1;
        Place::Waits(self.clock)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    const LENGTH: Duration = Duration::from_secs(1);

    struct Table {
        turns: Turns,
        seats: Vec<(Turn, usize)>,
        now: Instant,
    }

    impl Table {
        fn of(count: usize) -> Self {
            let mut turns = Turns::new(LENGTH);
            let seats = (0..count).map(|_| (turns.join(), 0)).collect();
            Self {
                turns,
                seats,
                now: Instant::now(),
            }
        }

        /// Which connections may send, after this time.
        fn after(&mut self, time: Duration, room: usize) -> Vec<usize> {
            self.now += time;
            let seats = self.seats.iter_mut().map(|(turn, count)| (turn, *count));
            self.turns.pass(self.now, room, seats);
            let on = self
                .seats
                .iter()
                .enumerate()
                .filter(|(_, (turn, _))| turn.is_on());
            on.map(|(position, _)| position).collect()
        }
    }

    #[test]
    fn connections_take_turns_in_order() {
        let mut table = Table::of(5);
        assert_eq!(table.after(Duration::ZERO, 2), [0, 1]);
        assert_eq!(table.after(LENGTH / 2, 2), [0, 1]);
        assert_eq!(table.after(LENGTH / 2, 2), [2, 3]);
        assert_eq!(table.after(LENGTH, 2), [0, 4]);
        assert_eq!(table.after(LENGTH, 2), [1, 2]);
    }

    #[test]
    fn a_turn_is_passed_on_only_when_its_messages_are_answered() {
        let mut table = Table::of(2);
        assert_eq!(table.after(Duration::ZERO, 1), [0]);
        table.seats[0].1 = 1;
        assert_eq!(table.after(LENGTH, 1), [0; 0], "its message takes the room");
        table.seats[0].1 = 0;
        assert_eq!(table.after(Duration::ZERO, 1), [1]);
    }

    #[test]
    fn a_connection_alone_keeps_its_turn() {
        let mut table = Table::of(1);
        for _ in 0..3 {
            assert_eq!(table.after(LENGTH, 1), [0]);
        }
    }

    #[test]
    fn less_room_is_respected_at_once() {
        let mut table = Table::of(4);
        assert_eq!(table.after(Duration::ZERO, 3), [0, 1, 2]);
        assert_eq!(table.after(Duration::ZERO, 1), [0]);
        assert_eq!(table.after(Duration::ZERO, 0), [0; 0]);
    }

    proptest! {
        #[test]
        fn there_is_never_more_out_than_there_is_room_and_everyone_has_a_turn(
            count in 1_usize..9,
            room in 1_usize..4,
            held in proptest::collection::vec(any::<u64>(), 50..60),
        ) {
            let mut table = Table::of(count);
            let mut had = vec![false; count];
            for bits in held {
                let on = table.after(LENGTH, room);
                for position in on {
                    had[position] = true;
                    // Whoever may send does, now and then.
                    table.seats[position].1 = usize::from(bits >> position & 1 == 1);
                }
                let out = table.seats.iter().filter(|(turn, held)| turn.is_on() || *held > 0).count();
                prop_assert!(out <= room, "{out} are out");
                for (position, (turn, held)) in table.seats.iter_mut().enumerate() {
                    if !turn.is_on() && bits >> (position + 8) & 1 == 1 {
                        *held = 0;
                    }
                }
            }
            for (_, held) in &mut table.seats {
                *held = 0;
            }
            for _ in 0..2 * count {
                for position in table.after(LENGTH, room) {
                    had[position] = true;
                }
            }
            prop_assert!(had.iter().all(|had| *had));
        }
    }
}
