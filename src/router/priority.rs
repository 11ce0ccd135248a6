//! Kong's priority of a candidate route.
//!
//! Kong packs it into 64 bits: number of attributes (3 bits), plain hosts (1), number of headers (8), regex path (1),
//! regex priority (32), length of the prefix (19). Comparing the fields in that order is the same and cannot overflow.

use crate::entity::Route;

/// How specific a candidate is; the greater goes first. The order of the fields is their weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Priority {
    /// How many of methods, hosts, headers, paths and snis the route defines.
    attributes: u8,
    /// There are hosts, and none is a wildcard.
    plain_hosts: bool,
    /// Number of header names, at most 255.
    headers: u8,
    regex_path: bool,
    /// 0 unless the path is a regex.
    regex_priority: i64,
    /// Bytes of the prefix path; 0 for a regex. Kong keeps 19 bits of it.
    prefix_len: u32,
}

impl Priority {
    /// `paths`: those of the candidate, all of one kind and length.
    pub(super) fn new(route: &Route, paths: &[&str]) -> Self {
        let hosts = route.hosts.as_deref().unwrap_or_default();
        let headers = route.headers.as_ref().map_or(0, |headers| headers.len());
        let defined = [
            route.methods.as_ref().is_some_and(|methods| !methods.is_empty()),
            !hosts.is_empty(),
            headers > 0,
            !paths.is_empty(),
            route.snis.as_ref().is_some_and(|snis| !snis.is_empty()),
        ];
        let regex_path = paths.first().is_some_and(|path| path.starts_with('~'));
        Self {
            attributes: defined.into_iter().map(u8::from).sum(),
            plain_hosts: !hosts.is_empty() && !hosts.iter().any(|host| host.contains('*')),
            headers: u8::try_from(headers).unwrap_or(u8::MAX),
            regex_path,
            regex_priority: if regex_path { route.regex_priority } else { 0 },
            prefix_len: match paths.first() {
                Some(path) if !regex_path => path.len() as u32 & 0x7_FFFF,
                _ => 0,
            },
        }
    }
}
