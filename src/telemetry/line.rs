//! One line of JSON, member by member: what the access log writes for every request.
//!
//! A general serialiser looks at every byte of every member's name, and formats times and numbers through `fmt`: a line takes it
//! twice the instructions. Text that is more than plain goes to `serde_json`.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::ip_text::IpText;

/// A line that is being written. Members come through [`member!`], which makes their names ready to copy.
pub(super) struct Line {
    text: Vec<u8>,
    digits: itoa::Buffer,
}

/// Writes a member: its kind is the method of [`Line`] that writes its value.
macro_rules! member {
    ($line:ident.$kind:ident, $name:literal, $value:expr) => {
        $line.$kind(concat!(",\"", $name, "\":"), $value)
    };
}
pub(super) use member;

impl Line {
    /// A line with its first member. `time` is plain text.
    pub(super) fn new(time: &str) -> Self {
        // A line with all that there usually is.
        let mut line = Self { text: Vec::with_capacity(768), digits: itoa::Buffer::new() };
        line.raw("{\"time\":\"");
        line.raw(time);
        line.raw("\"");
        line
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.raw("}\n");
        self.text
    }

    fn raw(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    pub(super) fn string(&mut self, name: &str, value: &str) {
        self.raw(name);
        // Without a branch for each byte: whole vectors are compared at a time.
        let odd = value.bytes().fold(false, |odd, byte| odd | (byte < 0x20) | (byte == b'"') | (byte == b'\\'));
        if !odd {
            self.text.push(b'"');
            self.raw(value);
            self.text.push(b'"');
        } else if serde_json::to_writer(&mut self.text, value).is_err() {
            // Writing into memory does not fail; whatever happens, the line stays JSON.
            self.raw("null");
        }
    }

    pub(super) fn integer(&mut self, name: &str, value: u64) {
        self.raw(name);
        self.text.extend_from_slice(self.digits.format(value).as_bytes());
    }

    /// A thousandth of a number, with its three places.
    pub(super) fn thousandths(&mut self, name: &str, value: u64) {
        self.integer(name, value / 1000);
        let [hundreds, tens, ones] = [value / 100 % 10, value / 10 % 10, value % 10].map(|digit| b'0' + digit as u8);
        self.text.extend_from_slice(&[b'.', hundreds, tens, ones]);
    }

    /// In milliseconds.
    pub(super) fn milliseconds(&mut self, name: &str, took: Duration) {
        self.thousandths(name, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// In microseconds.
    pub(super) fn microseconds(&mut self, name: &str, took: Duration) {
        self.thousandths(name, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn address(&mut self, name: &str, address: IpAddr) {
        self.raw(name);
        self.text.push(b'"');
        self.text.extend_from_slice(IpText::of(address).as_bytes());
        self.text.push(b'"');
    }

    pub(super) fn socket(&mut self, name: &str, address: SocketAddr) {
        self.raw(name);
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

    fn read(line: Line) -> Value {
        let text = line.finish();
        assert_eq!(text.iter().filter(|byte| **byte < 0x20).collect::<Vec<_>>(), [&b'\n']);
        serde_json::from_slice(&text).unwrap()
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
            let mut line = Line::new("t");
            member!(line.string, "a", text);
            member!(line.string, "b", "after");
            assert_eq!(read(line), json!({ "time": "t", "a": text, "b": "after" }));
        }
        for (number, thousandth) in [(0, 0.0), (7, 0.007), (52, 0.052), (999, 0.999), (1000, 1.0), (56_288, 56.288)] {
            let mut line = Line::new("t");
            member!(line.integer, "n", number);
            member!(line.thousandths, "t", number);
            member!(line.milliseconds, "ms", Duration::from_micros(number));
            member!(line.microseconds, "us", Duration::from_nanos(number));
            let expected = json!({ "time": "t", "n": number, "t": thousandth, "ms": thousandth, "us": thousandth });
            assert_eq!(read(line), expected);
        }
        for address in ["0.0.0.0", "9.10.255.1", "::1", "2001:db8::ff"] {
            let ip: IpAddr = address.parse().unwrap();
            let mut line = Line::new("t");
            member!(line.address, "ip", ip);
            member!(line.socket, "at", SocketAddr::new(ip, 8000));
            let expected = json!({ "time": "t", "ip": address, "at": SocketAddr::new(ip, 8000).to_string() });
            assert_eq!(read(line), expected);
        }
        let mut line = Line::new("t");
        member!(line.integer, "most", u64::MAX);
        assert_eq!(read(line)["most"], u64::MAX);
    }
}
