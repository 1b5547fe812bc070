//! What follows IDENTIFY where it was asked for: TLS, then compression, then AUTH.
//!
//! Source of the order: nsqd's `protocol_v2.go`. Each upgrade is confirmed by an `OK` in its new form.

use almanet_nsq_proto::{Command, IdentifyResponse, Secret};

use super::{repeated::without_secret, talk::Talk};
use crate::{
    compression::Compression,
    config::ConnectionConfig,
    error::{ConnectError, Feature},
};

/// Makes of a plain connection what `config` asks for, or fails where `granted` is less.
pub(super) async fn upgrade<'a>(
    talk: Talk<'a>,
    config: &ConnectionConfig,
    granted: &IdentifyResponse,
) -> Result<Talk<'a>, ConnectError> {
    if let Some(feature) = missing(config, granted) {
        return Err(ConnectError::NotGranted {
            address: talk.address.to_owned(),
            feature,
        });
    }
    if granted.auth_required && config.auth_secret.is_none() {
        return Err(ConnectError::AuthRequired {
            address: talk.address.to_owned(),
        });
    }

    #[cfg(feature = "tls")]
    let talk = match &config.tls {
        Some(tls) => talk.secure(tls).await?,
        None => talk,
    };
    let mut talk = talk;
    match config.compression {
        Some(Compression::Snappy) => talk.compress(Compression::Snappy).await?,
        Some(Compression::Deflate(level)) => {
            let level = level.at_most(granted.deflate_level);
            talk.compress(Compression::Deflate(level)).await?;
        }
        None => {}
    }
    // A broker that asks for no secret refuses AUTH, and has no business with the secret.
    if let (true, Some(secret)) = (granted.auth_required, &config.auth_secret) {
        talk.authenticate(secret).await?;
    }
    Ok(talk)
}

/// What was asked for and not granted.
fn missing(config: &ConnectionConfig, granted: &IdentifyResponse) -> Option<Feature> {
    if config.wants_tls() && !granted.tls_v1 {
        return Some(Feature::Tls);
    }
    match config.compression? {
        Compression::Snappy => (!granted.snappy).then_some(Feature::Snappy),
        Compression::Deflate(_) => (!granted.deflate).then_some(Feature::Deflate),
    }
}

impl Talk<'_> {
    #[cfg(feature = "tls")]
    async fn secure(mut self, tls: &crate::tls::Tls) -> Result<Self, ConnectError> {
        let failed = |cause| ConnectError::Tls {
            address: self.address.to_owned(),
            cause,
        };
        // Whoever can write into the plain connection could otherwise have its words taken for the broker's.
        if !self.received.is_empty() {
            return Err(failed(
                "the peer went on in plain after it had agreed to TLS".to_owned(),
            ));
        }
        let socket = self
            .stream
            .into_socket()
            .map_err(|error| failed(error.to_string()))?;
        let secured = tls.connect(self.address, socket).await.map_err(failed)?;
        self.stream = super::stream::Stream::secured(secured);
        self.hear_ok("the change to TLS").await?;
        Ok(self)
    }

    async fn compress(&mut self, compression: Compression) -> Result<(), ConnectError> {
        // The first compressed bytes may have come together with the last plain ones.
        let received = self.received.split();
        self.stream.compress(compression, received);
        self.hear_ok("the change to compression").await
    }

    async fn authenticate(&mut self, secret: &Secret) -> Result<(), ConnectError> {
        self.say(&Command::Auth(secret.clone())).await?;
        match self.hear().await {
            // What the secret allows, which the broker checks itself with each command.
            Ok(_permissions) => Ok(()),
            Err(ConnectError::Refused { address, cause }) => Err(ConnectError::AuthRefused {
                address,
                cause: without_secret(cause, Some(secret)),
            }),
            Err(error) => Err(error),
        }
    }
}
