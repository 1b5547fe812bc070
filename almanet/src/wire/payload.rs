//! A value as it travels, not yet read.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::codec::{Codec, DecodeError, EncodeError};

/// A value in the bytes of a [`Codec`]. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    codec: Codec,
    bytes: Bytes,
}

impl Payload {
    /// Writes `value`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] when the value cannot be written in that codec.
    pub fn encode<T: Serialize + ?Sized>(codec: Codec, value: &T) -> Result<Self, EncodeError> {
        Ok(Self {
            codec,
            bytes: codec.encode(value)?,
        })
    }

    /// The payload that these bytes are.
    pub fn from_bytes(codec: Codec, bytes: Bytes) -> Self {
        Self { codec, bytes }
    }

    /// Reads the value.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] names the field that does not fit and the reason.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        self.codec.decode(&self.bytes)
    }

    /// How the value is written.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The bytes of the value.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Shows the size only: a payload is the user's own.
impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({:?}, {} bytes)", self.codec, self.bytes.len())
    }
}
