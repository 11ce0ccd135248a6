//! Protected headers, and those that came last.
//!
//! An issuer writes the same header in front of each token. So every thread remembers a few segments that it has read and found good,
//! byte by byte as they were sent, and does not read them again. A header is no secret and says nothing about a token's signature.

use std::cell::RefCell;
use std::ops::Deref;
use std::sync::Arc;

use super::json::Object;
use super::registered::is_typ_of_access_token;
use super::{Algorithm, Fault, Value};

/// Members of a header, wherever they are kept.
#[derive(Clone, Debug)]
pub enum Header<'a> {
    /// Just read.
    Read(Object<'a>),
    Kept(&'a Object<'a>),
    Known(Arc<Known>),
}

/// A header that is a JSON object, names an algorithm, and has no extension that is not understood.
#[derive(Debug)]
pub struct Known {
    members: Object<'static>,
    algorithm: Algorithm,
    is_of_access_token: bool,
}

impl<'a> Deref for Header<'a> {
    type Target = Object<'a>;

    fn deref(&self) -> &Object<'a> {
        match self {
            Self::Read(members) => members,
            Self::Kept(members) => members,
            Self::Known(known) => &known.members,
        }
    }
}

impl Known {
    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether its `typ` is that of an access token, or there is none.
    pub(super) fn is_of_access_token(&self) -> bool {
        self.is_of_access_token
    }
}

/// How many a thread remembers: of the few issuers that most of its requests are from.
const KNOWN: usize = 4;
/// Longest segment that is remembered, in bytes: with a certificate in it a header may be as long as a token.
const LONGEST: usize = 512;
/// Of so many that are not known one takes another's place: in a stream of headers that never come again the others stay.
const ADMITTED: u32 = 8;

#[derive(Default)]
struct Recent {
    headers: [Option<(Box<[u8]>, Arc<Known>)>; KNOWN],
    missed: u32,
}

thread_local! {
    static RECENT: RefCell<Recent> = RefCell::default();
}

/// What a header's segment was found to say.
pub(super) fn known(segment: &[u8]) -> Option<Arc<Known>> {
    RECENT.with_borrow(|recent| {
        let mut headers = recent.headers.iter().flatten();
        headers.find(|(there, _)| **there == *segment).map(|(_, known)| known.clone())
    })
}

/// Remembers a header in which nothing is wrong.
pub(super) fn remember(segment: &[u8], members: &Object<'_>, algorithm: Algorithm) {
    if segment.len() > LONGEST {
        return;
    }
    RECENT.with_borrow_mut(|recent| {
        let missed = recent.missed;
        recent.missed = missed.wrapping_add(1);
        let drawn = missed.is_multiple_of(ADMITTED).then_some((missed / ADMITTED) as usize % KNOWN);
        let Some(at) = recent.headers.iter().position(Option::is_none).or(drawn) else { return };
        let known = Known { members: members.clone().into_owned(), algorithm, is_of_access_token: is_access(members) };
        if let Some(place) = recent.headers.get_mut(at) {
            *place = Some((segment.into(), Arc::new(known)));
        }
    });
}

/// Whether a header's `typ` is that of an access token, or there is none.
pub(super) fn is_access(members: &Object<'_>) -> bool {
    members.get("typ").is_none_or(is_typ_of_access_token)
}

/// What `alg` says.
///
/// # Errors
/// When it is absent, not a string, unknown, or `none`.
pub(super) fn algorithm(members: &Object<'_>) -> Result<Algorithm, Fault> {
    let name = members.str("alg").ok_or(Fault::Algorithm)?;
    Algorithm::from_name(name).ok_or_else(|| {
        let bare = name.trim_matches(|c: char| c.is_whitespace() || c.is_control());
        if bare.eq_ignore_ascii_case("none") { Fault::AlgorithmNone } else { Fault::Algorithm }
    })
}

/// Whether there is an extension that is not understood (RFC 7515 section 4.1.11, RFC 7797).
pub(super) fn is_critical(members: &Object<'_>) -> bool {
    members.get("crit").is_some() || members.get("b64").is_some_and(|b64| *b64 != Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Jws;

    fn parse(header: &[u8], rest: &str) -> Result<(String, Algorithm, bool), Fault> {
        let token = format!("{}.{rest}", super::super::base64url::encode(header));
        let mut scratch = Vec::new();
        let jws = Jws::parse(token.as_bytes(), &mut scratch)?;
        let header = serde_json::to_string(&*jws.header).unwrap();
        Ok((header, jws.algorithm, jws.registered.is_access_token))
    }

    fn is_known(header: &[u8]) -> bool {
        known(super::super::base64url::encode(header).as_bytes()).is_some()
    }

    #[test]
    fn a_known_header_says_what_it_said_and_hides_no_other_fault() {
        let good = br#"{"alg":"ES256","kid":"one","typ":"logout+jwt"}"#;
        let first = parse(good, "e30.AAAA").unwrap();
        assert!(is_known(good));
        assert_eq!(first, (std::str::from_utf8(good).unwrap().into(), Algorithm::Es256, false));
        assert_eq!(parse(good, "e30.AAAA").unwrap(), first);
        for (rest, fault) in [
            ("e30", Fault::Segments),
            ("e3.AAAA", Fault::PayloadBase64),
            ("ew.AAAA", Fault::PayloadJson),
            ("MQ.AAAA", Fault::PayloadScalar),
            ("W10.AAAA", Fault::PayloadNotObject),
            ("e30.A", Fault::SignatureBase64),
        ] {
            assert_eq!(parse(good, rest).unwrap_err(), fault, "{rest}");
        }
    }

    #[test]
    fn what_is_wrong_is_found_each_time() {
        for (header, fault) in [
            (&br#"{"alg":"none"}"#[..], Fault::AlgorithmNone),
            (br#"{"kid":"one"}"#, Fault::Algorithm),
            (br#"{"alg":"RS256","crit":["exp"]}"#, Fault::Critical),
            (br#"{"alg":"RS256","b64":false}"#, Fault::Critical),
            (br#"{"alg":"RS256","alg":"RS256"}"#, Fault::HeaderJson),
            (b"[]", Fault::Algorithm),
        ] {
            for _ in 0..2 {
                assert_eq!(parse(header, "e30.AAAA").unwrap_err(), fault);
                assert!(!is_known(header));
            }
        }
    }

    #[test]
    fn few_are_remembered_and_those_that_keep_coming_are_among_them() {
        let header = |n: u32| format!(r#"{{"alg":"HS256","kid":"{n}"}}"#).into_bytes();
        for n in 0..1_000 {
            parse(&header(n), "e30.AAAA").unwrap();
        }
        assert_eq!((0..1_000).filter(|n| is_known(&header(*n))).count(), KNOWN);
        assert!((0..100).any(|_| parse(&header(5_000), "e30.AAAA").is_ok() && is_known(&header(5_000))));
        let long = format!(r#"{{"alg":"HS256","x5c":"{}"}}"#, "x".repeat(LONGEST));
        assert!((0..100).all(|_| parse(long.as_bytes(), "e30.AAAA").is_ok() && !is_known(long.as_bytes())));
    }
}
