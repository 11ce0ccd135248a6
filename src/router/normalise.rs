//! The one form of a path: what routing compares, plugins see and, escaped again, the service gets.
//!
//! As Kong's: percent triplets of reserved characters (RFC 3986) stay, in capitals; all others are decoded; dot
//! segments are removed and runs of `/` merged. Escaping it again ([`super::upstream_path`]) gives what the service
//! gets, so the service decides on nothing that routing did not see.
//!
//! # What is refused
//!
//! A path that servers read in different ways must not reach one: the route (and with it the authentication) was chosen
//! for one reading.
//!
//! | in the path | Kong | here |
//! |---|---|---|
//! | malformed triplet (`%zz`, `%4`), `%00`, dot segments that climb above the root | 400 (nginx) | 400 |
//! | other control characters, raw or encoded | raw ones 400 (nginx), encoded ones forwarded | 400 |
//! | `\`, `%5C` | forwarded as `%5C` | 400: some servers take it for `/` |
//! | a dot segment under encoded slashes or parameters: `..%2Fx`, `a%2F..`, `..;x` | forwarded | 400: a climb for servers that decode first, or cut parameters off |
//! | any of these encoded more than once: `%252e%252e/`, `%255C` | forwarded | 400: a climb for servers that decode twice |
//! | `#`, and a path without leading `/` | undefined, 400 | 400 |
//! | bytes that are not UTF-8 once decoded | 404: no route | 404, [`PathFault::NotUtf8`] |
//! | `%2F`, `%25`, `%3B`, `;` elsewhere | forwarded as they are | same: names with a slash or percent sign and matrix parameters are in use |

use std::borrow::Cow;

use http::StatusCode;

/// Why a path is not routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    #[error("path climbs above the root")]
    AboveRoot,
    #[error("path contains a backslash")]
    Backslash,
    #[error("path contains a control character")]
    Control,
    #[error("path contains a hidden dot segment")]
    HiddenDotSegment,
    #[error("path contains a malformed percent triplet")]
    MalformedTriplet,
    #[error("path is not absolute, or has a fragment")]
    NotAPath,
    #[error("path is not UTF-8")]
    NotUtf8,
}

impl PathFault {
    /// 404 where Kong would find no route, else 400.
    pub fn status(self) -> StatusCode {
        match self {
            Self::NotUtf8 => StatusCode::NOT_FOUND,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Normalises a path as sent, without its query. Borrows when nothing had to change. An empty path (absolute form
/// without one) is `/`.
pub fn normalise<P: AsRef<[u8]> + ?Sized>(raw: &P) -> Result<Cow<'_, str>, PathFault> {
    let raw = raw.as_ref();
    match raw.first() {
        None => return Ok(Cow::Borrowed("/")),
        Some(b'/') => {}
        Some(_) => return Err(PathFault::NotAPath),
    }
    let flaws = Flaws::of(raw);
    let text = match flaws.bytes {
        false => Cow::Borrowed(raw),
        true => decode(raw)?,
    };
    let text = match text {
        Cow::Borrowed(text) => Cow::Borrowed(std::str::from_utf8(text).map_err(|_| PathFault::NotUtf8)?),
        Cow::Owned(text) => Cow::Owned(String::from_utf8(text).map_err(|_| PathFault::NotUtf8)?),
    };
    // Decoding can have brought dots forth.
    let text = match flaws.segments || (flaws.bytes && Flaws::of(text.as_bytes()).segments) {
        false => text,
        true => Cow::Owned(without_dot_segments(&text)?),
    };
    if flaws.bytes {
        HiddenBytes::new(&text).check()?;
    }
    Ok(text)
}

/// What a first scan finds, to leave most paths as they are.
struct Flaws {
    /// There are bytes to decode, to refuse or to look at twice.
    bytes: bool,
    /// There are empty or dot segments.
    segments: bool,
}

impl Flaws {
    fn of(raw: &[u8]) -> Self {
        let mut flaws = Self { bytes: false, segments: false };
        let mut rest = raw;
        while let [byte, after @ ..] = rest {
            match byte {
                b'/' => {
                    flaws.segments |=
                        matches!(after, [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..]);
                }
                b'%' | b'\\' | b'#' | b'?' | b';' => flaws.bytes = true,
                _ => flaws.bytes |= byte.is_ascii_control() || *byte == b' ',
            }
            rest = after;
        }
        flaws
    }
}

/// Decodes what is not reserved and refuses what no path may hold.
fn decode(raw: &[u8]) -> Result<Cow<'_, [u8]>, PathFault> {
    if memchr::memchr(b'%', raw).is_none() {
        raw.iter().try_for_each(|&byte| acceptable(byte))?;
        return Ok(Cow::Borrowed(raw));
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            acceptable(*byte)?;
            out.push(*byte);
            continue;
        }
        let (value, after) = triplet(after).ok_or(PathFault::MalformedTriplet)?;
        rest = after;
        if is_reserved(value) {
            out.push(b'%');
            out.extend(hex(value));
        } else if value == b' ' {
            out.push(b' ');
        } else {
            acceptable(value)?;
            out.push(value);
        }
    }
    Ok(Cow::Owned(out))
}

/// Two hexadecimal digits and what follows them.
fn triplet(after: &[u8]) -> Option<(u8, &[u8])> {
    let [high, low, rest @ ..] = after else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(high)? << 4 | digit(low)?, rest))
}

