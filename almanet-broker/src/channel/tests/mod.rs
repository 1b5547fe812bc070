//! The rules of a channel, with a clock that the test moves.

mod control;

use bytes::Bytes;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Which subscriber got which message, and for which time.
type Deliveries = Vec<(SubscriberId, MessageId, u16)>;

/// An outlet that notes what it is offered.
pub(super) struct Recorder {
    pub(super) id: SubscriberId,
    pub(super) answer: Offer,
}

impl Outlet for Recorder {
    type Touched = Deliveries;

    fn offer(&mut self, frame: &Frame, deliveries: &mut Deliveries) -> Offer {
        if let (Frame::Message(message), Offer::Taken) = (frame, self.answer) {
            deliveries.push((self.id, message.id, message.attempts));
        }
        self.answer
    }

    fn end(&mut self) {}
}

pub(super) fn message(number: u64) -> Message {
    Message {
        timestamp: 0,
        attempts: 0,
        id: MessageId::from_number(number),
        body: Bytes::from_static(b"body"),
    }
}

fn id(number: u64) -> MessageId {
    MessageId::from_number(number)
}

/// A channel, its clock, and what it delivered since it was last asked.
struct Bench {
    channel: Channel<Recorder>,
    memory: Arc<Memory>,
    now: Instant,
    deliveries: Deliveries,
}

impl Bench {
    fn new() -> Self {
        let memory = Arc::new(Memory::new(usize::MAX));
        Self {
            channel: Channel::new(&memory, LONGEST),
            memory,
            now: Instant::now(),
            deliveries: Vec::new(),
        }
    }

    /// Adds a subscriber that is ready for `ready` messages.
    fn subscriber(&mut self, number: u64, ready: u64) -> SubscriberId {
        self.subscriber_that_answers(number, ready, Offer::Taken)
    }

    fn subscriber_that_answers(&mut self, number: u64, ready: u64, answer: Offer) -> SubscriberId {
        let id = SubscriberId(number);
        let recorder = Recorder { id, answer };
        self.channel.subscribe(id, Subscriber::new(recorder, TIMEOUT));
        self.channel.ready(id, ready, self.now, &mut self.deliveries);
        id
    }

    fn publish(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.channel
                .publish(message(number), self.now, &mut self.deliveries);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.channel.expire(self.now, &mut self.deliveries);
    }

    /// What was delivered since the last time: subscriber, message, attempts.
    fn delivered(&mut self) -> Vec<(u64, u64, u16)> {
        std::mem::take(&mut self.deliveries)
            .into_iter()
            .map(|(subscriber, id, attempts)| {
                let text = id.to_string();
                (subscriber.0, u64::from_str_radix(&text, 16).unwrap(), attempts)
            })
            .collect()
    }
}

#[test]
fn messages_wait_for_a_ready_subscriber_in_order() {
    let mut bench = Bench::new();
    bench.publish(1..=3);
    assert_eq!(bench.channel.depth(), 3);
    bench.subscriber(1, 2);
    assert_eq!(bench.delivered(), [(1, 1, 1), (1, 2, 1)]);
    assert_eq!(bench.channel.depth(), 1);
}

