//! Where a request's header begins and ends in the bytes of a connection: the empty line of HTTP/1, the frames of HTTP/2.
//!
//! Looks at bytes as they come, over the boundaries of reads, and keeps none of them but the head of a frame. Must not know
//! what a header says.

/// The last bytes of a header, over the boundaries of reads: how much of `\n\r\n` or `\n\n` has been seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EndOfHeader {
    /// Whether anything but empty lines has come: those before a request line are skipped (RFC 9112 section 2.2).
    begun: bool,
    newline: bool,
    then_return: bool,
}

impl EndOfHeader {
    /// Whether the header ends within these bytes.
    pub(super) fn found(&mut self, bytes: &[u8]) -> bool {
        // What a read begins with may end what the one before began.
        let mut rest = bytes;
        if !self.begun {
            let Some(begin) = rest.iter().position(|byte| !matches!(byte, b'\r' | b'\n')) else { return false };
            self.begun = true;
            rest = rest.get(begin..).unwrap_or_default();
        }
        while self.newline {
            let Some((first, after)) = rest.split_first() else { return false };
            match first {
                b'\n' => return true,
                b'\r' if !self.then_return => self.then_return = true,
                _ => (self.newline, self.then_return) = (false, false),
            }
            rest = after;
        }
        // A header of several lines: look at its end first, where it ends when it came in one piece.
        if rest.ends_with(b"\n\r\n") || rest.ends_with(b"\n\n") {
            return true;
        }
        for place in memchr::memchr_iter(b'\n', rest) {
            match rest.get(place + 1..) {
                Some([b'\n', ..] | [b'\r', b'\n', ..]) => return true,
                Some([]) => (self.newline, self.then_return) = (true, false),
                Some([b'\r']) => (self.newline, self.then_return) = (true, true),
                _ => {}
            }
        }
        false
    }
}

/// A frame's length, type, flags and stream (RFC 9113 section 4.1).
const FRAME_HEAD: usize = 9;
/// RFC 9113 section 3.4.
const PREFACE: usize = 24;

/// What of an HTTP/2 connection is under way that its client is held to the deadline for: the preface, the head of a frame, or a
/// header block, which one frame or many carry.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderBlocks {
    /// Bytes of the preface that are still to come.
    preface: usize,
    head: [u8; FRAME_HEAD],
    /// Bytes of `head` that have come.
    have: usize,
    /// Bytes of the frame's payload that are still to come.
    payload: usize,
    /// A header block has begun, and has not ended.
    block: bool,
    /// It ends with this frame.
    last: bool,
}

impl HeaderBlocks {
    pub(super) fn new() -> Self {
        Self { preface: PREFACE, head: [0; FRAME_HEAD], have: 0, payload: 0, block: false, last: false }
    }

    pub(super) fn under_way(&self) -> bool {
        self.preface > 0 || self.have > 0 || self.block
    }

    /// Takes in what came; whether at any moment of it nothing was under way.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> bool {
        let mut idle = false;
        while !bytes.is_empty() {
            if self.preface > 0 {
                skip(&mut bytes, &mut self.preface);
            } else if self.payload > 0 {
                skip(&mut bytes, &mut self.payload);
                self.end_frame();
            } else {
                self.head(&mut bytes);
                self.end_frame();
            }
            idle |= !self.under_way();
        }
        idle
    }

    fn head(&mut self, bytes: &mut &[u8]) {
        const HEADERS: u8 = 0x1;
        const CONTINUATION: u8 = 0x9;
        const END_HEADERS: u8 = 0x4;
        while let (Some(place), Some((byte, rest))) = (self.head.get_mut(self.have), bytes.split_first()) {
            *place = *byte;
            *bytes = rest;
            self.have += 1;
        }
        if self.have < FRAME_HEAD {
            return;
        }
        self.have = 0;
        let [high, middle, low, kind, flags, ..] = self.head;
        self.payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.block = true;
            self.last = flags & END_HEADERS != 0;
        }
    }

    fn end_frame(&mut self) {
        if self.payload == 0 && self.have == 0 && self.last {
            (self.block, self.last) = (false, false);
        }
    }
}

/// Leaves out as many bytes as there are of those that are still to come.
fn skip(bytes: &mut &[u8], left: &mut usize) {
    let count = bytes.len().min(*left);
    *bytes = bytes.get(count..).unwrap_or_default();
    *left -= count;
}
