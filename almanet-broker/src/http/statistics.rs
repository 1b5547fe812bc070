//! `/stats` and `/metrics`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};

use super::{
    answer::{Answer, Refusal, Reply},
    api::Api,
    query::Query,
};
use crate::stats::{NodeStats, Selection};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /stats`: as text, or with `format=json` as nsqadmin and nsq_stat read it.
pub(super) async fn stats(State(api): State<Arc<Api>>, uri: Uri) -> Reply {
    let query = Query::of(&uri)?;
    let stats = NodeStats::gather(
        &api.registry,
        api.start_time,
        &Selection {
            topic: query.get("topic").filter(|name| !name.is_empty()),
            channel: query.get("channel").filter(|name| !name.is_empty()),
            clients: query.switch("include_clients").unwrap_or(true),
            memory: query.switch("include_mem").unwrap_or(true),
        },
    );
    if query.get("format") == Some("json") {
        Answer::json(&stats)
    } else {
        Ok(Answer::Text(
            stats.to_text(api.start_time, api.started.elapsed()).into(),
        ))
    }
}

/// `GET /metrics`: in Prometheus' (OpenMetrics) text format.
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &api.metrics) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR").into_response(),
    }
}
