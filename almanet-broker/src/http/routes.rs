//! Which path is whose.

use std::sync::Arc;

use axum::{
    Router,
    http::StatusCode,
    routing::{get, post},
};

use super::{answer::Refusal, api::Api, channels, info, publish, settings, statistics, topics};

/// All paths, with nsqd's answers to unknown ones and to the wrong methods; none where only TLS will do.
pub(super) fn routes(api: Arc<Api>) -> Router {
    if api.refuses_plain() {
        return Router::new().fallback(async || Refusal::tls_required());
    }
    Router::new()
        .route("/ping", get(info::ping))
        .route("/info", get(info::info))
        .route("/stats", get(statistics::stats))
        .route("/metrics", get(statistics::metrics))
        .route("/pub", post(publish::publish))
        .route("/mpub", post(publish::publish_many))
        .route("/topic/create", post(topics::create))
        .route("/topic/delete", post(topics::delete))
        .route("/topic/empty", post(topics::empty))
        .route("/topic/pause", post(topics::pause))
        .route("/topic/unpause", post(topics::unpause))
        .route("/channel/create", post(channels::create))
        .route("/channel/delete", post(channels::delete))
        .route("/channel/empty", post(channels::empty))
        .route("/channel/pause", post(channels::pause))
        .route("/channel/unpause", post(channels::unpause))
        .route("/config/{option}", get(settings::config).put(settings::config))
        .fallback(async || Refusal::not_found("NOT_FOUND"))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED")
        })
        .with_state(api)
}
