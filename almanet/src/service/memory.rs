//! The answers to calls that have an idempotency key, kept for a while.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::OnceCell, time::Instant};

use crate::{
    error::{INTERNAL_ERROR, INVALID_PAYLOAD, OVERLOADED, RemoteError},
    wire::Payload,
};

/// What a handler answers.
pub(super) type Answer = Result<Payload, RemoteError>;

/// The longest key. Keys are the callers', and each is kept.
const MAX_KEY_BYTES: usize = 256;

/// How many keys are remembered; then the oldest is forgotten.
const MAX_KEYS: usize = 10_000;

/// How many bytes of answers and keys are remembered; then the oldest are forgotten.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The first answers of one procedure, by idempotency key.
#[derive(Debug)]
pub(super) struct Memory {
    lasts: Duration,
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Arc<str>, Entry>,
    /// The keys that have an answer, with the time when they are forgotten, which they have in order.
    answered: VecDeque<(Instant, Arc<str>)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    /// What the first call had as its payload: another one is other work.
    fingerprint: u64,
    answer: Arc<OnceCell<Answer>>,
    bytes: usize,
}

impl Memory {
    /// A memory that keeps each answer for as long as this.
    pub(super) fn new(lasts: Duration) -> Self {
        Self {
            lasts,
            hasher: RandomState::new(),
            state: Mutex::default(),
        }
    }

    /// The answer for `key`: that of an earlier call, or that of one that runs now, or what `run` answers.
    ///
    /// Only what the handler itself answered is remembered. When the run that others wait for is dropped, the next of
    /// them runs.
    pub(super) async fn answer(
        &self,
        key: &str,
        payload: &Payload,
        replayed: impl FnOnce(),
        run: impl Future<Output = Answer>,
    ) -> Answer {
        if key.len() > MAX_KEY_BYTES {
            let reason = format!("the idempotency key has more than {MAX_KEY_BYTES} bytes");
            return Err(RemoteError::sentence(payload.codec(), INVALID_PAYLOAD, &reason));
        }
        let fingerprint = self.hasher.hash_one((payload.codec(), payload.bytes()));
        let place = match self.place(key, fingerprint) {
            Found::Place(place) => place,
            Found::OtherWork => {
                let reason = "the idempotency key was used before, with another payload";
                return Err(RemoteError::sentence(payload.codec(), INVALID_PAYLOAD, reason));
            }
            Found::NoRoom => return run.await,
        };
        let mut ran = false;
        let answer = place
            .answer
            .get_or_try_init(async || {
                ran = true;
                let answer = run.await;
                match answer {
                    Err(error) if is_no_answer(&error) => Err(error),
                    answer => Ok(answer),
                }
            })
            .await;
        match answer {
            Ok(answer) if ran => {
                self.keep(&place.key, answer);
                answer.clone()
            }
            Ok(answer) => {
                replayed();
                answer.clone()
            }
            Err(error) => Err(error),
        }
    }

    fn place(&self, key: &str, fingerprint: u64) -> Found<'_> {
        let mut state = self.state();
        state.forget(Instant::now());
        let entry = match state.entries.get_key_value(key) {
            Some((_, entry)) if entry.fingerprint != fingerprint => return Found::OtherWork,
            Some((key, entry)) => (Arc::clone(key), Arc::clone(&entry.answer)),
            None => {
                if state.entries.len() >= MAX_KEYS && !state.forget_oldest() {
                    return Found::NoRoom;
                }
                let (key, answer): (Arc<str>, _) = (key.into(), Arc::default());
                let entry = Entry {
                    fingerprint,
                    answer: Arc::clone(&answer),
                    bytes: 0,
                };
                state.entries.insert(Arc::clone(&key), entry);
                (key, answer)
            }
        };
        let (key, answer) = entry;
        Found::Place(Place {
            memory: self,
            key,
            answer,
        })
    }

    /// Begins the time for which the answer is kept.
    fn keep(&self, key: &Arc<str>, answer: &Answer) {
        let size = match answer {
            Ok(payload) => payload.bytes().len(),
            Err(error) => error.name().len() + error.payload().bytes().len(),
        };
        let mut state = self.state();
        let Some(entry) = state.entries.get_mut(key) else {
            return;
        };
        entry.bytes = size + key.len();
        state.bytes += size + key.len();
        let now = Instant::now();
        let until = now.checked_add(self.lasts).unwrap_or(now);
        state.answered.push_back((until, Arc::clone(key)));
        while state.bytes > MAX_BYTES && state.forget_oldest() {}
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets what was to be kept until `now`.
    fn forget(&mut self, now: Instant) {
        while self.answered.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
    }

    /// Forgets the oldest answer, if there is one.
    fn forget_oldest(&mut self) -> bool {
        let Some((_, key)) = self.answered.pop_front() else {
            return false;
        };
        if let Some(entry) = self.entries.remove(&key) {
            self.bytes -= entry.bytes;
        }
        true
    }
}