fn hex(value: u8) -> [u8; 2] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'A' + (nibble - 10) };
    [digit(value >> 4), digit(value & 15)]
}

/// Whether a byte may stand in a path, raw or decoded. A raw space cannot arrive over HTTP/1 and is no part of a path
/// over HTTP/2.
fn acceptable(byte: u8) -> Result<(), PathFault> {
    match byte {
        b'\\' => Err(PathFault::Backslash),
        b'#' | b'?' => Err(PathFault::NotAPath),
        b' ' => Err(PathFault::Control),
        _ if byte.is_ascii_control() => Err(PathFault::Control),
        _ => Ok(()),
    }
}

/// RFC 3986 §2.2, and the percent sign itself: decoding these would change what the path means.
const fn is_reserved(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'*'
            | b'\''
            | b'('
            | b')'
            | b';'
            | b':'
            | b'@'
            | b'&'
            | b'='
            | b'+'
            | b'$'
            | b','
            | b'/'
            | b'?'
            | b'%'
            | b'#'
            | b'['
            | b']'
    )
}

/// RFC 3986 §5.2.4, merging slashes on the way.
fn without_dot_segments(path: &str) -> Result<String, PathFault> {
    let mut out = String::with_capacity(path.len());
    // Of the last segment: whether what stands before it must end in a slash.
    let mut open = true;
    for segment in path.split('/').skip(1) {
        open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                let parent = out.rfind('/').ok_or(PathFault::AboveRoot)?;
                out.truncate(parent);
            }
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    if open {
        out.push('/');
    }
    Ok(out)
}

/// The bytes of a normalised path as a server sees them that decodes as often as it can, each with the offset behind
/// it.
pub(super) struct HiddenBytes<'a> {
    path: &'a [u8],
    at: usize,
}

impl<'a> HiddenBytes<'a> {
    pub(super) fn new(path: &'a str) -> Self {
        Self { path: path.as_bytes(), at: 0 }
    }

    fn check(self) -> Result<(), PathFault> {
        let mut segment = Segment::default();
        for (byte, _) in self {
            match byte {
                b'\\' => return Err(PathFault::Backslash),
                b'/' => {
                    if segment.is_dots() {
                        return Err(PathFault::HiddenDotSegment);
                    }
                    segment = Segment::default();
                }
                _ if byte.is_ascii_control() => return Err(PathFault::Control),
                _ => segment.push(byte),
            }
        }
        if segment.is_dots() { Err(PathFault::HiddenDotSegment) } else { Ok(()) }
    }

    /// The length of a dot segment at the start, with the slash behind it.
    pub(super) fn leading_dot_segment(self) -> Option<usize> {
        let mut segment = Segment::default();
        let all = self.path.len();
        for (byte, end) in self {
            match byte {
                b'/' => return segment.is_dots().then_some(end),
                _ => segment.push(byte),
            }
            if segment.other {
                return None;
            }
        }
        segment.is_dots().then_some(all)
    }
}

impl Iterator for HiddenBytes<'_> {
    type Item = (u8, usize);

    fn next(&mut self) -> Option<(u8, usize)> {
        let mut byte = *self.path.get(self.at)?;
        self.at += 1;
        while byte == b'%'
            && let Some((value, _)) = self.path.get(self.at..).and_then(triplet)
        {
            byte = value;
            self.at += 2;
        }
        Some((byte, self.at))
    }
}

/// Whether a segment is `.` or `..`, parameters behind `;` left aside.
#[derive(Default)]
struct Segment {
    dots: usize,
    other: bool,
    parameters: bool,
}

impl Segment {
    fn push(&mut self, byte: u8) {
        match byte {
            _ if self.parameters => {}
            b';' => self.parameters = true,
            b'.' => self.dots += 1,
            _ => self.other = true,
        }
    }

