//! A topic's life, with a clock that the test moves.

use super::{control::NoSuchChannel, *};
use crate::{BrokerConfig, registry::Registry};

/// A step that takes place `later`.
fn step(later: Duration) -> Step {
    let mut step = Step::begin();
    step.now += later;
    step
}

fn publish(registry: &Registry, topic: &str, count: usize, step: &mut Step) {
    let topic = registry.topic(&TopicName::new(topic).unwrap()).unwrap();
    let body = [Bytes::from_static(b"late reply")];
    for _ in 0..count {
        topic.publish(&body, None, step).unwrap();
    }
}

#[test]
fn an_ephemeral_topic_without_a_channel_is_removed_a_minute_after_its_last_message() {
    let registry = Registry::new(&BrokerConfig::default());
    let name = TopicName::new("reply#ephemeral").unwrap();
    publish(&registry, name.as_str(), 1, &mut step(Duration::ZERO));
    publish(&registry, name.as_str(), 1, &mut step(Duration::from_secs(30)));
    let topic = registry.topic(&name).unwrap();
    let used = registry.memory().used();

    assert_eq!(topic.ring(&mut step(Duration::from_secs(89))), Fate::Stays);
    assert_eq!(registry.memory().used(), used);
    assert_eq!(topic.ring(&mut step(Duration::from_secs(91))), Fate::Gone);
    registry.forget(&topic);
    drop(topic);
    assert_eq!(registry.memory().used(), 0);
}

#[test]
fn an_ephemeral_topic_without_a_channel_keeps_ten_thousand_messages() {
    let registry = Registry::new(&BrokerConfig::default());
    let mut step = step(Duration::ZERO);
    publish(&registry, "reply#ephemeral", 10_000, &mut step);
    let used = registry.memory().used();
    publish(&registry, "reply#ephemeral", 5, &mut step);
    assert_eq!(registry.memory().used(), used);
}

#[test]
fn a_topic_that_is_not_ephemeral_stays_without_a_channel() {
    let registry = Registry::new(&BrokerConfig::default());
    publish(&registry, "orders", 1, &mut step(Duration::ZERO));
    let topic = registry.topic(&TopicName::new("orders").unwrap()).unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(topic.ring(&mut step(day)), Fate::Stays);
}

#[test]
fn a_topic_that_is_gone_takes_nothing_and_its_name_is_free() {
    let registry = Registry::new(&BrokerConfig::default());
    let name = TopicName::new("reply#ephemeral").unwrap();
    publish(&registry, name.as_str(), 1, &mut step(Duration::ZERO));
    let gone = registry.topic(&name).unwrap();
    assert!(gone.ring(&mut step(Duration::from_secs(100))).is_gone());
    let body = [Bytes::from_static(b"x")];
    let result = gone.publish(&body, None, &mut step(Duration::ZERO));
    assert!(matches!(result, Err(TopicError::Gone)));

    registry.forget(&gone);
    let new = registry.topic(&name).unwrap();
    assert!(!Arc::ptr_eq(&gone, &new));
    registry.forget(&gone);
    assert!(Arc::ptr_eq(&registry.topic(&name).unwrap(), &new));
}

#[test]
fn a_small_body_does_not_hold_the_buffer_that_it_came_in() {
    let read_buffer = Bytes::from(vec![b'x'; 64 * 1024]);
    let small = detached(&read_buffer.slice(..100));
    assert_ne!(small.as_ptr(), read_buffer.as_ptr());
    let large = detached(&read_buffer.slice(..60_000));
    assert_eq!(large.as_ptr(), read_buffer.as_ptr());
}

fn topic_with_channels(registry: &Registry, topic: &str, channels: &[&str]) -> Arc<Topic> {
    let topic = registry.topic(&TopicName::new(topic).unwrap()).unwrap();
    for channel in channels {
        topic.create_channel(&ChannelName::new(channel).unwrap()).unwrap();
    }
    topic
}

/// How many messages wait in the topic, and in each channel with those that are deferred.
fn depths(topic: &Topic) -> (usize, Vec<usize>) {
    let report = topic.report().unwrap();
    let channels = report.channels.iter();
    let channels = channels.map(|named| named.channel.depth + named.channel.deferred);
    (report.depth, channels.collect())
}

