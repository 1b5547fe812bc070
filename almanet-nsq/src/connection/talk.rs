//! Question and answer, one at a time, before the driver takes over.

use std::io;

use almanet_nsq_proto::{Command, Frame, FrameDecoder, HEARTBEAT, OK};
use bytes::{Bytes, BytesMut};

use super::{lost::Lost, stream::Stream};
use crate::error::ConnectError;

/// A connection that is being made.
pub(super) struct Talk<'a> {
    pub(super) address: &'a str,
    pub(super) stream: Stream,
    pub(super) decoder: FrameDecoder,
    /// What was read and not decoded yet.
    pub(super) received: BytesMut,
}

impl Talk<'_> {
    pub(super) async fn say(&mut self, command: &Command) -> Result<(), ConnectError> {
        let mut bytes = BytesMut::new();
        command.encode(&mut bytes);
        self.write(bytes).await
    }

    pub(super) async fn write(&mut self, bytes: BytesMut) -> Result<(), ConnectError> {
        let written = self.stream.sink.write_all(bytes).await;
        written.map_err(|error| self.failed(error))
    }

    /// The next answer, which has to be OK, to `question`.
    pub(super) async fn hear_ok(&mut self, question: &str) -> Result<(), ConnectError> {
        if self.hear().await? == OK {
            return Ok(());
        }
        Err(self.not_nsq(format!("its answer to {question} is not OK")))
    }

    /// The next answer that is no heartbeat.
    pub(super) async fn hear(&mut self) -> Result<Bytes, ConnectError> {
        loop {
            match self.read().await? {
                Frame::Response(answer) if answer == HEARTBEAT => self.say(&Command::Nop).await?,
                Frame::Response(answer) => return Ok(answer),
                Frame::Error(cause) => {
                    return Err(ConnectError::Refused {
                        address: self.address.to_owned(),
                        cause,
                    });
                }
                Frame::Message(_) => {
                    return Err(self.not_nsq("it sends a message that nothing had asked for".to_owned()));
                }
            }
        }
    }

    async fn read(&mut self) -> Result<Frame, ConnectError> {
        loop {
            match self.decoder.decode(&mut self.received) {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => {}
                Err(error) => return Err(self.not_nsq(error.to_string())),
            }
            match self.stream.source.read_buf(&mut self.received).await {
                Ok(0) => return Err(self.lost(&Lost::Ended)),
                Ok(_) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    pub(super) fn not_nsq(&self, cause: String) -> ConnectError {
        ConnectError::NotNsq {
            address: self.address.to_owned(),
            cause,
        }
    }

    fn failed(&self, error: io::Error) -> ConnectError {
        // With TLS 1.3 a client learns only now that the broker refuses its certificate.
        #[cfg(feature = "tls")]
        if let Some(cause) = crate::tls::failure(&error) {
            return ConnectError::Tls {
                address: self.address.to_owned(),
                cause,
            };
        }
        self.lost(&Lost::Failed(error))
    }

    fn lost(&self, lost: &Lost) -> ConnectError {
        ConnectError::Lost {
            address: self.address.to_owned(),
            cause: lost.to_string(),
        }
    }
}