#[test]
fn ready_subscribers_take_turns() {
    let mut bench = Bench::new();
    bench.subscriber(1, 10);
    bench.subscriber(2, 10);
    bench.subscriber(3, 10);
    bench.publish(1..=6);
    let turns: Vec<_> = bench.delivered().into_iter().map(|delivery| delivery.0).collect();
    assert_eq!(turns, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn a_subscriber_at_its_ready_count_is_passed_over_until_it_answers() {
    let mut bench = Bench::new();
    let one = bench.subscriber(1, 1);
    bench.subscriber(2, 10);
    bench.publish(1..=4);
    assert_eq!(bench.delivered(), [(1, 1, 1), (2, 2, 1), (2, 3, 1), (2, 4, 1)]);
    let Bench {
        channel,
        now,
        deliveries,
        ..
    } = &mut bench;
    channel.finish(one, &id(1), *now, deliveries).unwrap();
    bench.publish(5..=6);
    let mut turns: Vec<_> = bench.delivered().into_iter().map(|delivery| delivery.0).collect();
    turns.sort_unstable();
    assert_eq!(turns, [1, 2]);
}

#[test]
fn a_message_that_times_out_is_delivered_again_to_the_millisecond() {
    let mut bench = Bench::new();
    bench.subscriber(1, 1);
    bench.publish([1]);
    bench.pass(TIMEOUT - Duration::from_millis(1));
    assert_eq!(bench.delivered(), [(1, 1, 1)]);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.delivered(), [(1, 1, 2)]);
}

#[test]
fn the_alarm_is_not_later_than_what_it_is_for() {
    let mut bench = Bench::new();
    assert_eq!(bench.channel.earliest(), None);
    let one = bench.subscriber(1, 1);
    bench.publish([1]);
    assert_eq!(bench.channel.earliest(), Some(bench.now + TIMEOUT));
    let due = bench.now + Duration::from_secs(1);
    bench.channel.defer(message(2), due);
    assert_eq!(bench.channel.earliest(), Some(due));
    bench
        .channel
        .finish(one, &id(1), bench.now, &mut bench.deliveries)
        .unwrap();
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.delivered(), [(1, 1, 1), (1, 2, 1)]);
}

#[test]
fn touch_begins_the_timeout_anew_but_not_beyond_the_longest() {
    let mut bench = Bench::new();
    let one = bench.subscriber(1, 1);
    bench.publish([1]);
    bench.delivered();
    let step = Duration::from_secs(50);
    let mut since_delivery = Duration::ZERO;
    while since_delivery + step < LONGEST {
        bench.pass(step);
        since_delivery += step;
        assert_eq!(bench.delivered(), []);
        bench.channel.touch(one, &id(1), bench.now).unwrap();
    }
    bench.pass(LONGEST - since_delivery - Duration::from_millis(1));
    assert_eq!(bench.delivered(), []);
    bench.channel.touch(one, &id(1), bench.now).unwrap();
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.delivered(), [(1, 1, 2)]);
}

#[test]
fn a_requeued_message_comes_after_its_delay() {
    let mut bench = Bench::new();
    let one = bench.subscriber(1, 1);
    bench.publish([1]);
    bench.delivered();
    let delay = Duration::from_secs(5);
    bench
        .channel
        .requeue(one, &id(1), delay, bench.now, &mut bench.deliveries)
        .unwrap();
    bench.pass(delay - Duration::from_millis(1));
    assert_eq!(bench.delivered(), []);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.delivered(), [(1, 1, 2)]);
    bench
        .channel
        .requeue(one, &id(1), Duration::ZERO, bench.now, &mut bench.deliveries)
        .unwrap();
    assert_eq!(bench.delivered(), [(1, 1, 3)]);
}

#[test]
fn deferred_messages_of_one_instant_keep_their_order() {
    let mut bench = Bench::new();
    bench.subscriber(1, 10);
    let due = bench.now + Duration::from_secs(1);
    for number in [3, 1, 2] {
        bench.channel.defer(message(number), due);
    }
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.delivered(), [(1, 3, 1), (1, 1, 1), (1, 2, 1)]);
}

#[test]
fn attempts_do_not_overflow() {
    let mut bench = Bench::new();
    bench.channel.publish(
        Message {
            attempts: u16::MAX,
            ..message(1)
        },
        bench.now,
        &mut bench.deliveries,
    );
    bench.subscriber(1, 1);
    assert_eq!(bench.delivered(), [(1, 1, u16::MAX)]);
}

