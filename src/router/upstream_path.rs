//! The path a service gets: service path and request path joined, with what the route matched taken off.
//!
//! Kong's `path_handling: v0`. `v1` does nothing in router flavour `traditional_compatible`, there as here; the compiler warns of it.

use std::borrow::Cow;
use std::fmt::Write;

use super::Match;
use super::normalise::HiddenBytes;
use crate::entity::Route;

/// What goes upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamPath<'a> {
    /// Escaped, ready for a request line; the query is appended to it untouched.
    pub path: Cow<'a, str>,
    /// Value of `X-Forwarded-Prefix`: what was taken off, if it was more than `/`. Not escaped (Kong's form), free of control bytes.
    pub stripped_prefix: Option<&'a str>,
}

/// Joins the service's path and the request's normalised `path`.
pub fn upstream_path<'a>(
    service_path: Option<&'a str>,
    route: &Route,
    path: &'a str,
    found: &Match,
) -> UpstreamPath<'a> {
    let base = match service_path {
        None | Some("") => "/",
        Some(base) => base,
    };
    let (prefix, rest) = match path.split_at_checked(found.matched.len()) {
        Some((prefix, rest)) if !prefix.is_empty() => (prefix, rest),
        _ => ("", path.strip_prefix('/').unwrap_or(path)),
    };
    let bare = base.strip_suffix('/').unwrap_or(base);
    let rest = without_climb(rest);
    let joined = if !route.strip_path {
        if path == "/" { [base, "", ""] } else { [bare, "", path] }
    } else if rest.is_empty() {
        let slash = path.ends_with('/') && (path.len() > 1 || base.ends_with('/'));
        [bare, if slash || base == "/" { "/" } else { "" }, ""]
    } else {
        [bare, if rest.starts_with('/') { "" } else { "/" }, rest]
    };
    UpstreamPath { path: escape(joined), stripped_prefix: (route.strip_path && prefix.len() > 1).then_some(prefix) }
}

/// A prefix that ends inside a segment can leave a dot segment behind (`/route` off `/route../x`), plain or under percent signs or
/// parameters. It is dropped with its slash, so that the service path cannot be left.
fn without_climb(mut rest: &str) -> &str {
    while let Some(len) = HiddenBytes::new(rest).leading_dot_segment() {
        rest = rest.get(len..).unwrap_or_default();
    }
    rest
}

/// Escapes what a request line cannot carry. Triplets in it stay.
fn escape<'a>(parts: [&'a str; 3]) -> Cow<'a, str> {
    let clean = |part: &str| part.bytes().all(stays);
    match parts {
        [one, "", ""] | ["", one, ""] | ["", "", one] if clean(one) => Cow::Borrowed(one),
        _ => {
            let mut out = String::with_capacity(parts.iter().map(|part| part.len()).sum());
            for part in parts {
                if clean(part) {
                    out.push_str(part);
                    continue;
                }
                for byte in part.bytes() {
                    if stays(byte) {
                        out.push(char::from(byte));
                    } else {
                        // Writing to a String does not fail.
                        let _ = write!(out, "%{byte:02X}");
                    }
                }
            }
            Cow::Owned(out)
        }
    }
}

/// RFC 3986's reserved and unreserved characters, and the percent sign of the triplets kept by `normalise`.
const fn stays(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'#'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b'/'
                | b':'
                | b';'
                | b'='
                | b'?'
                | b'@'
                | b'['
                | b']'
                | b'%'
        )
}
