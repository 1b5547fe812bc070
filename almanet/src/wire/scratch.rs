//! Where bodies are written before they are as long as they will be.

use std::cell::Cell;

use bytes::Bytes;

/// A body up to this size is copied out of the thread's buffer; a larger one leaves with its own memory.
const COPIED_BYTES: usize = 4 * 1024;

thread_local! {
    /// One buffer for each thread, so that a body costs one allocation of its exact size and none while it grows.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Collects what `write` writes.
pub(super) fn collect<E>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Bytes, E> {
    // Taken, not borrowed: a value may write another one while it is written, which then begins with an empty buffer.
    let mut buffer = SCRATCH.take();
    buffer.clear();
    let written = write(&mut buffer);
    if buffer.len() > COPIED_BYTES {
        return written.map(|()| buffer.into());
    }
    let body = written.map(|()| Bytes::copy_from_slice(&buffer));
    if buffer.capacity() <= 2 * COPIED_BYTES {
        SCRATCH.set(buffer);
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(byte: u8, length: usize) -> Bytes {
        collect(|buffer| {
            buffer.resize(length, byte);
            Ok::<_, ()>(())
        })
        .unwrap()
    }

    #[test]
    fn bodies_of_any_size_are_whole_and_their_own() {
        for length in [0, 1, COPIED_BYTES, COPIED_BYTES + 1, 20 * COPIED_BYTES] {
            let (first, second) = (filled(1, length), filled(2, length));
            assert_eq!(first, vec![1; length]);
            assert_eq!(second, vec![2; length]);
        }
    }

    #[test]
    fn a_body_can_be_written_while_another_one_is() {
        let outer = collect(|buffer| {
            buffer.push(1);
            assert_eq!(filled(2, 3), vec![2; 3]);
            buffer.push(1);
            Ok::<_, ()>(())
        });
        assert_eq!(outer.unwrap(), vec![1, 1]);
    }

    #[test]
    fn what_failed_leaves_nothing_behind() {
        let failed = collect(|buffer| {
            buffer.push(9);
            Err("no")
        });
        assert_eq!(failed, Err("no"));
        assert_eq!(filled(1, 2), vec![1, 1]);
    }
}
