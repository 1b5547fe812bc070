//! A topic's life, with a clock that the test moves.

use super::*;
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
