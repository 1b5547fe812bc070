//! Decoders must not depend on how the bytes were cut on their way.

use std::fmt::Debug;

use bytes::BytesMut;

/// What a decoder made of some bytes: values, and the error that ended it.
pub(super) type Decoded<T, E> = (Vec<T>, Option<E>);

/// Decodes all of `data`, given in pieces of this size. No more than `most` bytes may be reserved for what is missing.
pub(super) fn decode<T, E>(
    data: &[u8],
    size: usize,
    most: usize,
    mut decode: impl FnMut(&mut BytesMut) -> Result<Option<T>, E>,
) -> Decoded<T, E> {
    let (mut buffer, mut values) = (BytesMut::new(), Vec::new());
    for piece in data.chunks(size.max(1)) {
        buffer.extend_from_slice(piece);
        loop {
            let before = buffer.len();
            match decode(&mut buffer) {
                Ok(Some(value)) => {
                    assert!(buffer.len() < before, "a value of no bytes");
                    values.push(value);
                }
                Ok(None) => break,
                Err(error) => return (values, Some(error)),
            }
        }
        let reserved = buffer.capacity();
        assert!(
            reserved <= 2 * (most + data.len()) + 64,
            "{reserved} bytes were reserved for {} and a limit of {most}",
            data.len()
        );
    }
    (values, None)
}

/// Asserts that pieces of several sizes give the same, and returns it.
pub(super) fn decode_in_any_pieces<T: Debug + PartialEq, E: Debug + PartialEq>(
    data: &[u8],
    most: usize,
    mut decoder: impl FnMut() -> Box<dyn FnMut(&mut BytesMut) -> Result<Option<T>, E>>,
) -> Decoded<T, E> {
    let whole = decode(data, data.len(), most, decoder());
    for size in [1, 7] {
        let pieces = decode(data, size, most, decoder());
        assert_eq!(whole, pieces, "it depends on the pieces");
    }
    whole
}