#[test]
fn what_a_leaving_subscriber_had_goes_to_another_at_once() {
    let mut bench = Bench::new();
    let one = bench.subscriber(1, 2);
    bench.publish(1..=2);
    bench.subscriber(2, 10);
    bench.delivered();
    bench.channel.unsubscribe(one, bench.now, &mut bench.deliveries);
    assert_eq!(bench.delivered(), [(2, 1, 2), (2, 2, 2)]);
}

#[test]
fn a_closing_subscriber_gets_nothing_and_may_answer_what_it_has() {
    let mut bench = Bench::new();
    let one = bench.subscriber(1, 10);
    bench.publish([1]);
    bench.delivered();
    bench.channel.close(one);
    bench.publish([2]);
    bench.channel.ready(one, 20, bench.now, &mut bench.deliveries);
    assert_eq!(bench.delivered(), []);
    let finished = bench
        .channel
        .finish(one, &id(1), bench.now, &mut bench.deliveries);
    assert!(finished.is_ok());
}

#[test]
fn only_the_owner_may_answer_and_only_once() {
    let mut bench = Bench::new();
    let one = bench.subscriber(1, 1);
    let two = bench.subscriber(2, 0);
    bench.publish([1]);
    let (now, notes) = (bench.now, &mut bench.deliveries);
    assert_eq!(
        bench.channel.finish(two, &id(1), now, notes),
        Err(NotInFlight::NotOwner)
    );
    assert_eq!(bench.channel.touch(two, &id(1), now), Err(NotInFlight::NotOwner));
    assert!(bench.channel.finish(one, &id(1), now, notes).is_ok());
    assert_eq!(
        bench.channel.finish(one, &id(1), now, notes),
        Err(NotInFlight::Unknown)
    );
}

#[test]
fn a_subscriber_that_is_full_is_passed_over_without_an_attempt_until_it_has_room() {
    let mut bench = Bench::new();
    let one = bench.subscriber_that_answers(1, 10, Offer::Full);
    bench.publish([1]);
    assert_eq!((bench.delivered(), bench.channel.depth()), (vec![], 1));
    bench.subscriber(2, 1);
    assert_eq!(bench.delivered(), [(2, 1, 1)]);
    bench.publish([2]);
    bench.channel.subscribe(
        one,
        Subscriber::new(
            Recorder {
                id: one,
                answer: Offer::Taken,
            },
            TIMEOUT,
        ),
    );
    bench.channel.ready(one, 10, bench.now, &mut bench.deliveries);
    assert_eq!(bench.delivered(), [(1, 2, 1)]);
}

#[test]
fn a_message_that_sampling_leaves_out_is_gone() {
    let mut bench = Bench::new();
    bench.subscriber_that_answers(1, 1, Offer::Skipped);
    bench.publish(1..=5);
    assert_eq!((bench.delivered(), bench.channel.depth()), (vec![], 0));
}

#[test]
fn only_messages_that_wait_count_as_memory() {
    let mut bench = Bench::new();
    bench.publish(1..=2);
    bench.channel.defer(message(3), bench.now + TIMEOUT);
    let each = crate::limits::cost(&message(1));
    assert_eq!(bench.memory.used(), 3 * each);
    let one = bench.subscriber(1, 2);
    assert_eq!(bench.memory.used(), each);
    bench.channel.unsubscribe(one, bench.now, &mut bench.deliveries);
    assert_eq!(bench.memory.used(), 3 * each);
    bench.channel = Channel::new(&bench.memory, LONGEST);
    assert_eq!(bench.memory.used(), 0);
}

#[test]
fn answered_messages_leave_no_trace_in_the_deadlines() {
    let mut bench = Bench::new();
    let one = bench.subscriber(1, 1);
    for number in 0..100_000 {
        bench.publish([number]);
        bench
            .channel
            .finish(one, &id(number), bench.now, &mut bench.deliveries)
            .unwrap();
        bench.deliveries.clear();
    }
    assert!(bench.channel.in_flight.deadlines() < 1000);
}
