//! Host names and addresses as Kong reads them: `name[:port]`, `1.2.3.4[:port]`, `[::1]:port`, `::1`.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What stands before the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Name,
    Ipv4,
    Ipv6,
}

/// A host with an optional port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub kind: Kind,
    /// As given; an IPv6 address in full, without brackets.
    pub host: String,
    pub port: Option<u16>,
}

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostFault {
    Port,
    Name,
    Ipv4,
    Ipv6,
}

impl HostFault {
    /// Kong's words about `address`.
    pub fn words(self, address: &str) -> String {
        match self {
            Self::Port => "invalid port number".to_owned(),
            Self::Name => format!("invalid hostname: {address}"),
            Self::Ipv4 => format!("invalid ipv4 address: {address}"),
            Self::Ipv6 => format!("invalid ipv6 address: {address}"),
        }
    }
}

/// Reads an address.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Address, HostFault> {
    let colons = text.bytes().filter(|byte| *byte == b':').count();
    if colons > 1 {
        parse_ipv6(text)
    } else if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b':') && colons < text.len() {
        parse_ipv4(text)
    } else {
        parse_name(text)
    }
}

fn port(text: &str) -> Result<u16, HostFault> {
    text.parse().map_err(|_| HostFault::Port)
}

fn parse_ipv4(text: &str) -> Result<Address, HostFault> {
    let (host, after) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    if after == Some("") {
        return Err(HostFault::Ipv4);
    }
    // Leading zeros are read as decimal, as Kong does.
    let mut octets = [0; 4];
    let mut parts = host.split('.');
    for octet in &mut octets {
        let part = parts.next().filter(|part| (1..=3).contains(&part.len())).ok_or(HostFault::Ipv4)?;
        *octet = part.parse::<u8>().map_err(|_| HostFault::Ipv4)?;
    }
    if parts.next().is_some() {
        return Err(HostFault::Ipv4);
    }
    Ok(Address { kind: Kind::Ipv4, host: Ipv4Addr::from(octets).to_string(), port: after.map(port).transpose()? })
}

fn parse_ipv6(text: &str) -> Result<Address, HostFault> {
    let (host, after) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or(HostFault::Ipv6)?)),
        None => (text, None),
    };
    let address: Ipv6Addr = host.parse().map_err(|_| HostFault::Ipv6)?;
    let groups: Vec<_> = address.segments().iter().map(|group| format!("{group:04x}")).collect();
    Ok(Address { kind: Kind::Ipv6, host: groups.join(":"), port: after.map(port).transpose()? })
}

fn parse_name(text: &str) -> Result<Address, HostFault> {
    let (name, after) = match text.rsplit_once(':') {
        Some((name, digits)) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            (name, Some(port(digits)?))
        }
        _ => (text, None),
    };
    // A trailing dot marks a fully qualified name.
    let labels = name.strip_suffix('.').unwrap_or(name);
    let fine = |label: &str| {
        !label.is_empty()
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if labels.split('.').all(fine) {
        Ok(Address { kind: Kind::Name, host: name.to_owned(), port: after })
    } else {
        Err(HostFault::Name)
    }
}

impl Address {
    /// `host:port`, with the given port where there is none, and brackets around IPv6.
    pub fn with_port(&self, default: u16) -> String {
        let port = self.port.unwrap_or(default);
        match self.kind {
            Kind::Ipv6 => format!("[{}]:{port}", self.host),
            Kind::Name | Kind::Ipv4 => format!("{}:{port}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> String {
        parse(text).expect(text).with_port(8000)
    }

    #[test]
    fn addresses_are_read_and_written_out() {
        assert_eq!(whole("h"), "h:8000");
        assert_eq!(whole("my.host.com:1234"), "my.host.com:1234");
        assert_eq!(whole("example."), "example.:8000");
        assert_eq!(whole("10.0.0.1"), "10.0.0.1:8000");
        assert_eq!(whole("010.0.0.1:80"), "10.0.0.1:80");
        assert_eq!(whole("[::1]:99"), "[0000:0000:0000:0000:0000:0000:0000:0001]:99");
        assert_eq!(whole("::1"), "[0000:0000:0000:0000:0000:0000:0000:0001]:8000");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for name in [
            "hello..example.com",
            "hello-.example.com",
            ".example",
            "example:",
            "mock;bin",
            "a/b",
            "a b",
            "",
            "http://x",
        ] {
            assert!(matches!(parse(name), Err(HostFault::Name)), "{name}");
        }
        assert_eq!(parse("example.com:1000000"), Err(HostFault::Port));
        assert_eq!(parse("300.1.1.1"), Err(HostFault::Ipv4));
        assert_eq!(parse("123"), Err(HostFault::Ipv4));
        assert_eq!(parse("1.2.3.4:"), Err(HostFault::Ipv4));
        assert_eq!(parse("1:2:3"), Err(HostFault::Ipv6));
        assert_eq!(parse("[::1]x"), Err(HostFault::Ipv6));
    }
}