#[test]
fn a_paused_topic_keeps_its_messages_from_the_channels_until_it_is_unpaused() {
    let registry = Registry::new(&BrokerConfig::default());
    let mut step = step(Duration::ZERO);
    let topic = topic_with_channels(&registry, "orders", &["a", "b"]);
    publish(&registry, "orders", 1, &mut step);
    topic.pause();
    publish(&registry, "orders", 2, &mut step);
    let body = [Bytes::from_static(b"later")];
    topic
        .publish(&body, Some(Duration::from_secs(60)), &mut step)
        .unwrap();
    topic.create_channel(&ChannelName::new("c").unwrap()).unwrap();
    assert_eq!(depths(&topic), (3, vec![1, 1, 0]));

    topic.unpause(&mut step);
    assert_eq!(depths(&topic), (0, vec![4, 4, 3]));
    let report = topic.report().unwrap();
    assert_eq!((report.messages, report.is_paused), (4, false));
    assert_eq!(report.channels[0].channel.deferred, 1);
    let counts: Vec<_> = report
        .channels
        .iter()
        .map(|named| named.channel.counts.messages)
        .collect();
    assert_eq!(counts, [4, 4, 3]);
}

#[test]
fn the_first_channel_of_a_paused_topic_gets_the_messages_when_it_is_unpaused() {
    let registry = Registry::new(&BrokerConfig::default());
    let mut step = step(Duration::ZERO);
    publish(&registry, "orders", 2, &mut step);
    let topic = topic_with_channels(&registry, "orders", &[]);
    topic.pause();
    topic_with_channels(&registry, "orders", &["a"]);
    assert_eq!(depths(&topic), (2, vec![0]));
    topic.unpause(&mut step);
    assert_eq!(depths(&topic), (0, vec![2]));
}

#[test]
fn a_paused_topic_takes_no_more_than_its_channels_have_room_for() {
    let registry = Registry::new(&BrokerConfig::default().max_channel_depth(3));
    let mut step = step(Duration::ZERO);
    let topic = topic_with_channels(&registry, "orders", &["a"]);
    publish(&registry, "orders", 2, &mut step);
    topic.pause();
    publish(&registry, "orders", 1, &mut step);
    let body = [Bytes::from_static(b"x")];
    let refused = topic.publish(&body, None, &mut step);
    assert!(
        matches!(refused, Err(TopicError::Limit(LimitReached::ChannelDepth { .. }))),
        "{refused:?}"
    );
}

#[test]
fn emptying_a_topic_leaves_its_channels_alone() {
    let registry = Registry::new(&BrokerConfig::default());
    let mut step = step(Duration::ZERO);
    let topic = topic_with_channels(&registry, "orders", &["a"]);
    publish(&registry, "orders", 1, &mut step);
    topic.pause();
    publish(&registry, "orders", 2, &mut step);
    topic.empty();
    topic.unpause(&mut step);
    assert_eq!(depths(&topic), (0, vec![1]));
}

#[test]
fn deleting_frees_all_memory_and_keeps_the_totals() {
    let registry = Registry::new(&BrokerConfig::default());
    let mut step = step(Duration::ZERO);
    let topic = topic_with_channels(&registry, "orders", &["a", "b"]);
    publish(&registry, "orders", 3, &mut step);
    topic
        .delete_channel(&ChannelName::new("a").unwrap())
        .map(Fate::is_gone)
        .unwrap();
    assert_eq!(depths(&topic), (0, vec![3]));
    assert_eq!(
        topic.delete_channel(&ChannelName::new("a").unwrap()),
        Err(NoSuchChannel)
    );
    let deleted = registry.delete(topic.name());
    assert!(deleted);
    assert!(topic.report().is_none());
    drop(topic);
    assert_eq!(registry.memory().used(), 0);
    let totals = registry.departed();
    assert_eq!((totals.messages, totals.bytes), (3, 30));
    assert_eq!(totals.channels.messages, 6);
}

#[test]
fn an_ephemeral_topic_goes_with_its_last_channel() {
    let registry = Registry::new(&BrokerConfig::default());
    let topic = topic_with_channels(&registry, "reply#ephemeral", &["a", "b"]);
    let fates = ["a", "b"].map(|channel| topic.delete_channel(&ChannelName::new(channel).unwrap()));
    assert_eq!(fates, [Ok(Fate::Stays), Ok(Fate::Gone)]);
}
