use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn backoff() -> Backoff {
    Backoff::new(&(SECOND..=8 * SECOND))
}

/// The pause that follows when the message that was asked for has this fate, and its end; `None` when there is none.
fn step(backoff: &mut Backoff, now: &mut Instant, fate: Fate) -> Option<Duration> {
    assert!(backoff.answered(*now, backoff.round(), fate, 0.0));
    let Phase::Paused(until) = backoff.phase() else {
        assert_eq!(backoff.phase(), Phase::Open);
        return None;
    };
    let pause = until - *now;
    backoff.tick(until - Duration::from_nanos(1));
    assert_eq!(backoff.phase(), Phase::Paused(until));
    *now = until;
    backoff.tick(until);
    assert_eq!(backoff.phase(), Phase::Probing);
    Some(pause)
}

#[test]
fn pauses_double_with_each_failure_up_to_the_longest_and_halve_with_each_success() {
    let (mut backoff, mut now) = (backoff(), Instant::now());
    for seconds in [1, 2, 4, 8, 8, 8] {
        let pause = step(&mut backoff, &mut now, Fate::Failed);
        assert_eq!(pause, Some(seconds * SECOND));
    }
    for seconds in [4, 2, 1] {
        let pause = step(&mut backoff, &mut now, Fate::Finished);
        assert_eq!(pause, Some(seconds * SECOND));
    }
    assert_eq!(step(&mut backoff, &mut now, Fate::Finished), None);
}

#[test]
fn failures_of_messages_that_were_out_already_are_one_step() {
    let (mut backoff, now) = (backoff(), Instant::now());
    let round = backoff.round();
    assert!(backoff.answered(now, round, Fate::Failed, 0.0));
    let paused = backoff.phase();
    for _ in 0..100 {
        assert!(!backoff.answered(now, round, Fate::Failed, 0.0));
        assert!(!backoff.answered(now, backoff.round(), Fate::Failed, 0.0));
    }
    assert_eq!((backoff.phase(), backoff.level()), (paused, 1));
    // Neither do they count for the probe, nor for what comes after it.
    backoff.tick(now + SECOND);
    assert!(!backoff.answered(now + SECOND, round, Fate::Failed, 0.0));
    assert!(!backoff.answered(now + SECOND, round, Fate::Finished, 0.0));
    assert!(backoff.answered(now + SECOND, backoff.round(), Fate::Finished, 0.0));
    assert!(!backoff.answered(now + SECOND, round, Fate::Failed, 0.0));
    assert_eq!(backoff.phase(), Phase::Open);
}

#[test]
fn a_probe_that_is_returned_is_followed_by_another_after_the_same_pause() {
    let (mut backoff, mut now) = (backoff(), Instant::now());
    assert!(!backoff.answered(now, backoff.round(), Fate::Returned, 0.0));
    step(&mut backoff, &mut now, Fate::Failed);
    step(&mut backoff, &mut now, Fate::Failed);
    assert_eq!(step(&mut backoff, &mut now, Fate::Returned), Some(2 * SECOND));
}

#[test]
fn half_of_a_pause_is_left_to_chance() {
    for (chance, pause) in [(0.0, 1000), (0.5, 750), (1.0, 500)] {
        let (mut backoff, now) = (backoff(), Instant::now());
        backoff.answered(now, 0, Fate::Failed, chance);
        assert_eq!(backoff.phase(), Phase::Paused(now + Duration::from_millis(pause)));
    }
}

proptest! {
    #[test]
    fn whatever_happens_pauses_keep_their_bounds_and_enough_successes_end_them(
        pauses in (0_u64..5000, 0_u64..5000),
        steps in proptest::collection::vec((
            prop_oneof![Just(Fate::Finished), Just(Fate::Failed), Just(Fate::Returned)],
            0_u32..3,
            0_u64..3000,
            any::<f64>(),
        ), 0..200),
    ) {
        let (first, longest) = (Duration::from_millis(pauses.0), Duration::from_millis(pauses.1));
        let mut backoff = Backoff::new(&(first..=longest));
        let mut now = Instant::now();
        for (fate, rounds_ago, millis, chance) in steps {
            now += Duration::from_millis(millis);
            backoff.tick(now);
            let (before, level) = (backoff.phase(), backoff.level());
            let changed = backoff.answered(now, backoff.round().wrapping_sub(rounds_ago), fate, chance);
            prop_assert_eq!(changed, before != backoff.phase());
            prop_assert!(level.abs_diff(backoff.level()) <= 1);
            if let (true, Phase::Paused(until)) = (changed, backoff.phase()) {
                let (shortest, longest) = (first.max(SHORTEST), longest.max(first).max(SHORTEST));
                prop_assert!((shortest / 2..=longest).contains(&(until - now)));
            }
        }
        let level = backoff.level();
        for _ in 0..level {
            if let Phase::Paused(until) = backoff.phase() {
                now = until;
                backoff.tick(now);
            }
            backoff.answered(now, backoff.round(), Fate::Finished, 0.0);
        }
        prop_assert_eq!(backoff.phase(), Phase::Open);
    }
}
