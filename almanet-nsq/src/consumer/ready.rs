//! How many messages each connection may have out.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Phase,
    link::Link,
    outcomes::Outcomes,
    turns::{Turn, Turns},
};

/// Spreads what may be in flight over the connections that are there.
#[derive(Debug)]
pub(super) struct Ready {
    max_in_flight: usize,
    pub(super) outcomes: Arc<Outcomes>,
    seats: Mutex<Seats>,
}

#[derive(Debug)]
struct Seats {
    connected: Vec<Seat>,
    turns: Turns,
    is_stopped: bool,
}

#[derive(Debug)]
struct Seat {
    link: Arc<Link>,
    turn: Turn,
}

impl Ready {
    pub(super) fn new(max_in_flight: usize, low_rdy_timeout: Duration, outcomes: Outcomes) -> Self {
        Self {
            max_in_flight: max_in_flight.max(1),
            outcomes: Arc::new(outcomes),
            seats: Mutex::new(Seats {
                connected: Vec::new(),
                turns: Turns::new(low_rdy_timeout),
                is_stopped: false,
            }),
        }
    }

    /// A connection is there: it gets its share, and the others make room for it.
    ///
    /// One that comes after its broker was `let_go` gets nothing.
    pub(super) fn join(&self, link: Arc<Link>, let_go: &CancellationToken) {
        let mut seats = self.seats();
        if let_go.is_cancelled() {
            return;
        }
        let turn = seats.turns.join();
        seats.connected.push(Seat { link, turn });
        self.respread(&mut seats);
    }

    /// A connection is gone: the others share what it had.
    pub(super) fn leave(&self, link: &Arc<Link>) {
        let mut seats = self.seats();
        seats.connected.retain(|seat| !Arc::ptr_eq(&seat.link, link));
        self.respread(&mut seats);
    }

    /// The connections to `address` shall have no further messages, and the others share what they had.
    ///
    /// Returns those that are there.
    pub(super) fn release(&self, address: &str) -> Vec<Arc<Link>> {
        let mut seats = self.seats();
        let is_released = |seat: &mut Seat| *seat.link.address == *address;
        let released = seats.connected.extract_if(.., is_released);
        let released: Vec<Arc<Link>> = released.map(|seat| seat.link).collect();
        for link in &released {
            link.release();
        }
        self.respread(&mut seats);
        released
    }

    /// No connection shall have further messages, neither those that are there nor those to come.
    ///
    /// Returns those that are there.
    pub(super) fn stop(&self) -> Vec<Arc<Link>> {
        let mut seats = self.seats();
        seats.is_stopped = true;
        self.respread(&mut seats);
        seats
            .connected
            .iter()
            .map(|seat| Arc::clone(&seat.link))
            .collect()
    }

