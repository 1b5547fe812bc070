//! How many messages each connection may have out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::link::Link;

/// Spreads `max_in_flight` over the connections that are there.
#[derive(Debug)]
pub(super) struct Ready {
    max_in_flight: usize,
    links: Mutex<Links>,
}

#[derive(Debug)]
struct Links {
    connected: Vec<Arc<Link>>,
    is_stopped: bool,
}

impl Ready {
    pub(super) fn new(max_in_flight: usize) -> Self {
        Self {
            max_in_flight,
            links: Mutex::new(Links {
                connected: Vec::new(),
                is_stopped: false,
            }),
        }
    }

    /// A connection is there: it gets its share, and the others make room for it.
    ///
    /// One that comes after its broker was `let_go` gets nothing.
    pub(super) fn join(&self, link: Arc<Link>, let_go: &CancellationToken) {
        let mut links = self.links();
        if let_go.is_cancelled() {
            return;
        }
        links.connected.push(link);
        self.spread(&links);
    }

    /// A connection is gone: the others share what it had.
    pub(super) fn leave(&self, link: &Arc<Link>) {
        let mut links = self.links();
        links.connected.retain(|other| !Arc::ptr_eq(other, link));
        self.spread(&links);
    }

    /// The connections to `address` shall have no further messages, and the others share what they had.
    ///
    /// Returns those that are there.
    pub(super) fn release(&self, address: &str) -> Vec<Arc<Link>> {
        let mut links = self.links();
        let is_released = |link: &mut Arc<Link>| *link.address == *address;
        let released: Vec<Arc<Link>> = links.connected.extract_if(.., is_released).collect();
        for link in &released {
            link.release();
        }
        self.spread(&links);
        released
    }

    /// No connection shall have further messages, neither those that are there nor those to come.
    ///
    /// Returns those that are there.
    pub(super) fn stop(&self) -> Vec<Arc<Link>> {
        let mut links = self.links();
        links.is_stopped = true;
        self.spread(&links);
        links.connected.clone()
    }

    fn spread(&self, links: &Links) {
        let count = links.connected.len();
        for (position, link) in links.connected.iter().enumerate() {
            link.set_limit(if links.is_stopped {
                0
            } else {
                share(self.max_in_flight, count, position).min(link.max_ready)
            });
        }
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the connection at `position` of `count` gets of `total`: at least one, or it would never get a message.
fn share(total: usize, count: usize, position: usize) -> usize {
    let count = count.max(1);
    (total / count + usize::from(position < total % count)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_differ_by_one_at_most() {
        let shares: Vec<usize> = (0..3).map(|position| share(256, 3, position)).collect();
        assert_eq!(shares, [86, 85, 85]);
    }

    #[test]
    fn every_connection_gets_one_message_even_beyond_the_total() {
        assert_eq!((share(2, 3, 2), share(0, 1, 0)), (1, 1));
    }
}
