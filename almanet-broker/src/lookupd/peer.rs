//! One nsqlookupd, and all that it is told.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use tokio::{
    sync::broadcast::error::{RecvError, TryRecvError},
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};

use super::{
    connection::{BATCH, Command, Connection, PeerError},
    identity::Identity,
    list::Lookupds,
};
use crate::{
    registration::{Change, Registration},
    registry::Registry,
};

/// nsqd's interval between two PINGs.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// The wait before the first reconnection; it doubles up to [`LONGEST_WAIT`], and is up to a half shorter by chance.
const SHORTEST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// The connection to one nsqlookupd, made again whenever it is lost.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: String,
    pub(super) identity: Arc<Identity>,
    pub(super) registry: Arc<Registry>,
    pub(super) lookupds: Arc<Lookupds>,
}

impl Peer {
    /// Registers the broker, for ever.
    pub(super) async fn run(self) {
        let mut wait = SHORTEST_WAIT;
        let mut is_known_to_fail = false;
        loop {
            let mut was_registered = false;
            let Err(error) = self.serve(&mut was_registered).await;
            self.lookupds.disconnected(&self.address);
            if was_registered {
                wait = SHORTEST_WAIT;
                is_known_to_fail = false;
            }
            // One that is down for a day is one line in the log, not thousands.
            if is_known_to_fail {
                tracing::debug!(lookupd = %self.address, "nsqlookupd: {error}");
            } else {
                tracing::warn!(lookupd = %self.address, "nsqlookupd: {error}; trying again, for ever");
            }
            is_known_to_fail = true;
            sleep(wait.mul_f64(1.0 - fastrand::f64() / 2.0)).await;
            wait = LONGEST_WAIT.min(wait * 2);
        }
    }

    /// Makes a connection and tells everything, until that fails.
    async fn serve(&self, was_registered: &mut bool) -> Result<Infallible, PeerError> {
        let mut connection = Connection::open(&self.address).await?;
        let info = connection.identify(&self.identity).await?;
        self.lookupds.connected(&self.address, &info);
        // Listened to before everything is looked at, so that nothing falls in between.
        let mut changes = self.registry.changes().listen();
        let mut told = BTreeSet::new();
        let mut commands = Vec::new();
        update(&mut told, self.registry.registrations(), &mut commands);
        connection.tell(&commands).await?;
        tracing::info!(
            lookupd = %self.address,
            version = %info.version,
            "nsqlookupd: registered {} topics and channels",
            told.len()
        );
        *was_registered = true;

        let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let first = tokio::select! {
                first = changes.recv() => first,
                _ = pings.tick() => {
                    connection.ping().await?;
                    continue;
                }
                error = connection.ended() => return Err(error),
            };
            commands.clear();
            let mut is_behind = false;
            match first {
                Ok(change) => apply(&mut told, change, &mut commands),
                Err(RecvError::Lagged(_)) => is_behind = true,
                // The registry is in use here, so this does not happen.
                Err(RecvError::Closed) => return Err(PeerError::Closed),
            }
            while !is_behind && commands.len() < BATCH {
                match changes.try_recv() {
                    Ok(change) => apply(&mut told, change, &mut commands),
                    Err(TryRecvError::Lagged(_)) => is_behind = true,
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            if is_behind {
                update(&mut told, self.registry.registrations(), &mut commands);
            }
            connection.tell(&commands).await?;
        }
    }
}

/// What has to be said so that `wanted` is known instead of `told`: first what is gone, channels before their topics.
fn update(told: &mut BTreeSet<Registration>, wanted: BTreeSet<Registration>, commands: &mut Vec<Command>) {
    let gone: Vec<_> = told.difference(&wanted).cloned().collect();
    for registration in gone.into_iter().rev() {
        apply(told, Change::Removed(registration), commands);
    }
    for registration in wanted {
        apply(told, Change::Added(registration), commands);
    }
}

/// What has to be said after a change, if it is not known.
fn apply(told: &mut BTreeSet<Registration>, change: Change, commands: &mut Vec<Command>) {
    match change {
        Change::Added(registration) => {
            if told.insert(registration.clone()) {
                commands.push(Command::Register(registration));
            }
        }
        Change::Removed(registration) => {
            if told.remove(&registration) {
                commands.push(Command::Unregister(registration));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use almanet_nsq_proto::{ChannelName, TopicName};

    use super::*;

    fn registration(name: &str) -> Registration {
        let (topic, channel) = match name.split_once('/') {
            Some((topic, channel)) => (topic, Some(ChannelName::new(channel).unwrap())),
            None => (name, None),
        };
        Registration {
            topic: TopicName::new(topic).unwrap(),
            channel,
        }
    }

    fn registrations(names: &[&str]) -> BTreeSet<Registration> {
        names.iter().map(|name| registration(name)).collect()
    }

    #[test]
    fn an_update_says_the_difference_and_takes_channels_away_before_their_topic() {
        let mut told = registrations(&["a", "a/x", "a/y", "b"]);
        let mut commands = Vec::new();
        update(&mut told, registrations(&["b", "b/z", "c"]), &mut commands);
        let expected = [
            Command::Unregister(registration("a/y")),
            Command::Unregister(registration("a/x")),
            Command::Unregister(registration("a")),
            Command::Register(registration("b/z")),
            Command::Register(registration("c")),
        ];
        assert_eq!(commands, expected);
        assert_eq!(told, registrations(&["b", "b/z", "c"]));
    }

    #[test]
    fn what_is_known_is_not_said_again() {
        let mut told = registrations(&["a"]);
        let mut commands = Vec::new();
        apply(&mut told, Change::Added(registration("a")), &mut commands);
        apply(&mut told, Change::Removed(registration("b")), &mut commands);
        assert!(commands.is_empty());
    }
}
