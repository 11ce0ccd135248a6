//! What a request must be like before anything looks at it: framing that cannot be read in two ways, and bounded size.
//!
//! Pingora has refused the worst by now (two lengths, folded lines, `Transfer-Encoding` in HTTP/1.0); what it lets pass and a
//! service might read differently is refused here.

use http::{HeaderMap, Method, Version, header};
use memchr::memmem;
use pingora::http::RequestHeader;
use pingora_core::protocols::http::ServerSession;

use super::options::Limits;
use crate::auth::Reason;

/// Checks size and framing.
///
/// # Errors
/// Why the request is refused; its connection cannot be kept.
pub(super) fn check(session: &ServerSession, limits: &Limits) -> Result<(), Reason> {
    let header = session.req_header();
    let fields = Fields::of(&header.headers);
    size(header, &fields, limits)?;
    framing(header, &fields)?;
    if let Some(http1) = session.as_http1()
        && fields.codings > 0
        && names_length(&http1.get_headers_raw_bytes())
    {
        return Err(Reason::BadRequest);
    }
    Ok(())
}

/// What one look at every field finds: cheaper than a search for each name.
#[derive(Default)]
struct Fields {
    bytes: usize,
    hosts: usize,
    codings: usize,
    lengths: usize,
    credentials: usize,
    /// One that could be read in two ways.
    malformed: bool,
    /// The declared length of the body.
    length: Option<u64>,
}

impl Fields {
    fn of(headers: &HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            let bytes = value.as_bytes();
            fields.bytes += name.as_str().len() + bytes.len() + 4;
            match *name {
                header::HOST => {
                    fields.hosts += 1;
                    fields.malformed |= bytes.is_empty() || !bytes.iter().all(|byte| is_of_host(*byte));
                }
                header::TRANSFER_ENCODING => {
                    fields.codings += 1;
                    fields.malformed |= !bytes.trim_ascii().eq_ignore_ascii_case(b"chunked");
                }
                header::CONTENT_LENGTH => {
                    fields.lengths += 1;
                    fields.malformed |= bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit);
                    fields.length = parse_length(bytes);
                }
                header::AUTHORIZATION => fields.credentials += 1,
                _ => {}
            }
        }
        fields
    }
}

fn size(header: &RequestHeader, fields: &Fields, limits: &Limits) -> Result<(), Reason> {
    if header.raw_path().len() > limits.target_bytes {
        return Err(Reason::TargetTooLong);
    }
    if header.headers.len() > limits.header_count || fields.bytes > limits.header_bytes {
        return Err(Reason::HeadersTooLarge);
    }
    if let (Some(most), Some(length)) = (limits.body_bytes, fields.length)
        && length > most
    {
        return Err(Reason::BodyTooLarge);
    }
    Ok(())
}

/// The declared length of the body.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    parse_length(headers.get(header::CONTENT_LENGTH)?.as_bytes())
}

fn parse_length(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn framing(header: &RequestHeader, fields: &Fields) -> Result<(), Reason> {
    // As nginx: the answer would show the client what we added for the service, who it is and where it comes from.
    if header.method == Method::TRACE {
        return Err(Reason::MethodNotAllowed);
    }
    // RFC 9112 section 3.2; HTTP/2 has `:authority`, which Pingora insists on.
    let nameless = header.version == Version::HTTP_11 && fields.hosts == 0;
    // Which of two would be believed differs between us and a service; nginx refuses them as well.
    let repeated = fields.codings > 1 || fields.lengths > 1 || fields.credentials > 1;
    if nameless || repeated || fields.malformed { Err(Reason::BadRequest) } else { Ok(()) }
}

/// What a host name, an address or a port is written with (RFC 3986 section 3.2.2); nothing that ends it.
const fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'/' | b'\\' | b'?' | b'#' | b'@' | b',' | b'"' | b'<' | b'>')
}

/// Whether a raw header block has a `Content-Length`: Pingora drops it from the parsed header beside a `Transfer-Encoding`.
fn names_length(raw: &[u8]) -> bool {
    const NAME: &[u8] = b"\ncontent-length";
    memmem::find(&raw.to_ascii_lowercase(), NAME).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, fields: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut header = RequestHeader::build("POST", b"/", None).unwrap();
        header.set_version(version);
        for (name, value) in fields {
            header.append_header(*name, *value).unwrap();
        }
        header
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        let of = |request: RequestHeader| framing(&request, &Fields::of(&request.headers));
        let h11 = |fields: &[(&'static str, &'static str)]| of(request(Version::HTTP_11, fields));
        assert_eq!(h11(&[("host", "a"), ("content-length", "3")]), Ok(()));
        assert_eq!(h11(&[("host", "a"), ("transfer-encoding", "Chunked")]), Ok(()));
        assert_eq!(h11(&[("content-length", "3")]), Err(Reason::BadRequest));
        for bad in [
            &[("host", "")][..],
            &[("host", "a b")],
            &[("host", "a/b")],
            &[("host", "a, b")],
            &[("host", "a"), ("content-length", "3, 3")],
            &[("host", "a"), ("content-length", "3"), ("content-length", "3")],
            &[("host", "a"), ("content-length", "+3")],
            &[("host", "a"), ("transfer-encoding", "gzip, chunked")],
            &[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("host", "a"), ("authorization", "a"), ("authorization", "a")],
        ] {
            assert_eq!(h11(bad), Err(Reason::BadRequest), "{bad:?}");
        }
        assert_eq!(of(request(Version::HTTP_10, &[])), Ok(()));
        let mut trace = request(Version::HTTP_11, &[("host", "a")]);
        trace.set_method(Method::TRACE);
        assert_eq!(of(trace), Err(Reason::MethodNotAllowed));
    }

    #[test]
    fn size_is_bounded() {
        let limits =
            Limits { header_count: 3, header_bytes: 40, target_bytes: 1, body_bytes: Some(5), ..Limits::default() };
        let sized = |request: &RequestHeader| size(request, &Fields::of(&request.headers), &limits);
        let of = |fields: &[(&'static str, &'static str)]| sized(&request(Version::HTTP_11, fields));
        assert_eq!(of(&[("a", "b"), ("c", "d"), ("e", "f")]), Ok(()));
        assert_eq!(of(&[("a", "b"), ("a", "b"), ("a", "b"), ("a", "b")]), Err(Reason::HeadersTooLarge));
        assert_eq!(of(&[("a", "0123456789012345678901234567890123456789")]), Err(Reason::HeadersTooLarge));
        assert_eq!(of(&[("content-length", "6")]), Err(Reason::BodyTooLarge));
        let mut long = request(Version::HTTP_11, &[]);
        long.set_raw_path(b"/a").unwrap();
        assert_eq!(sized(&long), Err(Reason::TargetTooLong));
    }

    #[test]
    fn a_dropped_length_is_found_in_the_raw_header() {
        assert!(names_length(b"POST / HTTP/1.1\r\nHost: a\r\nContent-LENGTH: 3\r\n\r\n"));
        assert!(!names_length(b"POST /content-length HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
}
