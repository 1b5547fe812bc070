//! Looking through dead letters, and bringing them back.

use std::time::Duration;

use almanet_nsq::{ChannelName, TopicName};
use tokio::time::timeout;

use super::{
    bury::{CHANNEL, dead_letter_topic},
    letter::{DeadLetter, Reason},
};
use crate::{
    error::{ConsumeError, ProduceError, ReplayError},
    event::{header, incoming::answered},
    id::Id,
    session::Session,
    transport::{Delivery, Publication, SubscribeOptions},
    wire::EventBody,
};

impl Session {
    /// The dead letters of `topic`, which wait on the topic `<topic>.dlq`.
    ///
    /// ```no_run
    /// # use almanet::Reason;
    /// # async fn example(session: almanet::Session) -> Result<(), Box<dyn std::error::Error>> {
    /// let letters = session.dead_letters("net.example.orders")?;
    /// for letter in letters.list().await? {
    ///     println!("{}: {} after {} attempts", letter.reason(), letter.error(), letter.attempts());
    /// }
    /// // The database is back: those that failed often enough shall try again.
    /// let replayed = letters.replay(|letter| letter.reason() == Reason::Attempts).await?;
    /// println!("{} are on their way again, {} stay", replayed.replayed, replayed.kept);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConsumeError::InvalidName`] when the topic's name is not valid, or has more than 60 characters.
    pub fn dead_letters(&self, topic: impl AsRef<str>) -> Result<DeadLetters, ConsumeError> {
        Ok(DeadLetters {
            session: self.clone(),
            topic: dead_letter_topic(&TopicName::new(topic)?)?,
            limit: 1000,
            quiet: Duration::from_secs(1),
            every_channel: false,
        })
    }
}

/// The dead letters of one topic: a queue that can be looked through.
///
/// NSQ cannot show a queue without taking from it. So each look takes the letters, on the channel `almanet` of the
/// dead-letter topic, and gives those back that stay; two looks at once share the letters between them. A look ends when no
/// letter has come for a [while](Self::quiet), or [so many](Self::limit) have.
#[derive(Debug, Clone)]
#[must_use = "dead letters are listed or replayed"]
pub struct DeadLetters {
    session: Session,
    topic: TopicName,
    limit: usize,
    quiet: Duration,
    every_channel: bool,
}

/// What became of the dead letters that were looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replayed {
    /// How many are on their way again, or were discarded.
    pub replayed: usize,
    /// How many stay where they are.
    pub kept: usize,
}

/// What shall become of a letter.
enum Verdict {
    Keep,
    Replay,
    Discard,
}

impl DeadLetters {
    /// The most letters of one look, which are held in memory meanwhile. Default: 1000. nsqd hands out 2500 at once, if
    /// not configured otherwise, so more of one node are of no use.
    pub fn limit(mut self, letters: usize) -> Self {
        self.limit = letters.max(1);
        self
    }

    /// How long no letter may come until all are taken to have come. Default: 1 second.
    pub fn quiet(mut self, quiet: Duration) -> Self {
        self.quiet = quiet;
        self
    }

    /// Replays to every channel of the topic, as the event was first published: the bare payload, readable by any
    /// consumer. By default only consumers of the channel that gave the event up see it again; consumers that are not
    /// Almanet's see an envelope then.
    pub fn to_every_channel(mut self) -> Self {
        self.every_channel = true;
        self
    }

    /// The letters as they are. They stay.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Consume`] when they cannot be read.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, all letters stay.
    pub async fn list(&self) -> Result<Vec<DeadLetter>, ReplayError> {
        let mut letters = Vec::new();
        self.look(|letter| {
            letters.push(letter.clone());
            Verdict::Keep
        })
        .await?;
        Ok(letters)
    }

    /// Publishes those letters again that are `chosen`, each to the topic that it came from. A letter is taken away once
    /// its event is confirmed, so one that is interrupted can be replayed twice, and none is lost. Attempts are counted
    /// anew.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] says how many were replayed before one could not be; that one and all others stay.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, what was not replayed stays.
    pub async fn replay(&self, mut chosen: impl FnMut(&DeadLetter) -> bool) -> Result<Replayed, ReplayError> {
        self.look(|letter| {
            if chosen(letter) {
                Verdict::Replay
            } else {
                Verdict::Keep
            }
        })
        .await
    }

