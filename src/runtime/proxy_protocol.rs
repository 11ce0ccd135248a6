//! The PROXY protocol, versions 1 and 2: who the client is, told by a load balancer in front.
//!
//! Specification: <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>. A listener either requires the header or does not
//! know it; there is no guessing, which would let anyone claim any address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest version 1 header, CR LF included (section 2.1).
const MAX_V1: usize = 107;
const SIGNATURE_V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Addresses and TLVs of a version 2 header: far above what any balancer sends.
const MAX_V2: usize = 4096;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The client's address, and the one it connected to.
    Client { from: SocketAddr, to: SocketAddr },
    /// The balancer speaks for itself (health checks), or the protocol is none of ours: the connection's own address holds.
    Local,
}

fn bad(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads the header, exactly: the bytes after it stay unread.
///
/// # Errors
/// When there is none or it is malformed, or the connection fails.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Source> {
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    if start == *SIGNATURE_V2 { v2(stream).await } else { v1(stream, &start).await }
}

async fn v1<S: AsyncRead + Unpin>(stream: &mut S, start: &[u8; 12]) -> io::Result<Source> {
    if !start.starts_with(b"PROXY ") {
        return Err(bad("no PROXY protocol header"));
    }
    let mut line = Vec::with_capacity(MAX_V1);
    line.extend_from_slice(start);
    // Byte by byte: nothing of what follows may be taken. Once for a connection.
    while !line.ends_with(b"\r\n") {
        if line.len() >= MAX_V1 {
            return Err(bad("PROXY protocol header without end"));
        }
        line.push(stream.read_u8().await?);
    }
    let text = std::str::from_utf8(&line).map_err(|_| bad("PROXY protocol header is not text"))?;
    let mut words = text.trim_end_matches("\r\n").split(' ').skip(1);
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        return Ok(Source::Local);
    }
    let parsed = (|| {
        let (from, to): (IpAddr, IpAddr) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (from_port, to_port) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let fits = match family {
            "TCP4" => from.is_ipv4() && to.is_ipv4(),
            "TCP6" => from.is_ipv6() && to.is_ipv6(),
            _ => false,
        };
        let (from, to) = (SocketAddr::new(from, from_port), SocketAddr::new(to, to_port));
        (fits && words.next().is_none()).then_some(Source::Client { from, to })
    })();
    parsed.ok_or_else(|| bad("malformed PROXY protocol header"))
}

async fn v2<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Source> {
    let version_command = stream.read_u8().await?;
    let family = stream.read_u8().await?;
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_V2 {
        return Err(bad("PROXY protocol header too long"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    match version_command {
        0x20 => return Ok(Source::Local),
        0x21 => {}
        _ => return Err(bad("unknown PROXY protocol version or command")),
    }
    match family {
        // TCP over IPv4, over IPv6.
        0x11 => v2_addresses::<4>(&rest, |bytes| Ipv4Addr::from(bytes).into()),
        0x21 => v2_addresses::<16>(&rest, |bytes| Ipv6Addr::from(bytes).into()),
        // Anything else is valid and says nothing of use (section 2.2: "the receiver should ignore address information").
        _ => Ok(Source::Local),
    }
}

fn v2_addresses<const N: usize>(bytes: &[u8], address: fn([u8; N]) -> IpAddr) -> io::Result<Source> {
    let parsed = (|| {
        let (from, rest) = bytes.split_first_chunk::<N>()?;
        let (to, rest) = rest.split_first_chunk::<N>()?;
        let (from_port, rest) = rest.split_first_chunk::<2>()?;
        let (to_port, _tlvs) = rest.split_first_chunk::<2>()?;
        let socket = |ip: [u8; N], port: [u8; 2]| SocketAddr::new(address(ip), u16::from_be_bytes(port));
        Some(Source::Client { from: socket(*from, *from_port), to: socket(*to, *to_port) })
    })();
    parsed.ok_or_else(|| bad("PROXY protocol addresses cut short"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn parse(bytes: &[u8]) -> (io::Result<Source>, Vec<u8>) {
        let mut rest = bytes;
        let source = read(&mut rest).await;
        (source, rest.to_vec())
    }

    fn client(from: &str, to: &str) -> Source {
        Source::Client { from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    #[tokio::test]
    async fn both_versions_are_read_to_the_byte() {
        let (source, rest) = parse(b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\nGET / HTTP/1.1\r\n").await;
        assert_eq!(source.unwrap(), client("192.0.2.1:56324", "10.0.0.1:443"));
        assert_eq!(rest, b"GET / HTTP/1.1\r\n");
        let (source, _) = parse(b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n").await;
        assert_eq!(source.unwrap(), client("[2001:db8::1]:1", "[::1]:2"));
        assert_eq!(parse(b"PROXY UNKNOWN whatever\r\n").await.0.unwrap(), Source::Local);

        let mut v2 = SIGNATURE_V2.to_vec();
        // Addresses, ports, and a TLV that is passed over.
        v2.extend_from_slice(&[0x21, 0x11, 0, 15, 192, 0, 2, 1, 10, 0, 0, 1, 0xdc, 0x04, 1, 0xbb, 4, 0, 0]);
        v2.extend_from_slice(b"GET");
        let (source, rest) = parse(&v2).await;
        assert_eq!(source.unwrap(), client("192.0.2.1:56324", "10.0.0.1:443"));
        assert_eq!(rest, b"GET");
        let local = [SIGNATURE_V2.as_slice(), &[0x20, 0, 0, 0]].concat();
        assert_eq!(parse(&local).await.0.unwrap(), Source::Local);
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
        let cut = [SIGNATURE_V2.as_slice(), &[0x21, 0x11, 0, 4, 1, 2, 3, 4]].concat();
        let version = [SIGNATURE_V2.as_slice(), &[0x31, 0x11, 0, 0]].concat();
        let huge = [SIGNATURE_V2.as_slice(), &[0x21, 0x11, 0xff, 0xff]].concat();
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice(),
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
            b"PROX",
            &long,
            &cut,
            &version,
            &huge,
        ] {
            assert!(parse(bytes).await.0.is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
