//! `/topic/...`: what operators do to topics.

use std::sync::Arc;

use almanet_nsq_proto::TopicName;
use axum::{extract::State, http::Uri};

use super::{
    answer::{Answer, Refusal, Reply},
    api::Api,
    query::{self, Query},
};
use crate::{step::Step, topic::Topic};

/// `POST /topic/create`
pub(super) async fn create(State(api): State<Arc<Api>>, uri: Uri) -> Reply {
    let name = Query::of(&uri)?.topic_name()?;
    api.registry
        .topic(&name)
        .map_err(|reached| Refusal::no_room(&reached))?;
    Ok(Answer::Empty)
}

/// `POST /topic/delete`
pub(super) async fn delete(State(api): State<Arc<Api>>, uri: Uri) -> Reply {
    let query = Query::of(&uri)?;
    let topic = query.topic_text()?;
    if !TopicName::new(topic).is_ok_and(|name| api.registry.delete(&name)) {
        return Err(Refusal::not_found("TOPIC_NOT_FOUND"));
    }
    tracing::info!(topic, "topic deleted");
    Ok(Answer::Empty)
}

/// `POST /topic/empty`
pub(super) async fn empty(State(api): State<Arc<Api>>, uri: Uri) -> Reply {
    let name = Query::of(&uri)?.topic_name()?;
    let topic = query::existing(&api.registry, &name)?;
    topic.empty();
    tracing::info!(topic = %topic.name(), "topic emptied");
    Ok(Answer::Empty)
}

/// `POST /topic/pause`
pub(super) async fn pause(State(api): State<Arc<Api>>, uri: Uri) -> Reply {
    let topic = pausable(&api, &uri)?;
    topic.pause();
    tracing::info!(topic = %topic.name(), "topic paused");
    Ok(Answer::Empty)
}

/// `POST /topic/unpause`
pub(super) async fn unpause(State(api): State<Arc<Api>>, uri: Uri) -> Reply {
    let topic = pausable(&api, &uri)?;
    let mut step = Step::begin();
    topic.unpause(&mut step);
    step.end();
    tracing::info!(topic = %topic.name(), "topic unpaused");
    Ok(Answer::Empty)
}

fn pausable(api: &Api, uri: &Uri) -> Result<Arc<Topic>, Refusal> {
    let query = Query::of(uri)?;
    let name = TopicName::new(query.topic_text()?).map_err(|_| Refusal::not_found("TOPIC_NOT_FOUND"))?;
    query::existing(&api.registry, &name)
}
