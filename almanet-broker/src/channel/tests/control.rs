//! What operators do to a channel, and what they are told of it.

use super::*;

#[test]
fn a_paused_channel_keeps_its_messages_until_it_is_unpaused() {
    let mut bench = Bench::new();
    let one = bench.subscriber(1, 10);
    bench.publish([1]);
    bench.channel.pause();
    bench.publish([2, 3]);
    bench
        .channel
        .defer(message(4), bench.now + Duration::from_secs(1));
    bench
        .channel
        .requeue(one, &id(1), Duration::ZERO, bench.now, &mut bench.deliveries)
        .unwrap();
    bench.pass(Duration::from_secs(1));
    bench.channel.ready(one, 20, bench.now, &mut bench.deliveries);
    assert_eq!(bench.delivered(), [(1, 1, 1)]);
    assert!(!bench.channel.is_hungry());

    bench.channel.unpause(bench.now, &mut bench.deliveries);
    assert_eq!(bench.delivered(), [(1, 2, 1), (1, 3, 1), (1, 1, 2), (1, 4, 1)]);
    bench.publish([5]);
    assert_eq!(bench.delivered(), [(1, 5, 1)]);
}

#[test]
fn in_a_paused_channel_messages_in_flight_may_be_answered_and_time_out() {
    let mut bench = Bench::new();
    let one = bench.subscriber(1, 2);
    bench.publish([1, 2]);
    bench.delivered();
    bench.channel.pause();
    let (now, notes) = (bench.now, &mut bench.deliveries);
    assert!(bench.channel.finish(one, &id(1), now, notes).is_ok());
    bench.pass(TIMEOUT);
    assert_eq!((bench.delivered(), bench.channel.depth()), (vec![], 1));
}

#[test]
fn an_emptied_channel_has_nothing_and_takes_new_messages() {
    let mut bench = Bench::new();
    let one = bench.subscriber(1, 2);
    bench.publish(1..=3);
    bench.channel.defer(message(4), bench.now + TIMEOUT);
    assert_eq!(bench.delivered(), [(1, 1, 1), (1, 2, 1)]);

    bench.channel.empty();
    let report = bench.channel.report(bench.now);
    assert_eq!((report.depth, report.deferred, report.in_flight), (0, 0, 0));
    assert_eq!(bench.memory.used(), 0);
    let late = bench
        .channel
        .finish(one, &id(1), bench.now, &mut bench.deliveries);
    assert_eq!(late, Err(NotInFlight::Unknown));
    bench.publish(5..=7);
    assert_eq!(bench.delivered(), [(1, 5, 1), (1, 6, 1)]);
    bench.pass(TIMEOUT - Duration::from_millis(1));
    assert_eq!(bench.delivered(), []);
}

#[test]
fn waiting_messages_are_taken_out_in_order_with_their_time() {
    let mut bench = Bench::new();
    bench.publish([1, 2]);
    let (soon, late) = (bench.now + Duration::from_secs(1), bench.now + TIMEOUT);
    bench.channel.defer(message(3), late);
    bench.channel.defer(message(4), soon);
    let taken: Vec<_> = bench
        .channel
        .take_waiting()
        .into_iter()
        .map(|(message, due)| (message.id, due))
        .collect();
    assert_eq!(
        taken,
        [
            (id(1), None),
            (id(2), None),
            (id(4), Some(soon)),
            (id(3), Some(late))
        ]
    );
    assert_eq!((bench.channel.depth(), bench.memory.used()), (0, 0));
}

#[test]
fn everything_that_happens_is_counted() {
    let mut bench = Bench::new();
    let one = bench.subscriber(1, 4);
    bench.publish(1..=4);
    bench.channel.defer(message(5), bench.now + 2 * TIMEOUT);
    let (now, notes) = (bench.now, &mut bench.deliveries);
    bench.channel.finish(one, &id(1), now, notes).unwrap();
    bench.channel.requeue(one, &id(2), TIMEOUT, now, notes).unwrap();
    bench.channel.close(one);
    bench.pass(TIMEOUT - Duration::from_millis(1));
    let report = bench.channel.report(bench.now);
    assert_eq!(
        report.counts,
        Counts {
            messages: 5,
            delivered: 4,
            delivered_bytes: 16,
            finished: 1,
            requeued: 1,
            timed_out: 0,
        }
    );
    assert_eq!(
        report.subscribers,
        [SubscriberReport {
            id: one,
            ready: 4,
            in_flight: 2,
            delivered: 4,
            finished: 1,
            requeued: 1,
            is_closing: true,
        }]
    );
    assert_eq!((report.depth, report.deferred, report.in_flight), (0, 2, 2));
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.channel.counts().timed_out, 2);
}

#[test]
fn what_a_leaving_subscriber_had_counts_as_timed_out() {
    let mut bench = Bench::new();
    let one = bench.subscriber(1, 2);
    bench.publish(1..=2);
    bench.channel.unsubscribe(one, bench.now, &mut bench.deliveries);
    assert_eq!(bench.channel.counts().timed_out, 2);
}
