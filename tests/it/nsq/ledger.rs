//! The books on numbered messages: what became of each publish, and what came of it.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use almanet_nsq::PublishError;
use tokio::sync::watch;

/// The node that confirmed a publish; `None` where there is but one.
pub(super) type Node = Option<Arc<str>>;

/// What a publisher was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Confirmed,
    /// It may have happened or not.
    Unconfirmed,
    /// It has not happened.
    Failed,
}

#[derive(Debug, Default)]
struct Entry {
    /// How often brokers had been replaced when its publishing began.
    era: u32,
    outcome: Option<Outcome>,
    node: Node,
    /// The attempt that the broker counted, for each time that it was delivered.
    attempts: Vec<u16>,
}

impl Entry {
    /// Whether it is confirmed and has not come.
    fn is_owed(&self) -> bool {
        self.outcome == Some(Outcome::Confirmed) && self.attempts.is_empty()
    }
}

/// How far it has got, for those who wait for that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    pub(super) confirmed: u64,
    pub(super) failed: u64,
    pub(super) consumed: u64,
    /// Confirmed and not consumed yet.
    pub(super) owed: u64,
    /// Consumed, and its publisher has not been told anything yet.
    pub(super) ahead: u64,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    books: Mutex<Books>,
    pub(super) progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct Books {
    entries: HashMap<u64, Entry>,
    /// How often brokers have been replaced.
    era: u32,
    /// The era that began when this node was last replaced.
    replaced: HashMap<Node, u32>,
}

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next message.
    pub(super) fn begin(&self) -> u64 {
        let mut books = self.books();
        let number = books.entries.len() as u64;
        let era = books.era;
        books.entries.insert(
            number,
            Entry {
                era,
                ..Entry::default()
            },
        );
        number
    }

    /// This node, which keeps messages in memory, has been replaced. Returns how many of its messages are owed.
    pub(super) fn begin_era(&self, node: Node) -> usize {
        let mut books = self.books();
        books.era += 1;
        let era = books.era;
        let of_node = books.entries.values().filter(|entry| entry.node == node);
        let owed = of_node.filter(|entry| entry.is_owed()).count();
        books.replaced.insert(node, era);
        owed
    }

    pub(super) fn published(&self, number: u64, result: Result<Node, PublishError>) {
        let (outcome, node) = match result {
            Ok(node) => (Outcome::Confirmed, node),
            Err(PublishError::Unconfirmed { .. }) => (Outcome::Unconfirmed, None),
            Err(_) => (Outcome::Failed, None),
        };
        let mut books = self.books();
        let entry = books.entries.get_mut(&number).expect("it was begun");
        (entry.outcome, entry.node) = (Some(outcome), node);
        let is_consumed = !entry.attempts.is_empty();
        self.progress.send_modify(|progress| {
            progress.ahead -= u64::from(is_consumed);
            match outcome {
                Outcome::Confirmed => {
                    progress.confirmed += 1;
                    progress.owed += u64::from(!is_consumed);
                }
                Outcome::Unconfirmed | Outcome::Failed => progress.failed += 1,
            }
        });
    }

    pub(super) fn consumed(&self, number: u64, attempts: u16) {
        let mut books = self.books();
        let entry = books
            .entries
            .get_mut(&number)
            .expect("what is consumed was published");
        entry.attempts.push(attempts);
        let is_first = entry.attempts.len() == 1;
        let pays = is_first && entry.outcome == Some(Outcome::Confirmed);
        self.progress.send_modify(|progress| {
            progress.consumed += 1;
            progress.owed -= u64::from(pays);
            progress.ahead += u64::from(is_first && entry.outcome.is_none());
        });
    }

    pub(super) fn balance(&self) -> Balance {
        let books = self.books();
        let mut balance = Balance::default();
        for entry in books.entries.values() {
            let times = entry.attempts.len();
            match entry.outcome {
                None => balance.unanswered += 1,
                Some(Outcome::Confirmed) => {
                    balance.confirmed += 1;
                    // The node can have taken with it only what was begun before.
                    let went = books
                        .replaced
                        .get(&entry.node)
                        .is_some_and(|era| *era > entry.era);
                    let place = match went {
                        true => &mut balance.gone_with_a_broker,
                        false => &mut balance.missing,
                    };
                    *place += usize::from(times == 0);
                }
                Some(Outcome::Unconfirmed) => {
                    balance.unconfirmed += 1;
                    balance.unconfirmed_and_consumed += usize::from(times > 0);
                }
                Some(Outcome::Failed) => {
                    balance.failed += 1;
                    balance.failed_and_consumed += usize::from(times > 0);
                }
            }
            balance.consumed += usize::from(times > 0);
            balance.redelivered += times.saturating_sub(1);
            // The broker counts deliveries. A second one that it calls the first is a message that it has twice.
            let firsts = entry.attempts.iter().filter(|attempt| **attempt == 1).count();
            balance.doubled += firsts.saturating_sub(1);
        }
        balance
    }
}

/// What it comes to in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Balance {
    pub(super) confirmed: usize,
    pub(super) unconfirmed: usize,
    pub(super) failed: usize,
    /// Publishes that never returned.
    pub(super) unanswered: usize,
    /// Distinct messages that were consumed.
    pub(super) consumed: usize,
    pub(super) unconfirmed_and_consumed: usize,
    pub(super) failed_and_consumed: usize,
    /// Confirmed and never consumed, by brokers that are still there.
    pub(super) missing: usize,
    /// The same, by a broker that has been replaced and kept its messages in memory.
    pub(super) gone_with_a_broker: usize,
    /// Deliveries after the first.
    pub(super) redelivered: usize,
    /// Those among them that the broker takes for another message.
    pub(super) doubled: usize,
}

impl Balance {
    /// What NSQ and this client promise, however often connections are lost. Prints the counts.
    ///
    /// `redelivered` is how many messages can have been on connections that were lost, or waited too long; `doubled`
    /// is how many publishes may have been sent again although a broker had them.
    pub(super) fn check(&self, name: &str, redelivered: usize, doubled: usize) {
        println!("{name}: {self}");
        assert!(
            self.confirmed > 0 && self.consumed > 0,
            "nothing was tested: {self}"
        );
        assert_eq!(self.unanswered, 0, "publishes that never returned: {self}");
        assert_eq!(
            self.missing, 0,
            "confirmed publishes that were never consumed: {self}"
        );
        assert_eq!(
            self.failed_and_consumed, 0,
            "consumed although said not to be sent: {self}"
        );
        assert!(
            self.doubled <= doubled,
            "at most {doubled} may be published twice: {self}"
        );
        assert!(
            self.redelivered <= redelivered + self.doubled,
            "at most {redelivered} can have been lost on their way: {self}"
        );
    }

    /// That faults struck while something was under way, without which the rest says nothing.
    pub(super) fn check_that_faults_struck(&self) {
        assert!(
            self.unconfirmed + self.failed > 0,
            "no publish noticed any fault: {self}"
        );
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} confirmed, {} unconfirmed ({} of them consumed), {} failed; {} consumed, {} redelivered, {} doubled, \
             {} missing, {} gone with a broker",
            self.confirmed,
            self.unconfirmed,
            self.unconfirmed_and_consumed,
            self.failed,
            self.consumed,
            self.redelivered,
            self.doubled,
            self.missing,
            self.gone_with_a_broker,
        )
    }
}
