//! `/pub` and `/mpub`.

use std::{sync::Arc, time::Duration};

use almanet_nsq_proto::TopicName;
use axum::extract::{Request, State};
use bytes::{Buf, Bytes};

use super::{
    answer::{Answer, Refusal, Reply},
    api::Api,
    body::{self, Room},
    query::Query,
};
use crate::{step::Step, topic::TopicError};

/// `POST /pub`: the body is one message, with `defer` milliseconds of delay.
pub(super) async fn publish(State(api): State<Arc<Api>>, request: Request) -> Reply {
    let (head, body) = request.into_parts();
    let limit = api.config.max_message_size;
    body::check_length(&head.headers, limit, "MSG_TOO_BIG")?;
    let mut room = Room::new(&api.registry);
    let message = body::read(body, limit, "MSG_TOO_BIG", &mut room).await?;
    if message.is_empty() {
        return Err(Refusal::bad_request("MSG_EMPTY"));
    }
    let query = Query::of(&head.uri)?;
    let topic = query.topic_name()?;
    let delay = delay(&query, api.config.max_requeue_timeout)?;
    distribute(&api, &topic, &[message], delay)
}

/// `POST /mpub`: the body is a message per line, or as in the command MPUB when `binary`.
pub(super) async fn publish_many(State(api): State<Arc<Api>>, request: Request) -> Reply {
    let (head, body) = request.into_parts();
    let (limit, most) = (api.config.max_body_size, api.config.max_message_size);
    body::check_length(&head.headers, limit, "BODY_TOO_BIG")?;
    let query = Query::of(&head.uri)?;
    let topic = query.topic_name()?;
    // nsqd takes any unknown word as true.
    let is_binary = query.get("binary").is_some() && query.switch("binary").unwrap_or(true);
    let mut room = Room::new(&api.registry);
    let body = body::read(body, limit, "BODY_TOO_BIG", &mut room).await?;
    let messages = if is_binary {
        sized_messages(body, limit, most)?
    } else {
        lines(&body, most)?
    };
    distribute(&api, &topic, &messages, None)
}

fn delay(query: &Query, longest: Duration) -> Result<Option<Duration>, Refusal> {
    let Some(text) = query.get("defer") else {
        return Ok(None);
    };
    let millis: Option<i64> = text.parse().ok();
    millis
        .and_then(|millis| u64::try_from(millis).ok())
        .map(Duration::from_millis)
        .filter(|delay| *delay <= longest)
        .map(Some)
        .ok_or(Refusal::bad_request("INVALID_DEFER"))
}

/// The lines of a body; empty ones are left out, as in nsqd.
fn lines(body: &Bytes, most: usize) -> Result<Vec<Bytes>, Refusal> {
    body.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            if line.len() > most {
                return Err(Refusal::too_large("MSG_TOO_BIG"));
            }
            Ok(body.slice_ref(line))
        })
        .collect()
}

/// The messages of a body in MPUB's form: their number, then each behind its size. What comes after them is left
/// unread, as in nsqd.
fn sized_messages(mut body: Bytes, limit: usize, most: usize) -> Result<Vec<Bytes>, Refusal> {
    let bad_body = || Refusal::too_large("BAD_BODY");
    let bad_message = || Refusal::too_large("BAD_MESSAGE");
    // The count itself takes four bytes, and each message at least five.
    let most_messages = limit.saturating_sub(4) / 5;
    let count = take_size(&mut body)
        .filter(|count| *count <= most_messages)
        .ok_or_else(bad_body)?;
    let mut messages = Vec::with_capacity(count.min(body.len() / 5 + 1));
    for _ in 0..count {
        let size = take_size(&mut body)
            .filter(|size| *size <= most && *size <= body.len())
            .ok_or_else(bad_message)?;
        messages.push(body.split_to(size));
    }
    Ok(messages)
}

/// A number of four bytes that is positive.
fn take_size(body: &mut Bytes) -> Option<usize> {
    let size = body.try_get_i32().ok()?;
    usize::try_from(size).ok().filter(|size| *size > 0)
}

fn distribute(api: &Api, name: &TopicName, messages: &[Bytes], delay: Option<Duration>) -> Reply {
    let mut step = Step::begin();
    let published = loop {
        let topic = match api.registry.topic(name) {
            Ok(topic) => topic,
            Err(reached) => break Err(reached),
        };
        match topic.publish(messages, delay, &mut step) {
            Ok(()) => break Ok(()),
            Err(TopicError::Gone) => api.registry.forget(&topic),
            Err(TopicError::Limit(reached)) => break Err(reached),
        }
    };
    if let Err(reached) = &published {
        api.registry.limit_log().report(reached, step.now);
    }
    step.end();
    published
        .map(|()| Answer::OK)
        .map_err(|reached| Refusal::no_room(&reached))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(parts: &[&[u8]]) -> Bytes {
        parts.concat().into()
    }

    fn refusal(body: Bytes) -> Refusal {
        sized_messages(body, 100, 10).unwrap_err()
    }

    #[test]
    fn binary_bodies_are_read_as_the_command_mpub() {
        let body = sized(&[
            &2_i32.to_be_bytes(),
            &1_i32.to_be_bytes(),
            b"a",
            &2_i32.to_be_bytes(),
            b"\nb",
            b"what follows",
        ]);
        assert_eq!(sized_messages(body, 100, 10).unwrap(), ["a", "\nb"]);
    }

    #[test]
    fn a_binary_body_that_lies_is_refused() {
        let bad_body = Refusal::too_large("BAD_BODY");
        for count in [0, -1, 20, i32::MAX, i32::MIN] {
            assert_eq!(
                refusal(sized(&[&count.to_be_bytes()])),
                bad_body,
                "{count} messages"
            );
        }
        assert_eq!(refusal(sized(&[b"abc"])), bad_body);
        let bad_message = Refusal::too_large("BAD_MESSAGE");
        for size in [0, -1, 2, 11, i32::MAX] {
            let body = sized(&[&1_i32.to_be_bytes(), &i32::to_be_bytes(size), b"a"]);
            assert_eq!(refusal(body), bad_message, "{size} bytes");
        }
        assert_eq!(refusal(sized(&[&1_i32.to_be_bytes(), b"abc"])), bad_message);
    }

    #[test]
    fn lines_are_messages_and_empty_ones_are_none() {
        let body = Bytes::from_static(b"\na\n\nb c\nd");
        assert_eq!(lines(&body, 3).unwrap(), ["a", "b c", "d"]);
        assert_eq!(lines(&body, 2).unwrap_err(), Refusal::too_large("MSG_TOO_BIG"));
    }
}
