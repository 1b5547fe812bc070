//! `/channel/...`: what operators do to channels.

use std::sync::Arc;

use almanet_nsq_proto::ChannelName;
use axum::{extract::State, http::Uri};

use super::{
    answer::{Answer, Refusal, Reply},
    api::Api,
    query::Query,
};
use crate::{
    step::Step,
    topic::{NoSuchChannel, Topic, TopicError},
};

/// `POST /channel/create`
pub(super) async fn create(State(api): State<Arc<Api>>, uri: Uri) -> Reply {
    let (topic, channel) = Query::of(&uri)?.channel(&api.registry)?;
    match topic.create_channel(&channel) {
        Ok(()) => Ok(Answer::Empty),
        Err(TopicError::Gone) => Err(Refusal::not_found("TOPIC_NOT_FOUND")),
        Err(TopicError::Limit(reached)) => Err(Refusal::no_room(&reached)),
    }
}

/// `POST /channel/delete`
pub(super) async fn delete(State(api): State<Arc<Api>>, uri: Uri) -> Reply {
    work(&api, &uri, "deleted", |topic, channel| {
        if topic.delete_channel(channel)?.is_gone() {
            api.registry.forget(topic);
        }
        Ok(())
    })
}

/// `POST /channel/empty`
pub(super) async fn empty(State(api): State<Arc<Api>>, uri: Uri) -> Reply {
    work(&api, &uri, "emptied", |topic, channel| {
        topic.empty_channel(channel)
    })
}

/// `POST /channel/pause`
pub(super) async fn pause(State(api): State<Arc<Api>>, uri: Uri) -> Reply {
    work(&api, &uri, "paused", |topic, channel| {
        topic.pause_channel(channel)
    })
}

/// `POST /channel/unpause`
pub(super) async fn unpause(State(api): State<Arc<Api>>, uri: Uri) -> Reply {
    work(&api, &uri, "unpaused", |topic, channel| {
        let mut step = Step::begin();
        let unpaused = topic.unpause_channel(channel, &mut step);
        step.end();
        unpaused
    })
}

fn work(
    api: &Api,
    uri: &Uri,
    what: &str,
    work: impl FnOnce(&Arc<Topic>, &ChannelName) -> Result<(), NoSuchChannel>,
) -> Reply {
    let (topic, channel) = Query::of(uri)?.channel(&api.registry)?;
    work(&topic, &channel).map_err(|NoSuchChannel| Refusal::not_found("CHANNEL_NOT_FOUND"))?;
    tracing::info!(topic = %topic.name(), %channel, "channel {what}");
    Ok(Answer::Empty)
}
