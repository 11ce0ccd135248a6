//! Kong's listen syntax: `ADDRESS:PORT [flags], …`, `unix:PATH`, `off`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Connections that wait for `accept`, unless `backlog=` says otherwise; the kernel caps it at `net.core.somaxconn`.
pub const DEFAULT_BACKLOG: i32 = 16_384;

/// One item of a listen setting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "one switch for each flag of the syntax")]
pub struct Listen {
    pub address: Address,
    /// TLS.
    pub ssl: bool,
    /// HTTP/2: by ALPN with `ssl`, with prior knowledge (h2c) beside HTTP/1.1 without.
    pub http2: bool,
    /// A PROXY protocol header (version 1 or 2) comes first on every connection.
    pub proxy_protocol: bool,
    /// `SO_REUSEPORT`: a socket for each worker thread. Another process of the same user can then listen there as well, so a port in
    /// use is not noticed.
    pub reuseport: bool,
    pub backlog: i32,
}

impl Listen {
    /// Without flags.
    pub fn plain(address: Address) -> Self {
        Self { address, ssl: false, http2: false, proxy_protocol: false, reuseport: false, backlog: DEFAULT_BACKLOG }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)?;
        let flags = [
            (self.http2, " http2"),
            (self.ssl, " ssl"),
            (self.proxy_protocol, " proxy_protocol"),
            (self.reuseport, " reuseport"),
        ];
        flags.iter().filter(|(set, _)| *set).try_for_each(|(_, name)| f.write_str(name))?;
        if self.backlog == DEFAULT_BACKLOG { Ok(()) } else { write!(f, " backlog={}", self.backlog) }
    }
}

/// Reads a listen setting; `off` is an empty list.
///
/// # Errors
/// What in it is not understood.
pub fn parse(text: &str) -> Result<Vec<Listen>, String> {
    let text = text.trim();
    if text == "off" {
        return Ok(Vec::new());
    }
    let mut listens = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let listen = parse_one(item)?;
        let same = |other: &Listen| other.address == listen.address && !is_any_port(&listen.address);
        if listens.iter().any(same) {
            return Err(format!("{} stands there twice", listen.address));
        }
        listens.push(listen);
    }
    if listens.is_empty() { Err("no address; `off` disables the listener".into()) } else { Ok(listens) }
}

/// Port 0: the system picks one.
fn is_any_port(address: &Address) -> bool {
    matches!(address, Address::Tcp(address) if address.port() == 0)
}

fn parse_one(item: &str) -> Result<Listen, String> {
    let mut words = item.split_ascii_whitespace();
    let mut listen = Listen::plain(parse_address(words.next().unwrap_or_default())?);
    for flag in words {
        match flag {
            "ssl" => listen.ssl = true,
            "http2" => listen.http2 = true,
            "proxy_protocol" => listen.proxy_protocol = true,
            "reuseport" => listen.reuseport = true,
            // What they ask for is what is done anyway.
            "default_server" | "so_keepalive=on" | "deferred" | "bind" | "so_keepalive=off" => {}
            "off" => return Err("`off` stands alone".into()),
            _ => match flag.strip_prefix("backlog=").map(str::parse) {
                Some(Ok(backlog)) if backlog > 0 => listen.backlog = backlog,
                Some(_) => return Err(format!("`{flag}`: the backlog is a number above 0")),
                None => {
                    let known = ["ssl", "http2", "proxy_protocol", "reuseport", "backlog=N"];
                    return Err(format!("unknown flag `{flag}`; there are {}", known.join(", ")));
                }
            },
        }
    }
    if matches!(listen.address, Address::Unix(_)) && listen.reuseport {
        return Err(format!("`{item}`: reuseport is for ports, not for unix sockets"));
    }
    Ok(listen)
}

fn parse_address(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        // Longer paths do not fit into a socket address (sun_path, 108 bytes with the final NUL).
        return match path.len() {
            0 => Err("`unix:` needs a path".into()),
            1..=107 => Ok(Address::Unix(path.into())),
            length => Err(format!("`{text}`: the path of a unix socket has at most 107 bytes, this one {length}")),
        };
    }
    if let Ok(port) = text.parse() {
        return Ok(Address::Tcp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)));
    }
    let wrong = || format!("`{text}` is not an address; write 127.0.0.1:8000, [::]:8000 or unix:/path");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    let host: IpAddr = match host {
        "*" => Ipv4Addr::UNSPECIFIED.into(),
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        _ => match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => IpAddr::V6(inner.parse().map_err(|_| wrong())?),
            None => IpAddr::V4(host.parse().map_err(|_| wrong())?),
        },
    };
    Ok(Address::Tcp(SocketAddr::new(host, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_meant() {
        for (text, back) in [
            ("off", ""),
            ("127.0.0.1:8000", "127.0.0.1:8000"),
            ("8000", "0.0.0.0:8000"),
            ("*:8000", "0.0.0.0:8000"),
            ("localhost:0", "127.0.0.1:0"),
            ("[::]:8443 ssl http2", "[::]:8443 http2 ssl"),
            ("[::1]:80 backlog=5 reuseport proxy_protocol", "[::1]:80 proxy_protocol reuseport backlog=5"),
            ("127.0.0.1:18000, 127.0.0.1:18443 http2 ssl", "127.0.0.1:18000, 127.0.0.1:18443 http2 ssl"),
            ("0.0.0.0:8000 reuseport backlog=16384,", "0.0.0.0:8000 reuseport"),
            (" unix:/run/p.sock  http2 ", "unix:/run/p.sock http2"),
            ("127.0.0.1:0, 127.0.0.1:0", "127.0.0.1:0, 127.0.0.1:0"),
        ] {
            let listens = parse(text).unwrap();
            let shown: Vec<String> = listens.iter().map(ToString::to_string).collect();
            assert_eq!(shown.join(", "), back, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (text, fault) in [
            ("", "no address"),
            ("example.com:80", "not an address"),
            ("::1:80", "not an address"),
            ("127.0.0.1", "not an address"),
            ("127.0.0.1:99999", "not an address"),
            ("127.0.0.1:80 tls", "unknown flag `tls`"),
            ("127.0.0.1:80 backlog=many", "backlog"),
            ("127.0.0.1:80 backlog=0", "backlog"),
            ("127.0.0.1:80 off", "stands alone"),
            ("127.0.0.1:80, 127.0.0.1:80 ssl", "twice"),
            ("unix:", "needs a path"),
            ("unix:/x reuseport", "not for unix"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(fault), "{text}: {said}");
        }
        assert!(parse(&format!("unix:/{}", "x".repeat(120))).unwrap_err().contains("107"));
    }
}
