//! The elements of a MessagePack envelope, one after the other.
//!
//! Every call has two envelopes, so they are read and written by the primitives of `rmp`, without the detour over serde's data
//! model that `rmp-serde` makes for the values in the payloads.

use bytes::Bytes;
use rmp::{Marker, decode, encode};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    codec::{DecodeError, EncodeError},
    envelope::{EnvelopeError, VERSION},
    headers::Headers,
    scratch,
};
use crate::id::Id;

/// What is left of an envelope that is being read.
pub(super) struct Elements<'a> {
    rest: &'a [u8],
    /// How many elements come.
    left: u64,
}

impl<'a> Elements<'a> {
    /// The elements behind the version, which begins every envelope.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, EnvelopeError> {
        let mut elements = Self::without_version(body)?;
        elements.version()?;
        Ok(elements)
    }

    /// The elements of an array.
    pub(super) fn without_version(body: &'a [u8]) -> Result<Self, EnvelopeError> {
        let mut rest = body;
        let left = decode::read_array_len(&mut rest).map_err(|_| malformed("", "it is no array"))?;
        Ok(Self {
            rest,
            left: left.into(),
        })
    }

    /// The version, which has to be the one that this library reads.
    pub(super) fn version(&mut self) -> Result<(), EnvelopeError> {
        match self.number("version")? {
            VERSION => Ok(()),
            version => Err(EnvelopeError::Version { version }),
        }
    }

    pub(super) fn bytes(&mut self, name: &'static str) -> Result<&'a [u8], EnvelopeError> {
        let length = match self.marker(name)? {
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => decode::read_bin_len(&mut self.rest),
            _ => decode::read_str_len(&mut self.rest),
        };
        let length = length.map_err(|_| malformed(name, "it has no bytes"))?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (bytes, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| malformed(name, "it is cut off"))?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(super) fn text(&mut self, name: &'static str) -> Result<&'a str, EnvelopeError> {
        std::str::from_utf8(self.bytes(name)?).map_err(|_| malformed(name, "it is no UTF-8"))
    }

    pub(super) fn optional_text(&mut self, name: &'static str) -> Result<Option<&'a str>, EnvelopeError> {
        self.unless_nil(name, Self::text)
    }

    pub(super) fn id(&mut self, name: &'static str) -> Result<Id, EnvelopeError> {
        let bytes = self.bytes(name)?;
        if let Ok(bytes) = bytes.try_into() {
            return Ok(Id::from_bytes(bytes));
        }
        let text = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
        text.ok_or_else(|| malformed(name, "an id has 16 bytes or 32 hexadecimal digits"))
    }

    /// An id, where there is one: the element may be absent.
    pub(super) fn optional_id(&mut self, name: &'static str) -> Result<Option<Id>, EnvelopeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.unless_nil(name, Self::id)
    }

    pub(super) fn number<T: TryFrom<u64>>(&mut self, name: &'static str) -> Result<T, EnvelopeError> {
        self.marker(name)?;
        let number: u64 = decode::read_int(&mut self.rest)
            .map_err(|_| malformed(name, "it is no whole number from 0 on"))?;
        T::try_from(number).map_err(|_| malformed(name, "the number is too large"))
    }

    pub(super) fn optional_number(&mut self, name: &'static str) -> Result<Option<u64>, EnvelopeError> {
        self.unless_nil(name, Self::number)
    }

    pub(super) fn headers(&mut self, name: &'static str) -> Result<Headers, EnvelopeError> {
        self.marker(name)?;
        let count = decode::read_map_len(&mut self.rest).map_err(|_| malformed(name, "it is no map"))?;
        let mut headers = Headers::new();
        self.left += 2 * u64::from(count);
        for _ in 0..count {
            headers.insert(self.text(name)?, self.text(name)?);
        }
        Ok(headers)
    }

    /// An array: how many elements it has, which are the next ones; `None` for nil.
    pub(super) fn array(&mut self, name: &'static str) -> Result<Option<u64>, EnvelopeError> {
        self.unless_nil(name, |elements, name| {
            elements.marker(name)?;
            let count = decode::read_array_len(&mut elements.rest)
                .map_err(|_| malformed(name, "it is no array"))?
                .into();
            elements.left += count;
            Ok(count)
        })
    }

    /// Passes over elements that a later version of the protocol has added.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), EnvelopeError> {
        self.left = self.left.saturating_sub(count);
        let mut skipped = rmp_serde::Deserializer::new(&mut self.rest);
        for _ in 0..count {
            IgnoredAny::deserialize(&mut skipped)?;
        }
        Ok(())
    }

    /// Passes over the rest of the envelope.
    pub(super) fn end(mut self) -> Result<(), EnvelopeError> {
        match self.left {
            0 => Ok(()),
            left => self.skip(left),
        }
    }

    fn unless_nil<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Result<T, EnvelopeError>,
    ) -> Result<Option<T>, EnvelopeError> {
        match self.rest.split_first() {
            Some((first, rest)) if self.left > 0 && Marker::from_u8(*first) == Marker::Null => {
                self.left -= 1;
                self.rest = rest;
                Ok(None)
            }
            _ => read(self, name).map(Some),
        }
    }

    /// How the next element begins, which must be there.
    fn marker(&mut self, name: &'static str) -> Result<Marker, EnvelopeError> {
        let first = self.rest.first().filter(|_| self.left > 0);
        let first = first.ok_or_else(|| malformed(name, "it is missing"))?;
        self.left -= 1;
        Ok(Marker::from_u8(*first))
    }
}

fn malformed(name: &'static str, reason: impl Into<String>) -> EnvelopeError {
    EnvelopeError::Malformed(DecodeError::new(name, reason.into()))
}

/// What writing comes to. Memory takes everything, so it is never an error.
pub(super) type Written = Result<(), encode::ValueWriteError>;

/// An envelope that is being written.
pub(super) struct Writer<'a> {
    buffer: &'a mut Vec<u8>,
}

