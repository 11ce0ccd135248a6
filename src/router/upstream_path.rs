//! The path a service gets: service path and request path joined, with what the route matched taken off.
//!
//! Kong's `path_handling: v0`. `v1` does nothing in router flavour `traditional_compatible`, there as here; the
//! compiler warns of it.

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
    /// Value of `X-Forwarded-Prefix`: what was taken off, if it was more than `/`. Not escaped (Kong's form), free of
    /// control bytes.
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

/// A prefix that ends inside a segment can leave a dot segment behind (`/route` off `/route../x`), plain or under
/// percent signs or parameters. It is dropped with its slash, so that the service path cannot be left.
fn without_climb(mut rest: &str) -> &str {
    while let Some(len) = HiddenBytes::new(rest).leading_dot_segment() {
        rest = rest.get(len..).unwrap_or_default();
    }
    rest
}

/// Escapes what a request line cannot carry. Triplets in it stay.
pub(super) fn escape<'a>(parts: [&'a str; 3]) -> Cow<'a, str> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::{PathHandling, Protocol};
    use crate::router::{Lookup, Router, normalise};

    fn route(path: Option<&str>, strip: bool) -> Route {
        Route {
            id: uuid::Uuid::from_u128(1),
            created_at: 0,
            updated_at: 0,
            name: None,
            protocols: vec![Protocol::Http],
            methods: Some(vec!["GET".into()]),
            hosts: None,
            paths: path.map(|path| vec![path.into()]),
            headers: None,
            snis: None,
            sources: None,
            destinations: None,
            https_redirect_status_code: 426,
            regex_priority: 0,
            strip_path: strip,
            path_handling: PathHandling::V0,
            preserve_host: false,
            request_buffering: true,
            response_buffering: true,
            service: None,
            tags: None,
        }
    }

    /// Path and `X-Forwarded-Prefix` of a request as sent.
    fn joined(service: Option<&str>, route: &Route, raw: &str) -> (String, Option<String>) {
        let path = normalise(raw).unwrap();
        let router = Router::compile(&[route], &mut Vec::new());
        let headers = http::HeaderMap::new();
        let lookup = Lookup {
            method: "GET",
            host: "",
            host_port: None,
            listen_port: 80,
            path: &path,
            headers: &headers,
            tls: false,
            sni: None,
        };
        let found = router.find(&lookup).unwrap();
        let upstream = upstream_path(service, route, &path, &found);
        (upstream.path.into_owned(), upstream.stripped_prefix.map(str::to_string))
    }

    const NO: &[bool] = &[false];
    const YES: &[bool] = &[true];
    const ANY: &[bool] = &[false, true];

    /// Kong's `path_handling: v0`, row by row.
    #[test]
    fn joins_as_kong_does() {
        for (service, path, strip, request, upstream) in [
            ("/", Some("/"), ANY, "/", "/"),
            ("/", Some("/"), ANY, "/route", "/route"),
            ("/", Some("/"), ANY, "/route/", "/route/"),
            ("/", Some("/route"), NO, "/route", "/route"),
            ("/", Some("/route"), NO, "/route/", "/route/"),
            ("/", Some("/route"), NO, "/routereq", "/routereq"),
            ("/", Some("/route"), NO, "/route/req", "/route/req"),
            ("/", Some("/route"), YES, "/route", "/"),
            ("/", Some("/route"), YES, "/route/", "/"),
            ("/", Some("/route"), YES, "/routereq", "/req"),
            ("/", Some("/route"), YES, "/route/req", "/req"),
            ("/", Some("/route/"), NO, "/route/", "/route/"),
            ("/", Some("/route/"), NO, "/route/req", "/route/req"),
            ("/", Some("/route/"), YES, "/route/", "/"),
            ("/", Some("/route/"), YES, "/route/req", "/req"),
            ("/srv", Some("/rou"), NO, "/roureq", "/srv/roureq"),
            ("/srv", Some("/rou"), YES, "/roureq", "/srv/req"),
            ("/srv/", Some("/rou"), NO, "/rou", "/srv/rou"),
            ("/srv/", Some("/rou"), YES, "/rou", "/srv"),
            ("/service", Some("/"), ANY, "/", "/service"),
            ("/service", Some("/"), ANY, "/route", "/service/route"),
            ("/service", Some("/"), ANY, "/route/", "/service/route/"),
            ("/service", Some("/route"), NO, "/route", "/service/route"),
            ("/service", Some("/route"), NO, "/route/", "/service/route/"),
            ("/service", Some("/route"), NO, "/routereq", "/service/routereq"),
            ("/service", Some("/route"), YES, "/route", "/service"),
            ("/service", Some("/route"), YES, "/route/", "/service/"),
            ("/service", Some("/route"), YES, "/routereq", "/service/req"),
            ("/service", Some("/route"), YES, "/route/req", "/service/req"),
            ("/service", Some("/route/"), NO, "/route/", "/service/route/"),
            ("/service", Some("/route/"), NO, "/route/req", "/service/route/req"),
            ("/service", Some("/route/"), YES, "/route/", "/service/"),
            ("/service", Some("/route/"), YES, "/route/req", "/service/req"),
            ("/service/", Some("/"), ANY, "/", "/service/"),
            ("/service/", Some("/"), ANY, "/route", "/service/route"),
            ("/service/", Some("/"), ANY, "/route/", "/service/route/"),
            ("/service/", Some("/route"), NO, "/route", "/service/route"),
            ("/service/", Some("/route"), NO, "/route/", "/service/route/"),
            ("/service/", Some("/route"), NO, "/routereq", "/service/routereq"),
            ("/service/", Some("/route"), YES, "/route", "/service"),
            ("/service/", Some("/route"), YES, "/route/", "/service/"),
            ("/service/", Some("/route"), YES, "/routereq", "/service/req"),
            ("/service/", Some("/route/"), NO, "/route/", "/service/route/"),
            ("/service/", Some("/route/"), YES, "/route/", "/service/"),
            ("/service/", Some("/route/"), YES, "/route/req", "/service/req"),
            ("/", None, ANY, "/", "/"),
            ("/", None, ANY, "/route", "/route"),
            ("/", None, ANY, "/route/", "/route/"),
            ("/service", None, ANY, "/", "/service"),
            ("/service", None, ANY, "/route", "/service/route"),
            ("/service", None, ANY, "/route/", "/service/route/"),
            ("/service/", None, ANY, "/", "/service/"),
            ("/service/", None, ANY, "/route", "/service/route"),
            ("/service/", None, ANY, "/route/", "/service/route/"),
            ("/service", Some("/route"), YES, "/route./req", "/service/req"),
            ("/service", Some("/route"), YES, "/route../req", "/service/req"),
            ("/service", Some("/route"), YES, "/route%2E%2E/req", "/service/req"),
            ("/service", Some("/route"), YES, "/route..", "/service"),
            ("/service", Some("/route"), NO, "/route./req", "/service/route./req"),
            ("/service", Some("/route"), NO, "/route../req", "/service/route../req"),
            ("/service", Some("/route"), NO, "/route%2e%2E/req", "/service/route../req"),
        ] {
            for &strip in strip {
                let route = route(path, strip);
                let said = format!("{service} + {path:?}, strip {strip}, {request}");
                assert_eq!(joined(Some(service), &route, request).0, upstream, "{said}");
                if service == "/" {
                    assert_eq!(joined(None, &route, request).0, upstream, "{said}, no service path");
                }
            }
        }
    }

    #[test]
    fn the_stripped_prefix_is_told_when_it_is_more_than_a_slash() {
        let prefix = |path: Option<&str>, strip, raw: &str| joined(None, &route(path, strip), raw).1;
        assert_eq!(prefix(Some("/hdr"), true, "/hdr/x").as_deref(), Some("/hdr"));
        assert_eq!(prefix(Some("/hdr"), false, "/hdr/x"), None);
        assert_eq!(prefix(Some("/"), true, "/x"), None);
        assert_eq!(prefix(None, true, "/x"), None);
        assert_eq!(prefix(Some(r"~/u/\d+"), true, "/u/42/x").as_deref(), Some("/u/42"));
    }

    #[test]
    fn a_regex_strips_what_it_matched() {
        let strips = |path: &str, raw: &str| joined(Some("/srv"), &route(Some(path), true), raw).0;
        assert_eq!(strips(r"~/users/\d+/profile", "/users/123/profile/hello"), "/srv/hello");
        assert_eq!(strips(r"~/users/\d+/profile$", "/users/123/profile"), "/srv");
        assert_eq!(strips("~/[a-z]+", "/caf\u{e9}/x"), "/srv/%C3%A9/x");
        assert_eq!(strips("~/?", "/x"), "/srv/x");
    }

    #[test]
    fn escapes_again_what_was_decoded() {
        let whole = |raw: &str| joined(None, &route(Some("/"), false), raw).0;
        assert_eq!(whole("/world/cat%20and%20dog"), "/world/cat%20and%20dog");
        assert_eq!(whole("/caf%c3%a9"), "/caf%C3%A9");
        assert_eq!(whole("/a%2fb%3F"), "/a%2Fb%3F");
        assert_eq!(whole("/%22|^"), "/%22%7C%5E");
        let stripped = |path: &str, raw: &str| joined(None, &route(Some(path), true), raw).0;
        assert_eq!(stripped("/hello", "/h%65llo/anything/a/../b"), "/anything/b");
        assert_eq!(stripped("/endel%2Fst", "/endel%2Fst"), "/");
        assert_eq!(joined(Some("/caf\u{e9}"), &route(Some("/"), true), "/x").0, "/caf%C3%A9/x");
    }

    #[test]
    fn what_is_left_does_not_climb() {
        let strips = |raw: &str| joined(Some("/srv"), &route(Some("/route"), true), raw).0;
        for raw in ["/route../req", "/route..%2Freq", "/route..;x/req", "/route%252e./req", "/route.%252freq"] {
            assert_eq!(strips(raw), "/srv/req", "{raw}");
        }
        assert_eq!(strips("/route..."), "/srv/...");
        assert_eq!(strips("/route..a/req"), "/srv/..a/req");
    }

    #[test]
    fn nothing_is_copied_where_nothing_changes() {
        let route = route(Some("/route"), true);
        let found = Match { route: 0, matched: crate::router::Matched::Prefix(6) };
        let upstream = upstream_path(None, &route, "/route/req", &found);
        assert!(matches!(upstream.path, Cow::Borrowed("/req")));
    }
}
