//! Which publishes leave together as one command.

use std::{collections::VecDeque, time::Duration};

use almanet_nsq_proto::{Command, TopicName};
use tokio::time::Instant;

/// A larger message gains nothing from company, and a broker whose limit is below ours would refuse all of them
/// first.
const LARGEST: usize = 16 * 1024;
/// The most messages that share one answer.
const MOST: usize = 256;
/// The most commands that can still grow; the one that began first is left as it is then.
const OPEN: usize = 8;
/// Deadlines are looked after in the order in which the commands are written, so those of one command are alike.
const ALIKE: Duration = Duration::from_millis(100);
/// The size before each message of an MPUB, and the count before all of them.
const SIZE_LENGTH: usize = 4;

/// Gives each publish a place among the commands that are to be written.
///
/// Publishes to one topic are written in the order in which they came. Those to different topics may pass each
/// other, which nobody can see: NSQ promises no order between topics.
#[derive(Debug)]
pub(super) struct Merge {
    max_body_size: usize,
    /// The number of commands so far.
    count: usize,
    open: VecDeque<Open>,
}

/// A command that can take in further publishes.
#[derive(Debug)]
struct Open {
    topic: TopicName,
    place: usize,
    count: usize,
    size: usize,
    deadline: Instant,
}

impl Merge {
    pub(super) fn new(max_body_size: usize) -> Self {
        Self {
            max_body_size,
            count: 0,
            open: VecDeque::new(),
        }
    }

    /// The place of `command`: the number of the command that it becomes part of.
    ///
    /// Several get the same place only if each is a PUB to the same topic.
    pub(super) fn place(&mut self, command: &Command, deadline: Instant) -> usize {
        match command {
            Command::Pub { topic, body } => self.place_message(topic, body.len(), deadline),
            _ => self.place_alone(command),
        }
    }

    /// The place of `command` where it shall not become part of another.
    pub(super) fn place_alone(&mut self, command: &Command) -> usize {
        if let Command::Pub { topic, .. } | Command::Mpub { topic, .. } | Command::Dpub { topic, .. } =
            command
        {
            self.open.retain(|open| open.topic != *topic);
        }
        self.add()
    }

    fn place_message(&mut self, topic: &TopicName, size: usize, deadline: Instant) -> usize {
        let size = SIZE_LENGTH + size;
        let found = self.open.iter().position(|open| open.topic == *topic);
        if let Some(index) = found {
            if let Some(open) = self.open.get_mut(index)
                && open.count < MOST
                && open.size + size <= self.max_body_size
                && size <= LARGEST
                && deadline.duration_since(open.deadline) <= ALIKE
            {
                open.count += 1;
                open.size += size;
                return open.place;
            }
            self.open.remove(index);
        }
        let place = self.add();
        if size <= LARGEST {
            if self.open.len() == OPEN {
                self.open.pop_front();
            }
            self.open.push_back(Open {
                topic: topic.clone(),
                place,
                count: 1,
                size: SIZE_LENGTH + size,
                deadline,
            });
        }
        place
    }