    /// Publishes all letters again. See [`replay`](Self::replay).
    ///
    /// # Errors
    ///
    /// As [`replay`](Self::replay).
    ///
    /// # Cancel safety
    ///
    /// As [`replay`](Self::replay).
    pub async fn replay_all(&self) -> Result<Replayed, ReplayError> {
        self.replay(|_| true).await
    }

    /// Publishes the letters again that are there for `reason`. See [`replay`](Self::replay).
    ///
    /// # Errors
    ///
    /// As [`replay`](Self::replay).
    ///
    /// # Cancel safety
    ///
    /// As [`replay`](Self::replay).
    pub async fn replay_by_reason(&self, reason: Reason) -> Result<Replayed, ReplayError> {
        self.replay(|letter| letter.reason() == reason).await
    }

    /// Takes those letters away for good that are `chosen`.
    ///
    /// # Errors
    ///
    /// [`ReplayError::Consume`] when they cannot be read.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, what was not discarded stays.
    pub async fn discard(
        &self,
        mut chosen: impl FnMut(&DeadLetter) -> bool,
    ) -> Result<Replayed, ReplayError> {
        self.look(|letter| {
            if chosen(letter) {
                Verdict::Discard
            } else {
                Verdict::Keep
            }
        })
        .await
    }

    /// Takes each letter once, and gives those back that stay.
    async fn look(&self, mut judge: impl FnMut(&DeadLetter) -> Verdict) -> Result<Replayed, ReplayError> {
        let channel = ChannelName::new(CHANNEL).map_err(ConsumeError::from)?;
        let options = SubscribeOptions {
            max_in_flight: self.limit,
            ..SubscribeOptions::default()
        };
        let mut subscription = self
            .session
            .transport()
            .subscribe(&self.topic, &channel, options)
            .await
            .map_err(ConsumeError::from)?;

        // Those that stay are held until the end: given back earlier, they would come again at once.
        let mut held = Vec::new();
        let mut replayed = 0;
        let mut failed = None;
        let replay = Id::random().to_string();
        while held.len() + replayed < self.limit {
            let Ok(Some(delivery)) = timeout(self.quiet, subscription.recv()).await else {
                break;
            };
            let letter = DeadLetter::new(&delivery);
            // What fails again while this look goes on has been judged already.
            let verdict = if letter.came_back_from(&replay) {
                Verdict::Keep
            } else {
                judge(&letter)
            };
            match verdict {
                Verdict::Keep => held.push(delivery),
                Verdict::Discard => {
                    replayed += 1;
                    answered(delivery.finish());
                }
                Verdict::Replay => match self.publish(&letter, &replay).await {
                    Ok(()) => {
                        replayed += 1;
                        answered(delivery.finish());
                    }
                    Err(source) => {
                        held.push(delivery);
                        failed = Some(source);
                        break;
                    }
                },
            }
        }
        let kept = held.len();
        // Dropped unanswered, they go back at once.
        held.into_iter().for_each(drop::<Delivery>);
        subscription.close().await;
        match failed {
            None => Ok(Replayed { replayed, kept }),
            Some(source) => Err(ReplayError::Publish { replayed, source }),
        }
    }

    async fn publish(&self, letter: &DeadLetter, replay: &str) -> Result<(), ProduceError> {
        let topic = TopicName::new(letter.topic())?;
        let mut headers = letter.headers();
        // An ephemeral channel is gone with its consumer: what is meant for it alone would be for nobody.
        let is_lasting = ChannelName::new(letter.channel()).is_ok_and(|channel| !channel.is_ephemeral());
        if is_lasting && !self.every_channel {
            headers.insert(header::CHANNEL, letter.channel());
            headers.insert(header::REPLAY, replay);
        }
        if let (Some(version), false) = (letter.event_version(), headers.is_empty()) {
            headers.insert(header::VERSION, version.to_string());
        }
        let body = EventBody::new(headers, letter.payload().clone()).encode()?;
        let publication = Publication::new(topic, body).allow_duplicates();
        Ok(self.session.publish_in(None, publication).await?)
    }
}
