//! The parts of a `multipart/form-data` body (RFC 7578), with their places, so that what is read is also what can be
//! taken out.

use std::borrow::Cow;
use std::ops::Range;

/// One part.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) content: &'a [u8],
    /// Where it stands in the body, the delimiter before it included.
    place: Range<usize>,
}

/// The parts of a whole body; `None` when it is not one, the last delimiter included.
pub(super) fn parts<'a>(content_type: &str, body: &'a [u8]) -> Option<Vec<Part<'a>>> {
    let delimiter = format!("--{}", parameter(content_type, "boundary")?);
    let mut delimiters = memchr::memmem::find_iter(body, delimiter.as_bytes())
        .filter(|&at| at == 0 || body.get(..at).is_some_and(|before| before.ends_with(b"\n")));
    let mut parts = Vec::new();
    let mut at = delimiters.next()?;
    loop {
        let inside = at + delimiter.len();
        if body.get(inside..)?.starts_with(b"--") {
            return Some(parts);
        }
        let next = delimiters.next()?;
        parts.extend(part(body.get(inside..next)?, at..next));
        at = next;
    }
}

/// The body without the parts of some names; `None` when there are none.
pub(super) fn without(content_type: &str, body: &[u8], names: &[&str]) -> Option<Vec<u8>> {
    let mut kept = Vec::with_capacity(body.len());
    let mut from = 0;
    for part in parts(content_type, body)?.iter().filter(|part| names.contains(&&*part.name)) {
        kept.extend_from_slice(body.get(from..part.place.start)?);
        from = part.place.end;
    }
    kept.extend_from_slice(body.get(from..)?);
    (from > 0).then_some(kept)
}

fn part(text: &[u8], place: Range<usize>) -> Option<Part<'_>> {
    let end_of_head = memchr::memmem::find(text, b"\r\n\r\n")?;
    let head = std::str::from_utf8(text.get(..end_of_head)?).ok()?;
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let content = text.get(end_of_head + 4..)?;
    let content = content.strip_suffix(b"\r\n").unwrap_or(content);
    Some(Part { name: parameter(disposition, "name")?, content, place })
}

/// A parameter of a header value such as `form-data; name="key"`.
fn parameter<'a>(value: &'a str, name: &str) -> Option<Cow<'a, str>> {
    value.split(';').skip(1).find_map(|piece| {
        let (there, value) = piece.split_once('=')?;
        let value = value.trim();
        let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        there.trim().eq_ignore_ascii_case(name).then(|| bare.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = r#"multipart/form-data; boundary="xx y""#;
    const BODY: &str = "--xx y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--xx y\r\ncontent-disposition: \
                        form-data; name=key; filename=\"f\"\r\nContent-Type: text/plain\r\n\r\nse--xx ycret\r\n--xx y--\r\n";

    #[test]
    fn parts_are_read_and_taken_out() {
        let read: Vec<_> =
            parts(TYPE, BODY.as_bytes()).unwrap().iter().map(|part| (part.name.to_string(), part.content)).collect();
        assert_eq!(read, [("a".to_owned(), &b"1"[..]), ("key".to_owned(), b"se--xx ycret")]);
        let kept = without(TYPE, BODY.as_bytes(), &["key"]).unwrap();
        assert_eq!(
            String::from_utf8(kept).unwrap(),
            "--xx y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--xx y--\r\n"
        );
        assert_eq!(without(TYPE, BODY.as_bytes(), &["a", "key"]).as_deref(), Some(&b"--xx y--\r\n"[..]));
        assert_eq!(without(TYPE, BODY.as_bytes(), &["b"]), None);
    }

    #[test]
    fn a_body_that_is_cut_off_has_no_parts() {
        assert!(parts(TYPE, &BODY.as_bytes()[..BODY.len() - 6]).is_none());
        assert!(parts(TYPE, b"").is_none());
        assert!(parts("multipart/form-data", BODY.as_bytes()).is_none());
    }
}
