//! One line of JSON, member by member: what the access log writes for every request.
//!
//! A general serialiser looks at every byte of every member's name, and formats times and numbers through `fmt`: a line takes it
//! four times the instructions. Text that is more than plain goes to `serde_json`.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::ip_text::IpText;

/// A line that is being written at the end of a text. Members come through [`member!`].
pub(super) struct Line<'a> {
    text: &'a mut Vec<u8>,
    digits: itoa::Buffer,
}

/// Writes a member: its kind is the method of [`Line`] that writes its value. The name is copied here, where its length is known: as a
/// few words, not by a call.
macro_rules! member {
    ($line:ident.string, $name:expr, $value:expr) => {
        $line.raw(concat!(",\"", $name, "\":\""));
        $line.string($value);
    };
    ($line:ident.word, $name:expr, $value:expr) => {
        $line.raw(concat!(",\"", $name, "\":\""));
        $line.word($value);
    };
    ($line:ident.$kind:ident, $name:expr, $value:expr) => {
        $line.raw(concat!(",\"", $name, "\":"));
        $line.$kind($value);
    };
}
pub(super) use member;

impl<'a> Line<'a> {
    /// A line without members yet; the first is written by the caller, behind `open`.
    pub(super) fn new(text: &'a mut Vec<u8>, open: &str) -> Self {
        // What there usually is, so that it grows once at most.
        text.reserve(1024);
        let mut line = Self { text, digits: itoa::Buffer::new() };
        line.raw(open);
        line
    }

    pub(super) fn finish(mut self) {
        self.raw("}\n");
    }

    #[inline(always)]
    pub(super) fn raw(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    /// A date, whose text is plain.
    pub(super) fn date(&mut self, dates: &mut crate::calendar::Dates, since_epoch: Duration) {
        dates.milliseconds(since_epoch, self.text);
    }

    /// One of our own words, which have nothing that JSON writes otherwise; its opening quote is written.
    pub(super) fn word(&mut self, value: &str) {
        self.raw(value);
        self.text.push(b'"');
    }

    /// A string whose opening quote is written.
    pub(super) fn string(&mut self, value: &str) {
        // Without a branch for each byte: whole vectors are compared at a time.
        let odd = value.bytes().fold(false, |odd, byte| odd | (byte < 0x20) | (byte == b'"') | (byte == b'\\'));
        if odd {
            return self.odd(value);
        }
        self.word(value);
    }

    #[cold]
    fn odd(&mut self, value: &str) {
        self.text.pop();
        let before = self.text.len();
        if serde_json::to_writer(&mut *self.text, value).is_err() {
            // Writing into memory does not fail; whatever happens, the line stays JSON.
            self.text.truncate(before);
            self.raw("null");
        }
    }

    pub(super) fn integer(&mut self, value: u64) {
        self.text.extend_from_slice(self.digits.format(value).as_bytes());
    }

    /// A thousandth of a number, with its three places.
    fn thousandths(&mut self, value: u64) {
        self.integer(value / 1000);
        let [hundreds, tens, ones] = [value / 100 % 10, value / 10 % 10, value % 10].map(|digit| b'0' + digit as u8);
        self.text.extend_from_slice(&[b'.', hundreds, tens, ones]);
    }

    /// In milliseconds. Not by `as_micros`, which divides 128 bits.
    pub(super) fn milliseconds(&mut self, took: Duration) {
        self.thousandths(took.as_secs().saturating_mul(1_000_000).saturating_add(took.subsec_micros().into()));
    }

    /// In microseconds.
    pub(super) fn microseconds(&mut self, took: Duration) {
        self.thousandths(took.as_secs().saturating_mul(1_000_000_000).saturating_add(took.subsec_nanos().into()));
    }

    pub(super) fn address(&mut self, address: IpAddr) {
        self.text.push(b'"');
        self.text.extend_from_slice(IpText::of(address).as_bytes());
        self.text.push(b'"');
    }

    pub(super) fn socket(&mut self, address: SocketAddr) {
        self.text.push(b'"');
        match address {
            SocketAddr::V4(address) => {
                self.text.extend_from_slice(IpText::of((*address.ip()).into()).as_bytes());
                self.text.push(b':');
                self.text.extend_from_slice(self.digits.format(address.port()).as_bytes());
            }
            // Writing into memory does not fail.
            SocketAddr::V6(address) => drop(write!(self.text, "{address}")),
        }
        self.text.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(write: impl FnOnce(&mut Line<'_>)) -> Value {
        let mut text = b"before\n".to_vec();
        let mut line = Line::new(&mut text, "{\"time\":\"t\"");
        write(&mut line);
        line.finish();
        let text = text.strip_prefix(b"before\n").unwrap();
        assert_eq!(text.iter().filter(|byte| **byte < 0x20).collect::<Vec<_>>(), [&b'\n']);
        serde_json::from_slice(text).unwrap()
    }

    #[test]
    fn values_are_what_they_were() {
        let texts = [
            "",
            "plain",
            "é\u{2028}\u{7f}",
            "a\"b",
            "a\\b",
            "a\r\n\t\u{0}\u{1f}b",
            "{\"forged\":true}",
            &"x".repeat(5000),
        ];
        for text in texts {
            let read = read(|line| {
                member!(line.string, "a", text);
                member!(line.string, "b", "after");
            });
            assert_eq!(read, json!({ "time": "t", "a": text, "b": "after" }));
        }
        for (number, thousandth) in [(0, 0.0), (7, 0.007), (52, 0.052), (999, 0.999), (1000, 1.0), (56_288, 56.288)] {
            let read = read(|line| {
                member!(line.integer, "n", number);
                member!(line.thousandths, "t", number);
                member!(line.milliseconds, "ms", Duration::from_micros(number));
                member!(line.microseconds, "us", Duration::from_nanos(number));
            });
            let expected = json!({ "time": "t", "n": number, "t": thousandth, "ms": thousandth, "us": thousandth });
            assert_eq!(read, expected);
        }
        for address in ["0.0.0.0", "9.10.255.1", "::1", "2001:db8::ff"] {
            let ip: IpAddr = address.parse().unwrap();
            let read = read(|line| {
                member!(line.address, "ip", ip);
                member!(line.socket, "at", SocketAddr::new(ip, 8000));
            });
            let expected = json!({ "time": "t", "ip": address, "at": SocketAddr::new(ip, 8000).to_string() });
            assert_eq!(read, expected);
        }
        let most = read(|line| {
            member!(line.integer, "most", u64::MAX);
        });
        assert_eq!(most["most"], u64::MAX);
    }
}
