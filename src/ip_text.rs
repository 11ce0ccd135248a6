//! IP addresses as text, for header fields and lines of the access log.

use std::fmt::Write as _;
use std::net::IpAddr;

/// An IP address as text, without an allocation.
pub struct IpText {
    text: [u8; 45],
    length: usize,
}

impl IpText {
    pub fn of(address: IpAddr) -> Self {
        let mut written = Self { text: [0; 45], length: 0 };
        // 45 bytes hold every address.
        match address {
            IpAddr::V4(address) => written.write_octets(address.octets()),
            // 45 bytes hold every address.
            IpAddr::V6(_) => drop(write!(written, "{address}")),
        }
        written
    }

    /// As `Display` does it, in a tenth of the instructions.
    fn write_octets(&mut self, octets: [u8; 4]) {
        for (place, octet) in octets.into_iter().enumerate() {
            if place > 0 {
                self.push(b'.');
            }
            if octet >= 100 {
                self.push(b'0' + octet / 100);
            }
            if octet >= 10 {
                self.push(b'0' + octet / 10 % 10);
            }
            self.push(b'0' + octet % 10);
        }
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }
}

impl std::fmt::Write for IpText {
    fn write_str(&mut self, part: &str) -> std::fmt::Result {
        let end = self.length + part.len();
        let place = self.text.get_mut(self.length..end).ok_or(std::fmt::Error)?;
        place.copy_from_slice(part.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_whole() {
        for octet in 0..=255 {
            let address = IpAddr::from([octet, 0, 255 - octet, octet / 2]);
            assert_eq!(IpText::of(address).as_bytes(), address.to_string().as_bytes());
        }
        let longest: IpAddr = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        assert_eq!(IpText::of(longest).as_bytes(), longest.to_string().as_bytes());
    }
}
