//! Who the client is: the peer of the connection, or whom a trusted peer names.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

use super::options::{Options, RealIp};
use crate::auth::Client;

/// The client of a request that came from `peer`.
pub fn client(peer: IpAddr, headers: &HeaderMap, options: &Options) -> Client {
    let peer = peer.to_canonical();
    let trusted = is_trusted(peer, &options.trusted_ips);
    let named = match &options.real_ip_header {
        RealIp::Header(name) if trusted => {
            named(headers.get_all(name).iter().map(|v| v.as_bytes()), options.real_ip_recursive, &options.trusted_ips)
        }
        RealIp::Header(_) | RealIp::ProxyProtocol => None,
    };
    Client { address: named.unwrap_or(peer), peer, trusted }
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

/// nginx's realip: the last address of the list; recursive, the last that is not itself trusted. A list that holds something
/// else than an address ends there, with what was found so far.
fn named<'a>(fields: impl DoubleEndedIterator<Item = &'a [u8]>, recursive: bool, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut found = None;
    for item in fields.rev().flat_map(|field| field.rsplit(|byte| *byte == b',')) {
        let Some(address) = address(item) else { break };
        found = Some(address);
        if !recursive || !is_trusted(address, trusted) {
            break;
        }
    }
    found
}

/// An address, with or without a port.
fn address(item: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(item.trim_ascii()).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip())).ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn options(trusted: &[&str], header: &'static str, recursive: bool) -> Options {
        Options {
            trusted_ips: trusted.iter().map(|net| net.parse().unwrap()).collect(),
            real_ip_header: RealIp::Header(HeaderName::from_static(header)),
            real_ip_recursive: recursive,
            ..Options::default()
        }
    }

    fn address_of(options: &Options, fields: &[(&'static str, &'static str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        client("127.0.0.1".parse().unwrap(), &headers, options).address.to_string()
    }

    #[test]
    fn an_untrusted_peer_is_the_client() {
        let options = options(&[], "x-real-ip", false);
        assert_eq!(address_of(&options, &[("x-real-ip", "9.9.9.9")]), "127.0.0.1");
    }

    #[test]
    fn a_trusted_peer_names_the_client() {
        let options = options(&["127.0.0.0/8"], "x-real-ip", false);
        assert_eq!(address_of(&options, &[("x-real-ip", "9.9.9.9")]), "9.9.9.9");
        assert_eq!(address_of(&options, &[("x-real-ip", " [2001:db8::1]:443 ")]), "2001:db8::1");
        assert_eq!(address_of(&options, &[("x-real-ip", "::ffff:9.9.9.9")]), "9.9.9.9");
        assert_eq!(address_of(&options, &[("x-real-ip", "unknown")]), "127.0.0.1");
        assert_eq!(address_of(&options, &[]), "127.0.0.1");
    }

    /// Case R41.
    #[test]
    fn recursion_skips_trusted_proxies_from_the_right() {
        let trusted = ["127.0.0.1/32", "172.16.0.1/32", "192.168.0.1/32"];
        let list = [("x-forwarded-for", "127.0.0.1, 10.0.0.1, 192.168.0.1, 127.0.0.1, 172.16.0.1")];
        assert_eq!(address_of(&options(&trusted, "x-forwarded-for", true), &list), "10.0.0.1");
        assert_eq!(address_of(&options(&trusted, "x-forwarded-for", false), &list), "172.16.0.1");
        let two_fields = [("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "127.0.0.1")];
        assert_eq!(address_of(&options(&trusted, "x-forwarded-for", true), &two_fields), "10.0.0.1");
        let all_trusted = [("x-forwarded-for", "172.16.0.1, 127.0.0.1")];
        assert_eq!(address_of(&options(&trusted, "x-forwarded-for", true), &all_trusted), "172.16.0.1");
    }

    #[test]
    fn a_mapped_peer_matches_an_ipv4_net() {
        let options = options(&["127.0.0.1/32"], "x-real-ip", false);
        let client = client("::ffff:127.0.0.1".parse().unwrap(), &HeaderMap::new(), &options);
        assert!(client.trusted);
        assert_eq!(client.peer.to_string(), "127.0.0.1");
    }
}