    fn add(&mut self) -> usize {
        self.count += 1;
        self.count - 1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn topic(name: &str) -> TopicName {
        TopicName::new(name).unwrap()
    }

    fn publish(topic: &TopicName, size: usize) -> Command {
        let (topic, body) = (topic.clone(), vec![1; size].into());
        Command::Pub { topic, body }
    }

    fn places(commands: &[Command], max_body_size: usize) -> Vec<usize> {
        let now = Instant::now();
        let mut merge = Merge::new(max_body_size);
        commands.iter().map(|command| merge.place(command, now)).collect()
    }

    #[test]
    fn topics_that_take_turns_are_merged_each_with_its_own() {
        let (a, b) = (publish(&topic("a"), 1), publish(&topic("b"), 1));
        let commands = [a.clone(), b.clone(), a.clone(), b, a];
        assert_eq!(places(&commands, 1000), [0, 1, 0, 1, 0]);
    }

    #[test]
    fn a_command_is_full_at_the_largest_body() {
        let a = publish(&topic("a"), 10);
        // The count takes four bytes, and each message four and its own.
        assert_eq!(places(&vec![a.clone(); 5], 4 + 2 * 14), [0, 0, 1, 1, 2]);
        assert_eq!(places(&vec![a; 3], 4 + 2 * 14 - 1), [0, 1, 2]);
    }

    #[test]
    fn a_command_is_full_at_so_many_messages() {
        let places = places(&vec![publish(&topic("a"), 1); MOST + 1], usize::MAX);
        assert_eq!(places.last(), Some(&1));
        assert!(places.iter().take(MOST).all(|place| *place == 0));
    }

    #[test]
    fn publishes_whose_deadlines_are_far_apart_stay_apart() {
        let (command, begun) = (publish(&topic("a"), 1), Instant::now());
        let mut merge = Merge::new(1000);
        assert_eq!(merge.place(&command, begun), 0);
        assert_eq!(merge.place(&command, begun + ALIKE), 0);
        assert_eq!(merge.place(&command, begun + ALIKE * 2), 1);
    }

    #[test]
    fn what_shall_be_alone_has_no_company_and_keeps_its_place() {
        let (command, now) = (publish(&topic("a"), 1), Instant::now());
        let mut merge = Merge::new(1000);
        assert_eq!(merge.place(&command, now), 0);
        assert_eq!(merge.place_alone(&command), 1);
        assert_eq!(merge.place_alone(&command), 2);
        assert_eq!(merge.place(&command, now), 3);
        assert_eq!(merge.place(&command, now), 3);
    }

    fn command() -> impl Strategy<Value = Command> {
        // More topics than can be open at once, and some are much more likely than others.
        let name = (0..20u32).prop_map(|number| topic(&format!("t{}", number * number / 20)));
        let size = prop_oneof![8 => 1..50usize, 1 => LARGEST - 1..LARGEST + 2];
        (name, size, 0..12u8).prop_map(|(topic, size, kind)| {
            let body = Bytes::from(vec![1; size]);
            match kind {
                0 => Command::Mpub {
                    topic,
                    bodies: vec![body.clone(), body],
                },
                1 => Command::Dpub {
                    topic,
                    delay: Duration::from_millis(1),
                    body,
                },
                _ => Command::Pub { topic, body },
            }
        })
    }

    proptest! {
        #[test]
        fn whatever_is_queued_is_merged_within_the_limits_and_in_order(
            commands in vec(command(), 1..200),
            max_body_size in LARGEST + 10..3 * LARGEST,
        ) {
            let places = places(&commands, max_body_size);
            let mut merged: BTreeMap<usize, Vec<&Command>> = BTreeMap::new();
            let mut last: BTreeMap<TopicName, usize> = BTreeMap::new();
            for (command, place) in commands.iter().zip(places) {
                merged.entry(place).or_default().push(command);
                let (Command::Pub { topic, .. } | Command::Mpub { topic, .. } | Command::Dpub { topic, .. }) =
                    command
                else {
                    unreachable!()
                };
                let before = last.insert(topic.clone(), place).unwrap_or(0);
                prop_assert!(before <= place, "publishes to {} change places", topic);
            }
            prop_assert!(merged.keys().copied().eq(0..merged.len()), "a place is left out");
            for commands in merged.values().filter(|commands| commands.len() > 1) {
                let mut topics = Vec::new();
                let mut size = SIZE_LENGTH;
                for command in commands {
                    let Command::Pub { topic, body } = command else {
                        panic!("{command:?} is merged")
                    };
                    topics.push(topic);
                    size += SIZE_LENGTH + body.len();
                    prop_assert!(body.len() + SIZE_LENGTH <= LARGEST);
                }
                topics.dedup();
                prop_assert_eq!(topics.len(), 1);
                prop_assert!(size <= max_body_size && commands.len() <= MOST);
            }
        }
    }
}
