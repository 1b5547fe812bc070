//! Schemas as the Python package `almanet` shares them: by procedures that tell what other procedures are.

use std::{convert::Infallible, future::ready};

use serde::Serialize;
use serde_json::Value;

use super::procedure::{NoPayload, Procedure};
use crate::{id::Id, uri::Uri};

/// What the package's sessions say their version is.
const SESSION_VERSION: f64 = 0.1;

/// People and tools ask now and then.
const MAX_IN_FLIGHT: usize = 16;

/// What a session serves.
#[derive(Serialize)]
struct ClientSchema {
    session_id: Id,
    session_version: f64,
    routes: Vec<String>,
}

/// What a procedure is.
#[derive(Serialize)]
struct ProcedureSchema {
    session_id: Id,
    session_version: f64,
    uri: String,
    channel: String,
    validate: bool,
    tags: Vec<String>,
    name: String,
    description: Option<String>,
    payload: Option<Value>,
    #[serde(rename = "return")]
    result: Option<Value>,
}

/// The procedures that tell what `procedures` are, without those that are hidden or have no valid name.
///
/// One says what the session serves, to each who asks all sessions; so it has a channel of its own, which the broker
/// removes with the session.
pub(super) fn of(session: Id, procedures: &[Procedure]) -> Vec<Procedure> {
    let shown: Vec<(&Uri, &Procedure)> = procedures
        .iter()
        .filter(|procedure| !procedure.options.hidden)
        .filter_map(|procedure| Some((procedure.uri.as_ref().ok()?, procedure)))
        .collect();
    let client = ClientSchema {
        session_id: session,
        session_version: SESSION_VERSION,
        routes: shown
            .iter()
            .map(|(uri, procedure)| format!("{uri}:{}", procedure.options.channel))
            .collect(),
    };
    let client =
        telling("_schema_.client".to_owned(), &client).channel(format!("{}#ephemeral", Id::random()));
    let mut telling: Vec<_> = shown
        .into_iter()
        .filter_map(|(uri, procedure)| of_procedure(session, uri, procedure))
        .collect();
    telling.push(client);
    telling
}

/// The procedure that tells what this one is; none when there is no room for its name.
fn of_procedure(session: Id, uri: &Uri, procedure: &Procedure) -> Option<Procedure> {
    let options = &procedure.options;
    let name = format!("_schema_.{uri}.{}", options.channel);
    if let Err(error) = Uri::new(&name) {
        tracing::warn!(procedure = %uri, %error, "the schema has no topic");
        return None;
    }
    let schemas = procedure.make_schemas();
    let schema = ProcedureSchema {
        session_id: session,
        session_version: SESSION_VERSION,
        uri: uri.to_string(),
        channel: options.channel.clone(),
        validate: true,
        tags: match options.tags.as_slice() {
            [] => vec!["default".to_owned()],
            tags => tags.to_vec(),
        },
        name: uri.as_str().rsplit('.').next().unwrap_or_default().to_owned(),
        description: (!options.description.is_empty()).then(|| options.description.clone()),
        payload: schemas.payload,
        result: schemas.result,
    };
    Some(telling(name, &schema).channel(&options.channel))
}

fn telling(name: String, schema: &impl Serialize) -> Procedure {
    // Names, numbers and values that are JSON already: there is nothing that could not be written.
    let schema = serde_json::to_value(schema).unwrap_or_default();
    let procedure = Procedure::new(name, move |_, _: NoPayload| {
        ready(Ok::<_, Infallible>(schema.clone()))
    });
    // It is the other's description, and not to be described itself.
    procedure.hidden().concurrency(MAX_IN_FLIGHT)
}
