//! `/config/...`: what can be changed while the broker runs.

use std::sync::Arc;

use axum::{
    extract::{Path, Request, State},
    http::Method,
};

use super::{
    answer::{Answer, Refusal, Reply},
    api::Api,
    body::{self, Room},
};

/// The one setting there is; nsqd also has `log_level`.
const NSQLOOKUPD_TCP_ADDRESSES: &str = "nsqlookupd_tcp_addresses";

/// `GET` and `PUT /config/nsqlookupd_tcp_addresses`: a JSON list of `host:port`.
pub(super) async fn config(
    State(api): State<Arc<Api>>,
    Path(option): Path<String>,
    request: Request,
) -> Reply {
    let addresses = api.registry.lookupd_addresses();
    let is_known = option == NSQLOOKUPD_TCP_ADDRESSES;
    if request.method() == Method::PUT {
        let (head, body) = request.into_parts();
        let limit = api.config.max_message_size;
        body::check_length(&head.headers, limit, "INVALID_VALUE")?;
        let value = body::read(body, limit, "INVALID_VALUE", &mut Room::new(&api.registry)).await?;
        if value.is_empty() {
            return Err(Refusal::too_large("INVALID_VALUE"));
        }
        if is_known {
            let list: Option<Vec<String>> =
                serde_json::from_slice(&value).map_err(|_| Refusal::bad_request("INVALID_VALUE"))?;
            addresses.set(list.unwrap_or_default());
        }
    }
    if !is_known {
        return Err(Refusal::bad_request("INVALID_OPTION"));
    }
    Answer::json(&addresses.get())
}
