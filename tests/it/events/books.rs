//! The books of a test: what was published, confirmed, handled and put aside adds up.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use almanet::Session;

use super::tally::Tally;

/// Numbers that are published to one topic, and what became of them.
#[derive(Debug)]
pub struct Books {
    topic: String,
    published: BTreeSet<u64>,
    confirmed: usize,
}

/// What became of them in the end.
#[derive(Debug)]
pub struct Balance {
    pub published: usize,
    pub confirmed: usize,
    /// How many different events were handled well.
    pub handled: usize,
    /// How often that was done again.
    pub again: usize,
    pub dead_lettered: usize,
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            published,
            confirmed,
            handled,
            again,
            dead_lettered,
        } = self;
        write!(
            f,
            "published {published}, confirmed {confirmed}, handled {handled} (and {again} again), dead-lettered \
             {dead_lettered}"
        )
    }
}

impl Books {
    pub fn of(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            published: BTreeSet::new(),
            confirmed: 0,
        }
    }

    /// Publishes these numbers, none of which has been published before.
    pub async fn publish(&mut self, session: &Session, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            assert!(self.published.insert(number), "{number} was published before");
            let confirmed = session.produce(&self.topic, &number).await;
            self.confirmed += usize::from(confirmed.is_ok());
        }
    }

    /// Balances: what was confirmed was handled or is a dead letter, nothing is both, and nothing came from nowhere. The
    /// dead letters stay.
    pub async fn balance(&self, session: &Session, handled: &Tally) -> Balance {
        let letters = session
            .dead_letters(&self.topic)
            .unwrap()
            .quiet(Duration::from_millis(300));
        let letters = letters.list().await.unwrap();
        let dead: Vec<u64> = letters.iter().map(|letter| letter.decode().unwrap()).collect();
        self.balance_with(handled.now(), dead)
    }

    /// As [`balance`](Self::balance), with dead letters that somebody has counted.
    pub fn balance_with(&self, handled: BTreeMap<u64, u32>, dead: impl IntoIterator<Item = u64>) -> Balance {
        let mut ended: BTreeSet<u64> = handled.keys().copied().collect();
        let mut dead_lettered = 0;
        for number in dead {
            assert!(ended.insert(number), "{number} ended twice");
            dead_lettered += 1;
        }
        let balance = Balance {
            published: self.published.len(),
            confirmed: self.confirmed,
            handled: handled.len(),
            again: handled.values().map(|runs| *runs as usize - 1).sum(),
            dead_lettered,
        };
        println!("{}: {balance}", self.topic);
        assert_eq!(ended, self.published, "{balance}");
        assert_eq!(
            balance.confirmed,
            balance.handled + balance.dead_lettered,
            "{balance}"
        );
        balance
    }
}
