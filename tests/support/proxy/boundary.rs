//! Where in the broker's bytes one frame ends and the next begins.

const SIZE_LENGTH: usize = 4;

/// Follows frames through bytes that come in any pieces.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    /// The part of a frame's size that is there.
    size: Vec<u8>,
    /// How many bytes of the frame are still to come after its size.
    left: usize,
}

impl Boundary {
    /// Whether no frame has begun that has not ended.
    pub(super) fn is_here(&self) -> bool {
        self.size.is_empty() && self.left == 0
    }

    /// How many of these bytes belong to the frame that they go on with (or begin); they count as passed then.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        if self.left == 0 {
            let missing = SIZE_LENGTH - self.size.len();
            passed = missing.min(bytes.len());
            self.size.extend_from_slice(&bytes[..passed]);
            let Ok(size) = <[u8; SIZE_LENGTH]>::try_from(&self.size[..]) else {
                return passed;
            };
            self.size.clear();
            self.left = u32::from_be_bytes(size) as usize;
        }
        let rest = self.left.min(bytes.len() - passed);
        self.left -= rest;
        passed + rest
    }

    /// As [`pass`](Self::pass), for all of these bytes and any number of frames.
    pub(super) fn pass_all(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let passed = self.pass(bytes);
            bytes = &bytes[passed..];
        }
    }
}
