//! Which path is whose.

use std::sync::Arc;

use axum::{
    Router,
    http::StatusCode,
    routing::{get, post},
};

use super::{
    answer::{Refusal, tls_required},
    api::Api,
    channels, info, publish, settings, statistics, topics,
};

/// All paths, with nsqd's answers to unknown ones and to the wrong methods; none where only TLS will do.
pub(super) fn routes(api: Arc<Api>, is_secure: bool) -> Router {
    if !is_secure && api.refuses_plain() {
        let port = api.https_addr.map_or(0, |address| address.port());
        return Router::new().fallback(async move || tls_required(port));
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