    /// Does what is due with time: ends pauses, passes turns on, touches what is held. Until `stop`.
    pub(super) async fn tend(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let next = self.tick(Instant::now());
            tokio::select! {
                () = async { sleep_until(next.unwrap_or_else(Instant::now)).await }, if next.is_some() => {}
                () = self.outcomes.news.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Does what is due at `now`, and says when something will be due again.
    fn tick(&self, now: Instant) -> Option<Instant> {
        let mut seats = self.seats();
        let respread_at = self.spread(&mut seats, now);
        let touch_at = seats
            .connected
            .iter()
            .filter_map(|seat| seat.link.touch_held(now));
        touch_at.chain(respread_at).min()
    }

    fn respread(&self, seats: &mut Seats) {
        self.spread(seats, Instant::now());
        self.outcomes.news.notify_one();
    }

    /// Sets the limit of each connection, and says when that has to be done again.
    fn spread(&self, seats: &mut Seats, now: Instant) -> Option<Instant> {
        let Seats {
            connected,
            turns,
            is_stopped,
        } = seats;
        let (room, end) = match self.outcomes.phase(now) {
            _ if *is_stopped => (0, None),
            Phase::Open => (self.max_in_flight, None),
            Phase::Probing => (1, None),
            Phase::Paused(until) => (0, Some(until)),
        };
        let count = connected.len();
        if count <= room {
            turns.suspend();
            share_out(room, connected);
            return end;
        }
        let places = connected
            .iter_mut()
            .map(|seat| (&mut seat.turn, seat.link.unanswered()));
        turns.pass(now, room, places);
        for seat in connected {
            seat.link.set_limit(usize::from(seat.turn.is_on()));
        }
        if room == 0 {
            turns.suspend();
        }
        end.or(turns.over_at())
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives each connection the same share of `room`; what a broker does not take of its share goes to the others.
fn share_out(room: usize, connected: &[Seat]) {
    let mut seats: Vec<&Seat> = connected.iter().collect();
    // Whoever takes least comes first, so that what it leaves is there for those behind it.
    seats.sort_by_key(|seat| seat.link.max_ready);
    let (mut rest, mut count) = (room, seats.len());
    for seat in seats {
        let share = rest.div_ceil(count).min(seat.link.max_ready);
        seat.link.set_limit(share);
        rest -= share;
        count -= 1;
    }
}

#[cfg(test)]
mod tests {
    use almanet_nsq_proto::{Command, CommandDecoder, Limits};
    use bytes::BytesMut;
    use tokio::{task::yield_now, time::advance};

    use super::*;
    use crate::consumer::burst::Batch;
    use crate::{
        connection::Outgoing,
        consumer::{backoff::Fate, flow::Flow, link::Answers, window::AdaptiveWindow},
    };

    const SECOND: Duration = Duration::from_secs(1);

    /// A consumer's connections, without sockets: each with what it would write, and the RDY that its broker knows.
    struct Fleet {
        ready: Arc<Ready>,
        brokers: Vec<(Arc<Link>, Answers, u64)>,
        stop: CancellationToken,
    }

    impl Fleet {
        /// Brokers that take any RDY, and are told the whole share.
        fn new(max_in_flight: usize, count: usize) -> Self {
            Self::of(max_in_flight, &vec![2500; count], || None)
        }

        /// Brokers that take RDY up to these.
        fn of(
            max_in_flight: usize,
            max_ready: &[usize],
            window: impl Fn() -> Option<AdaptiveWindow>,
        ) -> Self {
            let outcomes = Outcomes::new(Some(&(SECOND..=SECOND)));
            let ready = Arc::new(Ready::new(max_in_flight, SECOND, outcomes));
            let brokers = max_ready.iter().map(|max_ready| {
                let (outcomes, flow) = (Arc::clone(&ready.outcomes), Flow::new(window()));
                let link = Link::new("a:1".into(), SECOND, *max_ready, 1024, flow, None, outcomes);
                let link = Arc::new(link);
                ready.join(Arc::clone(&link), &CancellationToken::new());
                (Arc::clone(&link), Answers::new(link), 0)
            });
            let brokers = brokers.collect();
            let stop = CancellationToken::new();
            tokio::spawn(Arc::clone(&ready).tend(stop.clone()));
            Self { ready, brokers, stop }
        }

        /// The RDY of each connection, after this time.
        async fn after(&mut self, time: Duration) -> Vec<u64> {
            advance(time).await;
            yield_now().await;
            for (_, answers, ready) in &mut self.brokers {
                let mut bytes = BytesMut::new();
                answers.fill(0, &mut bytes);
                let mut commands = CommandDecoder::new(Limits::default());
                while let Some(command) = commands.decode(&mut bytes).unwrap() {
                    if let Command::Rdy(count) = command {
                        *ready = count;
                    }
                }
            }
            self.brokers.iter().map(|(_, _, ready)| *ready).collect()
        }
    }

    impl Drop for Fleet {
        fn drop(&mut self) {
            self.stop.cancel();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn shares_add_up_and_what_one_broker_does_not_take_goes_to_the_others() {
        for (max_ready, shares) in [
            ([2500, 2500, 2500], [86, 85, 85]),
            ([2500, 7, 2500], [125, 7, 124]),
            ([7, 2500, 9], [7, 240, 9]),
            ([7, 8, 9], [7, 8, 9]),
        ] {
            let mut fleet = Fleet::of(256, &max_ready, || None);
            assert_eq!(fleet.after(Duration::ZERO).await, shares, "{max_ready:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn with_messages_flowing_no_window_goes_beyond_its_broker_or_all_together_beyond_the_limit() {
        const MAX_IN_FLIGHT: usize = 30;
        const MAX_READY: [usize; 3] = [7, 7, 2500];
        let window = || Some(AdaptiveWindow::new(Instant::now(), None));
        let mut fleet = Fleet::of(MAX_IN_FLIGHT, &MAX_READY, window);
        let fin = Command::Fin(almanet_nsq_proto::MessageId::from_number(1));
        let mut in_flight = [0; 3];
        let mut most = [0; 3];
        for step in 0..3000_usize {
            // Time in which messages come in windows, and now and then one that ends a quiet window.
            let pause = if step % 97 == 0 { 5000 } else { 250 };
            let ready = fleet.after(Duration::from_micros(pause)).await;
            for (ready, max_ready) in ready.iter().zip(MAX_READY) {
                assert!(*ready <= max_ready as u64, "{ready:?} in step {step}");
            }
            let now = Instant::now();
            for (((link, _, ready), in_flight), most) in
                fleet.brokers.iter().zip(&mut in_flight).zip(&mut most)
            {
                // Each broker has more than it may send, and what it has queued for a while.
                let count = (*ready as usize).saturating_sub(*in_flight);
                if count > 0 {
                    let age = Some(1_000_000 * i64::from(step > 0));
                    link.received(now, &Batch::new(count, age));
                    for _ in 0..count {
                        link.left(now, Duration::ZERO);
                    }
                    *in_flight += count;
                    *most = (*most).max(*in_flight);
                }
            }
            let all: usize = in_flight.iter().sum();
            assert!(all <= MAX_IN_FLIGHT, "{in_flight:?} in step {step}");
            for ((link, ..), in_flight) in fleet.brokers.iter().zip(&mut in_flight) {
                // Handlers of all speeds: some hold what they have for several rounds.
                let done = if step % 5 == 0 { *in_flight } else { *in_flight / 2 };
                for _ in 0..done {
                    link.answer(&fin, None).unwrap();
                }
                *in_flight -= done;
                link.flush();
            }
        }
        // All of the limit was in use, and more than an equal share of it where brokers take less.
        assert!(most[2] > MAX_IN_FLIGHT.div_ceil(3), "{most:?}");
        assert!(most.iter().all(|most| *most > 2), "{most:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn connections_take_turns_where_there_are_more_than_messages() {
        let mut fleet = Fleet::new(2, 5);
        let mut had = [0; 5];
        for _ in 0..10 {
            let ready = fleet.after(SECOND + Duration::from_millis(1)).await;
            assert_eq!(ready.iter().sum::<u64>(), 2, "{ready:?}");
            for (had, ready) in had.iter_mut().zip(ready) {
                *had += ready;
            }
        }
        assert!(had.iter().all(|had| (3..=5).contains(had)), "{had:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_waits_for_its_message_and_is_passed_on_at_once_when_it_is_answered() {
        let mut fleet = Fleet::new(1, 2);
        let first = fleet.after(Duration::ZERO).await;
        let busy = Arc::clone(&fleet.brokers[usize::from(first[0] == 0)].0);
        busy.received(Instant::now(), &Batch::new(1, None));
        for _ in 0..3 {
            assert_eq!(fleet.after(2 * SECOND).await, [0, 0]);
        }
        let id = almanet_nsq_proto::MessageId::from_number(1);
        busy.answer(&Command::Fin(id), None).unwrap();
        let second = fleet.after(Duration::from_millis(1)).await;
        assert_eq!(second, [first[1], first[0]]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_one_connection_after_the_other_is_asked_for_one_message() {
        let mut fleet = Fleet::new(30, 3);
        assert_eq!(fleet.after(Duration::ZERO).await, [10, 10, 10]);
        let outcomes = Arc::clone(&fleet.ready.outcomes);
        outcomes.answered(outcomes.round(), Fate::Failed);
        assert_eq!(fleet.after(SECOND / 3).await, [0, 0, 0]);
        let mut asked = [0; 3];
        for _ in 0..6 {
            let ready = fleet.after(SECOND + Duration::from_millis(1)).await;
            assert_eq!(ready.iter().sum::<u64>(), 1, "{ready:?}");
            for (asked, ready) in asked.iter_mut().zip(ready) {
                *asked += ready;
            }
        }
        assert_eq!(asked, [2, 2, 2]);
        outcomes.answered(outcomes.round(), Fate::Finished);
        assert_eq!(fleet.after(Duration::ZERO).await, [10, 10, 10]);
    }
}