    fn is_dots(&self) -> bool {
        !self.other && (self.dots == 1 || self.dots == 2)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn normal_forms() {
        for (raw, normal) in [
            ("", "/"),
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/foo/a/../bar", "/foo/bar"),
            ("/foo//bar", "/foo/bar"),
            ("/foo/./bar", "/foo/bar"),
            ("/h%65llo", "/hello"),
            ("/h%65llo/anything/a/../b", "/hello/anything/b"),
            ("/anything/cat%20and%20dog", "/anything/cat and dog"),
            ("/endel%2fst", "/endel%2Fst"),
            ("/default/a%2Fb%20c/../d", "/default/d"),
            ("/route%2E%2e/req", "/route../req"),
            ("/%7euser/%41", "/~user/A"),
            (
                "/%21%2a%27%28%29%3B%3a%40%26%3d%2b%24%2c%2f%3f%25%23%5b%5d",
                "/%21%2A%27%28%29%3B%3A%40%26%3D%2B%24%2C%2F%3F%25%23%5B%5D",
            ),
            ("/!*'();:@&=+$,[]", "/!*'();:@&=+$,[]"),
            ("/caf%c3%A9/caf\u{e9}", "/caf\u{e9}/caf\u{e9}"),
            ("/%22%3c%3E%5e%60%7b%7C%7d", "/\"<>^`{|}"),
            ("//", "/"),
            ("/a//", "/a/"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/a/..", "/"),
            ("/a/../", "/"),
            ("/a//../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e", "/"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            ("/a/..b/.c", "/a/..b/.c"),
            ("/100%25", "/100%25"),
            ("/100%2541", "/100%2541"),
            ("/list;a=1;b=2/x", "/list;a=1;b=2/x"),
            ("/a;x=../b", "/a;x=../b"),
        ] {
            assert_eq!(normalise(raw).as_deref(), Ok(normal), "{raw}");
            assert_eq!(normalise(normal.replace(' ', "%20").as_str()).as_deref(), Ok(normal), "{raw}, again");
        }
    }

    #[test]
    fn refusals() {
        use PathFault::*;
        for (raw, fault) in [
            ("*", NotAPath),
            ("a/b", NotAPath),
            ("http://a.test/", NotAPath),
            ("/a#b", NotAPath),
            ("/a%", MalformedTriplet),
            ("/a%4", MalformedTriplet),
            ("/a%zz", MalformedTriplet),
            ("/a%u002e", MalformedTriplet),
            ("/a%+1", MalformedTriplet),
            ("/a%00", Control),
            ("/a%0d%0Ax", Control),
            ("/a%7f", Control),
            ("/a\tb", Control),
            ("/a b", Control),
            ("/a\0", Control),
            ("/a\\b", Backslash),
            ("/a%5cb", Backslash),
            ("/a%255cb", Backslash),
            ("/a%25255Cb", Backslash),
            ("/a%2500", Control),
            ("/..", AboveRoot),
            ("/../", AboveRoot),
            ("/a/../../b", AboveRoot),
            ("/%2e%2e/b", AboveRoot),
            ("/open/..%2fadmin", HiddenDotSegment),
            ("/open/%2e%2e%2fadmin", HiddenDotSegment),
            ("/open/a%2F..", HiddenDotSegment),
            ("/open/a%2F../b", HiddenDotSegment),
            ("/open/a%2F.%2Fb", HiddenDotSegment),
            ("/open/%252e%252e/admin", HiddenDotSegment),
            ("/open/%25252E./admin", HiddenDotSegment),
            ("/open/%252e%252e%252fadmin", HiddenDotSegment),
            ("/open/..;/admin", HiddenDotSegment),
            ("/open/..;x=y/admin", HiddenDotSegment),
            ("/open/.;/admin", HiddenDotSegment),
            ("/open/..%3b/admin", HiddenDotSegment),
            ("/open/..%253Bx/admin", HiddenDotSegment),
            ("/open/..;", HiddenDotSegment),
            ("/open/..;a%2Fadmin", HiddenDotSegment),
            ("/open/%c0%ae%c0%ae/admin", NotUtf8),
            ("/caf%e9", NotUtf8),
        ] {
            assert_eq!(normalise(raw), Err(fault), "{raw}");
            let status = if fault == NotUtf8 { 404 } else { 400 };
            assert_eq!(fault.status(), status);
        }
        assert_eq!(normalise(b"/caf\xe9"), Err(NotUtf8));
    }

    #[test]
    fn normal_paths_are_not_copied() {
        for raw in ["/", "/a/b.c/~d-e_f", "/a:b@c;d=e", "/.well-known/openid-configuration", "/caf\u{e9}", ""] {
            assert!(matches!(normalise(raw), Ok(Cow::Borrowed(_))), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_do(raw in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = normalise(&raw);
        }

        /// What passes is a fixed point once escaped, has no dot or empty segments, and stays so however often it is
        /// decoded.
        #[test]
        fn what_passes_is_normal(raw in "/([ab./;]|%2[EeFf5]|%[35][bBcC]|%25(25)?2[eEfF]|\u{e9}|%c3%a9|%20){0,12}") {
            let Ok(normal) = normalise(&raw) else { return Ok(()) };
            let escaped = crate::router::upstream_path::escape([&normal, "", ""]);
            prop_assert_eq!(normalise(&*escaped), Ok(normal.clone()));
            let mut seen = normal.into_owned();
            for _ in 0..4 {
                prop_assert!(seen.starts_with('/'));
                let names: Vec<_> = seen.split('/').skip(1).map(|segment| segment.split(';').next().unwrap()).collect();
                prop_assert!(!names.iter().any(|name| matches!(*name, "." | "..")), "{}", seen);
                prop_assert!(!seen.contains('\\'));
                seen = percent_encoding::percent_decode_str(&seen).decode_utf8_lossy().into_owned();
            }
        }
    }
}
