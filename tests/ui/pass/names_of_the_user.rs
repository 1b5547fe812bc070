//! Names that generated code uses too are the user's to use.

use almanet::{Context, RpcError, procedure, service};

#[allow(unused)]
type Result<T> = std::result::Result<T, Odd>;

#[derive(Debug, PartialEq, thiserror::Error, RpcError)]
#[error("odd")]
struct Odd {
    error: String,
    codec: u8,
    fields: Vec<u8>,
    r#type: bool,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Payload {
    value: u8,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Service;

#[procedure(uri = "net.example.payload")]
async fn payload(context: Context, session: String, payload: Payload, state: Service) -> Result<Service> {
    let _ = (context, session, payload.value);
    Ok(state)
}

#[procedure(uri = "net.example.context")]
async fn context(session: Payload) -> std::result::Result<(), Odd> {
    let _ = session;
    Ok(())
}

#[procedure(uri = "net.example.Some")]
#[allow(non_snake_case)]
async fn r#match(r#type: String, mut count: usize) -> (String, usize) {
    count += 1;
    (r#type, count)
}

#[service(prepath = "net.example.names")]
trait Names {
    #[procedure]
    async fn state(&self, state: Payload, object: u8, field: Option<u8>) -> Result<Payload> {
        let _ = (object, field);
        Ok(state)
    }

    #[procedure]
    async fn session(&self, r#type: u8, #[serde(rename = "self")] this: u8) -> u8 {
        r#type + this
    }

    #[procedure]
    async fn service(&self, service: Service) -> Service {
        service
    }
}

struct State;

impl Names for State {}

#[service(prepath = "net.example.state")]
impl State {
    const LENGTH: usize = 2;

    #[procedure]
    async fn state(&self, state: u8, service: u8, session: [u8; Self::LENGTH]) -> u8 {
        state + service + session[0]
    }

    #[procedure]
    async fn context(&self, _: Context, session: u8) -> Box<u8> {
        Box::new(session)
    }
}

#[service(prepath = "net.example.inner")]
mod inner {
    #![doc = " Documented inside."]
    use super::{Context, Odd};

    #[cfg(not(unix))]
    #[procedure]
    pub async fn here() -> u8 {
        1
    }

    #[cfg(unix)]
    #[procedure]
    pub async fn here() -> u8 {
        2
    }

    #[cfg(any())]
    #[procedure]
    pub async fn nowhere() -> NoSuchType {}

    #[almanet::procedure(name = "service")]
    pub(super) async fn served(_: &Context) -> Result<(), Odd> {
        Ok(())
    }
}

fn in_a_function() -> almanet::Procedure {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Local(u8);

    #[procedure(uri = "net.example.local")]
    async fn local(a: Local, b: Local) -> Local {
        Local(a.0 + b.0)
    }

    local::procedure()
}

fn main() {
    let _ = almanet::Service::new().procedure(payload::procedure()).procedure(context::procedure());
    let _ = in_a_function();
    let _ = State.into_service();
    let _ = inner::service();
    assert_eq!(r#match::URI, "net.example.Some");
    assert_eq!(inner::served::URI, "net.example.inner.service");
}
