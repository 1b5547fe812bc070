//! Names of topics and channels.

use almanet_nsq_proto::{ChannelName, TopicName};

/// Names: taken exactly where nsqd's rule takes them, `^[.a-zA-Z0-9_-]+(#ephemeral)?$` of at most 64 bytes.
pub fn name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let stem = text.strip_suffix("#ephemeral").unwrap_or(text);
    let is_valid = !stem.is_empty()
        && text.len() <= 64
        && stem
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    let (topic, channel) = (TopicName::new(text), ChannelName::new(text));
    assert_eq!(topic.is_ok(), is_valid, "{text:?}: {topic:?}");
    assert_eq!(channel.is_ok(), is_valid, "{text:?}: {channel:?}");
    if let Ok(topic) = topic {
        assert_eq!(topic.as_str(), text);
        assert_eq!(topic.is_ephemeral(), stem.len() < text.len());
    }
}

pub(crate) fn name_seeds() -> Vec<Vec<u8>> {
    vec![
        b"net.example.greet".to_vec(),
        b"a#ephemeral".to_vec(),
        vec![b'x'; 64],
        [&[b'x'; 54][..], b"#ephemeral"].concat(),
    ]
}
