//! Compression as a broker does it, with other parts of the libraries than the client uses.

use std::io::{ErrorKind, Read, Write};

use almanet_nsq::Compression;
use flate2::write::{DeflateDecoder, DeflateEncoder};
use snap::{read, write};

pub(crate) enum Packing {
    Snappy {
        encoder: Box<write::FrameEncoder<Vec<u8>>>,
        /// All that ever came, and how much of what is in it is known already.
        received: Vec<u8>,
        known: usize,
    },
    Deflate {
        encoder: DeflateEncoder<Vec<u8>>,
        decoder: DeflateDecoder<Vec<u8>>,
    },
}

impl Packing {
    pub(crate) fn new(compression: Compression) -> Self {
        match compression {
            Compression::Snappy => Self::Snappy {
                encoder: Box::new(write::FrameEncoder::new(Vec::new())),
                received: Vec::new(),
                known: 0,
            },
            _ => Self::Deflate {
                encoder: DeflateEncoder::new(Vec::new(), flate2::Compression::new(1)),
                decoder: DeflateDecoder::new(Vec::new()),
            },
        }
    }

    pub(crate) fn pack(&mut self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Snappy { encoder, .. } => {
                encoder.write_all(bytes).unwrap();
                encoder.flush().unwrap();
                std::mem::take(encoder.get_mut())
            }
            Self::Deflate { encoder, .. } => {
                encoder.write_all(bytes).unwrap();
                encoder.flush().unwrap();
                std::mem::take(encoder.get_mut())
            }
        }
    }

    pub(crate) fn unpack(&mut self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Snappy { received, known, .. } => {
                received.extend_from_slice(bytes);
                let mut all = Vec::new();
                match read::FrameDecoder::new(&received[..]).read_to_end(&mut all) {
                    Ok(_) => {}
                    // In the middle of a chunk.
                    Err(error) => assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}"),
                }
                let new = all.split_off(*known);
                *known += new.len();
                new
            }
            Self::Deflate { decoder, .. } => {
                decoder.write_all(bytes).unwrap();
                decoder.flush().unwrap();
                std::mem::take(decoder.get_mut())
            }
        }
    }
}
