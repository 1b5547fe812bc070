//! Counting what handlers see, and waiting until they have.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

/// Longer than anything that a test waits for, so that a test that would hang fails instead.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often each number was handled.
#[derive(Clone, Debug)]
pub struct Tally(Arc<watch::Sender<BTreeMap<u64, u32>>>);

impl Default for Tally {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeMap::new())))
    }
}

impl Tally {
    pub fn add(&self, number: u64) {
        self.0.send_modify(|seen| *seen.entry(number).or_default() += 1);
    }

    pub fn now(&self) -> BTreeMap<u64, u32> {
        self.0.borrow().clone()
    }

    /// How often something was handled, in all.
    pub fn total(&self) -> u32 {
        self.0.borrow().values().sum()
    }

    /// Waits until so many different numbers were handled.
    pub async fn distinct(&self, count: usize) -> BTreeMap<u64, u32> {
        self.until(|seen| seen.len() >= count).await
    }

    /// Waits until it is so.
    pub async fn until(&self, mut is_so: impl FnMut(&BTreeMap<u64, u32>) -> bool) -> BTreeMap<u64, u32> {
        let mut seen = self.0.subscribe();
        match timeout(PATIENCE, seen.wait_for(|seen| is_so(seen))).await {
            Ok(seen) => seen.expect("the sender is here").clone(),
            Err(_) => panic!("waited in vain for more than {:?}", self.now()),
        }
    }
}
