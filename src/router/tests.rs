//! What the parts do together.

use super::*;
use crate::entity::{PathHandling, Protocol, Route};

#[test]
fn splits_hosts() {
    for (authority, host, port) in [
        ("a.test", "a.test", None),
        ("a.test:80", "a.test", Some(80)),
        ("a.test:", "a.test:", None),
        ("a.test:+80", "a.test:+80", None),
        ("a.test:65536", "a.test:65536", None),
        ("[::1]", "[::1]", None),
        ("[::1]:80", "[::1]", Some(80)),
        ("::1:80", "::1:80", None),
        ("a.*:80", "a.*", Some(80)),
    ] {
        assert_eq!(split_host(authority), (host, port), "{authority}");
    }
}
