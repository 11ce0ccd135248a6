//! Where a request carries credentials: query arguments, cookies, header lines.
//!
//! Reads them as nginx and Kong do, limits included: of query arguments and of header lines the first 100 are seen.
//! Values are bytes; nothing is copied that need not be decoded.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode;

/// How many query arguments and header lines are looked at (Kong's `lua_max_uri_args` and `lua_max_req_headers`).
const LIMIT: usize = 100;

/// A query argument: decoded name, and decoded value unless there was no `=`.
pub type Argument<'a> = (Cow<'a, [u8]>, Option<Cow<'a, [u8]>>);

/// The arguments of a query in their order, those without a name left out.
pub fn arguments(query: &str) -> impl Iterator<Item = Argument<'_>> {
    query.split('&').take(LIMIT).filter_map(argument)
}

/// All arguments of a query or form, for who does more than look for a credential.
pub(super) fn all_arguments(text: &str) -> impl Iterator<Item = Argument<'_>> {
    text.split('&').filter_map(argument)
}

fn argument(piece: &str) -> Option<Argument<'_>> {
    let (name, value) = match piece.split_once('=') {
        Some((name, value)) => (name, Some(decode(value))),
        None => (piece, None),
    };
    (!name.is_empty()).then(|| (decode(name), value))
}

/// Percent-decodes an argument; `+` is a space. Broken escapes stay as they are.
pub(super) fn decode(text: &str) -> Cow<'_, [u8]> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Cow::Borrowed(text.as_bytes());
    }
    let spaced: Vec<u8> = text.bytes().map(|byte| if byte == b'+' { b' ' } else { byte }).collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

/// A header to look for, by the name in a configuration.
#[derive(Clone, Debug)]
pub struct HeaderSource {
    name: HeaderName,
    /// `X_Api_Key` in a configuration also means `x-api-key`.
    folded: Option<HeaderName>,
}

impl HeaderSource {
    /// `None` when no header can have that name.
    pub fn new(name: &str) -> Option<Self> {
        let folded = name.contains('_').then(|| HeaderName::from_bytes(name.replace('_', "-").as_bytes()).ok());
        Some(Self { name: HeaderName::from_bytes(name.as_bytes()).ok()?, folded: folded.flatten() })
    }

    pub fn is_authorization(&self) -> bool {
        self.name == AUTHORIZATION
    }

    pub fn name(&self) -> &HeaderName {
        &self.name
    }

    /// The values of its lines, in their order.
    pub fn lines<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a HeaderValue> {
        let name = match &self.folded {
            Some(folded) if !headers.contains_key(&self.name) => folded,
            _ => &self.name,
        };
        // All lines of a name stand where its first one does.
        let most = match headers.len() {
            0..=LIMIT => usize::MAX,
            _ => headers.iter().take(LIMIT).filter(|(there, _)| *there == name).count(),
        };
        headers.get_all(name).iter().take(most)
    }
}

/// The value of a cookie as nginx's `$cookie_name` has it: over all `Cookie` lines, names without regard to case, the
/// first one wins.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers.get_all(COOKIE).iter().find_map(|line| cookie_in(line.as_bytes(), name.as_bytes()))
}

fn cookie_in<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = line;
    while !rest.is_empty() {
        if let Some((there, after)) = rest.split_at_checked(name.len())
            && there.eq_ignore_ascii_case(name)
            && let [b'=', value @ ..] = skip_spaces(after)
        {
            let value = skip_spaces(value);
            return value.split(|&byte| byte == b';').next();
        }
        rest = match memchr::memchr2(b';', b',', rest) {
            Some(end) => skip_spaces(rest.get(end + 1..).unwrap_or_default()),
            None => &[],
        };
    }
    None
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|&&byte| byte == b' ').count();
    text.get(spaces..).unwrap_or_default()
}

/// What follows `Bearer` or `bearer` and white space, wherever that stands in a header's value: Kong searches
/// `\s*[Bb]earer\s+(.+)`. The token goes to the end of the line.
pub fn bearer(value: &[u8]) -> Option<&[u8]> {
    // nginx cuts white space around a value off; not every parser before us does.
    let value = value.trim_ascii();
    // What nearly every client sends needs no search.
    if let [b'B' | b'b', b'e', b'a', b'r', b'e', b'r', b' ', token @ ..] = value
        && token.first().is_some_and(|byte| !is_space(*byte))
    {
        return Some(token);
    }
    memchr::memmem::find_iter(value, b"earer").find_map(|at| {
        let before = value.get(at.checked_sub(1)?)?;
        let after = value.get(at + 5..)?;
        let token = after.get(after.iter().take_while(|byte| is_space(**byte)).count()..)?;
        (matches!(before, b'B' | b'b') && token.len() < after.len() && !token.is_empty()).then_some(token)
    })
}

/// `\s` of a regular expression.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests;
