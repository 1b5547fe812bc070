//! The echo through the framework.

use almanet::{ServiceHandle, Session};
use almanet_benches::{
    Failure,
    echo::{self, Carrier, WindowOption},
};
use serde_bytes::ByteBuf;

/// A caller and an echo service, each with a session.
pub struct FrameworkEcho {
    calling: Session,
    serving: Session,
    service: ServiceHandle,
    uri: String,
    body: ByteBuf,
}

impl FrameworkEcho {
    pub async fn start(address: &str, body: usize) -> Result<Self, Failure> {
        let calling = Carrier::Native.connect(address, WindowOption::default()).await?;
        let serving = Carrier::Native.connect(address, WindowOption::default()).await?;
        let uri = format!("bench.echo_{}", calling.id());
        Ok(Self {
            service: echo::serve(&serving, &uri).await?,
            calling,
            serving,
            uri,
            body: ByteBuf::from(vec![b'x'; body]),
        })
    }

    /// What a caller does again and again.
    pub async fn call(&self) -> Result<(), Failure> {
        echo::call(&self.calling, &self.uri, &self.body).await
    }

    pub async fn end(self) -> Result<(), Failure> {
        self.service.stop().await;
        self.serving.leave().await?;
        Ok(self.calling.leave().await?)
    }
}