/// Where the answer for a key is, or will be.
enum Found<'a> {
    Place(Place<'a>),
    /// The key belongs to another payload.
    OtherWork,
    /// As many calls run as keys may be remembered.
    NoRoom,
}

struct Place<'a> {
    memory: &'a Memory,
    key: Arc<str>,
    answer: Arc<OnceCell<Answer>>,
}

impl Drop for Place<'_> {
    /// The last who waited in vain forgets the key.
    fn drop(&mut self) {
        if self.answer.initialized() {
            return;
        }
        let mut state = self.memory.state();
        // One is the map's, one is this.
        if Arc::strong_count(&self.answer) <= 2 {
            state.entries.remove(&self.key);
        }
    }
}

/// Whether the error says that the work was not done, so that it may be tried again.
fn is_no_answer(error: &RemoteError) -> bool {
    matches!(error.name(), INTERNAL_ERROR | OVERLOADED)
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::pending};

    use futures_util::FutureExt;

    use super::*;
    use crate::wire::Codec;

    const LASTS: Duration = Duration::from_secs(60);

    fn payload(value: &str) -> Payload {
        Payload::encode(Codec::Json, value).unwrap()
    }

    async fn ask(memory: &Memory, key: &str, asked: &str, answer: &str) -> Answer {
        let answer = Ok(payload(answer));
        memory.answer(key, &payload(asked), || {}, async { answer }).await
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_answer_is_kept_for_its_time() {
        let memory = Memory::new(LASTS);
        assert_eq!(ask(&memory, "k", "x", "first").await, Ok(payload("first")));
        tokio::time::advance(LASTS - Duration::from_millis(1)).await;
        assert_eq!(ask(&memory, "k", "x", "second").await, Ok(payload("first")));
        assert_eq!(ask(&memory, "other", "x", "other").await, Ok(payload("other")));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(ask(&memory, "k", "x", "third").await, Ok(payload("third")));
    }

    #[tokio::test]
    async fn who_comes_while_the_first_runs_waits_for_it_and_takes_over_if_it_is_dropped() {
        let memory = Memory::new(LASTS);
        let asked = payload("x");
        let replayed = Cell::new(0);
        let mut first = Box::pin(memory.answer("k", &asked, || {}, pending()));
        assert!((&mut first).now_or_never().is_none());
        let count = || replayed.set(replayed.get() + 1);
        let mut second = Box::pin(memory.answer("k", &asked, count, async { Ok(payload("second")) }));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        assert_eq!(second.await, Ok(payload("second")));
        assert_eq!(ask(&memory, "k", "x", "third").await, Ok(payload("second")));
        assert_eq!(replayed.get(), 0, "it ran itself");
    }

    #[tokio::test]
    async fn what_was_not_done_is_not_remembered() {
        let memory = Memory::new(LASTS);
        for name in [INTERNAL_ERROR, OVERLOADED] {
            let failed = Err(RemoteError::sentence(Codec::Json, name, "no"));
            let asked = payload("x");
            let answer = memory.answer("k", &asked, || {}, async { failed.clone() });
            assert_eq!(answer.await, failed);
            assert!(memory.state().entries.is_empty());
        }
        let dropped = payload("x");
        let mut dropped = Box::pin(memory.answer("k", &dropped, || {}, pending()));
        assert!((&mut dropped).now_or_never().is_none());
        drop(dropped);
        assert!(memory.state().entries.is_empty());
    }

    #[tokio::test]
    async fn a_key_belongs_to_one_payload_and_is_not_long() {
        let memory = Memory::new(LASTS);
        ask(&memory, "k", "x", "first").await.unwrap();
        let error = ask(&memory, "k", "y", "second").await.unwrap_err();
        assert_eq!(error.name(), INVALID_PAYLOAD);
        let error = ask(&memory, &"k".repeat(257), "x", "second").await.unwrap_err();
        assert_eq!(error.name(), INVALID_PAYLOAD);
    }

    #[tokio::test]
    async fn it_stays_within_its_bounds() {
        let memory = Memory::new(LASTS);
        for number in 0..MAX_KEYS + 5 {
            ask(&memory, &number.to_string(), "x", "a").await.unwrap();
        }
        assert_eq!(memory.state().entries.len(), MAX_KEYS);
        let large = "x".repeat(MAX_BYTES / 4);
        for number in 0..10 {
            ask(&memory, &format!("large {number}"), "x", &large)
                .await
                .unwrap();
        }
        let state = memory.state();
        assert!(state.bytes <= MAX_BYTES, "{}", state.bytes);
        assert_eq!(state.entries.len(), state.answered.len());
    }
}