/// Writes an envelope of so many `elements`, of which the version is the first.
pub(super) fn write(
    elements: u32,
    write: impl FnOnce(&mut Writer<'_>) -> Written,
) -> Result<Bytes, EncodeError> {
    scratch::collect(|buffer| {
        let mut writer = Writer { buffer };
        writer
            .array(elements)
            .and_then(|()| writer.number(VERSION.into()))
            .and_then(|()| write(&mut writer))
            .map_err(EncodeError::new)
    })
}

impl Writer<'_> {
    pub(super) fn array(&mut self, count: u32) -> Written {
        encode::write_array_len(self.buffer, count).map(drop)
    }

    pub(super) fn number(&mut self, number: u64) -> Written {
        encode::write_uint(self.buffer, number).map(drop)
    }

    pub(super) fn optional_number(&mut self, number: Option<u64>) -> Written {
        match number {
            Some(number) => self.number(number),
            None => self.nil(),
        }
    }

    pub(super) fn nil(&mut self) -> Written {
        encode::write_nil(self.buffer).map_err(encode::ValueWriteError::InvalidMarkerWrite)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Written {
        encode::write_bin(self.buffer, bytes)
    }

    pub(super) fn id(&mut self, id: Id) -> Written {
        self.bytes(id.as_bytes())
    }

    pub(super) fn text(&mut self, text: &str) -> Written {
        encode::write_str(self.buffer, text)
    }

    pub(super) fn optional_text(&mut self, text: Option<&str>) -> Written {
        match text {
            Some(text) => self.text(text),
            None => self.nil(),
        }
    }

    pub(super) fn headers(&mut self, headers: &Headers) -> Written {
        let count = u32::try_from(headers.iter().count()).unwrap_or(u32::MAX);
        encode::write_map_len(self.buffer, count)?;
        for (name, value) in headers.iter() {
            self.text(name)?;
            self.text(value)?;
        }
        Ok(())
    }
}
