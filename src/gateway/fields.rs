//! Header fields on their way out: how one is set, added and taken out.
//!
//! Pingora keeps the names of an HTTP/1 message a second time, as they were written, and parses a name anew with every change: a field
//! costs a thousand instructions that way, and two hundred in the one map that HTTP/2 has. Names have no case (RFC 9110 5.1), so that
//! map is what messages leave with, unless `preserve_header_case` asks for the other.

use std::mem;

use http::header::{self, MaxSizeReached};
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::{Error, ErrorType as Fault, Result};

/// Room for what a request or response gets from us, so that a map grows once at most.
const OURS: usize = 16;

/// The header fields of a message that is being put together.
pub(super) trait Fields {
    fn map(&self) -> &HeaderMap;

    /// In place of all fields of that name.
    fn set(&mut self, name: &HeaderName, value: HeaderValue) -> Result<()>;

    /// After the fields of that name.
    fn add(&mut self, name: &HeaderName, value: HeaderValue) -> Result<()>;

    /// Takes out all fields of that name.
    fn remove(&mut self, name: &HeaderName);
}

impl Fields for HeaderMap {
    fn map(&self) -> &HeaderMap {
        self
    }

    fn set(&mut self, name: &HeaderName, value: HeaderValue) -> Result<()> {
        self.try_insert(name.clone(), value).map(drop).map_err(|fault| too_many(&fault))
    }

    fn add(&mut self, name: &HeaderName, value: HeaderValue) -> Result<()> {
        self.try_append(name.clone(), value).map(drop).map_err(|fault| too_many(&fault))
    }

    fn remove(&mut self, name: &HeaderName) {
        HeaderMap::remove(self, name);
    }
}

fn too_many(fault: &MaxSizeReached) -> Box<Error> {
    Error::explain(Fault::InvalidHTTPHeader, fault.to_string()).into_in()
}

/// Pingora's two maps.
macro_rules! cased_fields {
    ($($header:ty),*) => { $(
        impl Fields for $header {
            fn map(&self) -> &HeaderMap {
                &self.headers
            }

            fn set(&mut self, name: &HeaderName, value: HeaderValue) -> Result<()> {
                match cased(name) {
                    Some(cased) => self.insert_header(cased, value),
                    None => self.insert_header(name, value),
                }
            }

            fn add(&mut self, name: &HeaderName, value: HeaderValue) -> Result<()> {
                match cased(name) {
                    Some(cased) => self.append_header(cased, value),
                    None => self.append_header(name, value),
                }
                .map(drop)
            }

            fn remove(&mut self, name: &HeaderName) {
                self.remove_header(name);
            }
        }
    )* };
}

cased_fields!(RequestHeader, ResponseHeader);

/// Changes a request's fields; `preserve` keeps its names as they were written. The target must be set after it: one that a URI cannot
/// hold does not survive.
pub(super) fn of_request(
    request: &mut RequestHeader,
    preserve: bool,
    change: impl FnOnce(&mut dyn Fields) -> Result<()>,
) -> Result<()> {
    if preserve && request.has_case() {
        return change(request);
    }
    let empty = http::Request::new(()).into_parts().0;
    let mut parts = http::request::Parts::from(mem::replace(request, RequestHeader::from(empty)));
    // Without room to grow the map says so when a field is set; `reserve` would panic.
    let _ = parts.headers.try_reserve(OURS);
    let changed = change(&mut parts.headers);
    *request = RequestHeader::from(parts);
    changed
}

/// Changes a response's fields; `preserve` keeps its names as they were written.
pub(super) fn of_response(
    response: &mut ResponseHeader,
    preserve: bool,
    change: impl FnOnce(&mut dyn Fields) -> Result<()>,
) -> Result<()> {
    if preserve && response.has_case() {
        return change(response);
    }
    let phrase = response.get_reason_phrase().filter(|phrase| Some(*phrase) != response.status.canonical_reason());
    let phrase = phrase.map(str::to_owned);
    let empty = http::Response::new(()).into_parts().0;
    let mut parts = http::response::Parts::from(mem::replace(response, ResponseHeader::from(empty)));
    // Without room to grow the map says so when a field is set; `reserve` would panic.
    let _ = parts.headers.try_reserve(OURS);
    let changed = change(&mut parts.headers);
    *response = ResponseHeader::from(parts);
    if phrase.is_some() {
        response.set_reason_phrase(phrase.as_deref())?;
    }
    changed
}

/// The usual spelling of a name that Pingora does not know one for.
pub(super) fn cased(name: &HeaderName) -> Option<&'static str> {
    const CASED: [(HeaderName, &str); 9] = [
        (header::AUTHORIZATION, "Authorization"),
        (header::LOCATION, "Location"),
        (header::PRAGMA, "Pragma"),
        (header::PROXY_AUTHORIZATION, "Proxy-Authorization"),
        (header::REFERRER_POLICY, "Referrer-Policy"),
        (header::RETRY_AFTER, "Retry-After"),
        (header::TE, "TE"),
        (header::UPGRADE, "Upgrade"),
        (header::VIA, "Via"),
    ];
    if let Some((_, cased)) = CASED.iter().find(|(known, _)| known == name) {
        return Some(cased);
    }
    Some(match name.as_str() {
        "www-authenticate" => "WWW-Authenticate",
        "x-anonymous-consumer" => "X-Anonymous-Consumer",
        "x-authenticated-scope" => "X-Authenticated-Scope",
        "x-authenticated-userid" => "X-Authenticated-UserId",
        "x-consumer-custom-id" => "X-Consumer-Custom-ID",
        "x-consumer-id" => "X-Consumer-ID",
        "x-consumer-username" => "X-Consumer-Username",
        "x-credential-identifier" => "X-Credential-Identifier",
        "x-forwarded-for" => "X-Forwarded-For",
        "x-forwarded-host" => "X-Forwarded-Host",
        "x-forwarded-path" => "X-Forwarded-Path",
        "x-forwarded-port" => "X-Forwarded-Port",
        "x-forwarded-prefix" => "X-Forwarded-Prefix",
        "x-forwarded-proto" => "X-Forwarded-Proto",
        "x-kong-proxy-latency" => "X-Kong-Proxy-Latency",
        "x-kong-request-id" => "X-Kong-Request-Id",
        "x-kong-response-latency" => "X-Kong-Response-Latency",
        "x-kong-upstream-latency" => "X-Kong-Upstream-Latency",
        "x-kong-upstream-status" => "X-Kong-Upstream-Status",
        "x-real-ip" => "X-Real-IP",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(request: &RequestHeader) -> String {
        let mut wire = Vec::new();
        request.header_to_h1_wire(&mut wire);
        String::from_utf8(wire).unwrap()
    }

    fn change(fields: &mut dyn Fields) -> Result<()> {
        fields.remove(&header::ACCEPT);
        fields.set(&header::VIA, HeaderValue::from_static("1.1 us"))?;
        fields.add(&HeaderName::from_static("x-real-ip"), HeaderValue::from_static("::1"))
    }

    #[test]
    fn names_keep_their_case_only_when_asked_to() {
        let mut sent = RequestHeader::build("GET", b"/a?b", None).unwrap();
        for (name, value) in [("X-SOAP-Action", "x"), ("aCCept", "*/*"), ("x-real-ip", "9.9.9.9")] {
            sent.append_header(name, value).unwrap();
        }
        let mut kept = sent.clone();
        of_request(&mut kept, true, change).unwrap();
        assert_eq!(wire(&kept), "X-SOAP-Action: x\r\nx-real-ip: 9.9.9.9\r\nX-Real-IP: ::1\r\nVia: 1.1 us\r\n");
        of_request(&mut sent, false, change).unwrap();
        assert_eq!(wire(&sent), "x-soap-action: x\r\nx-real-ip: 9.9.9.9\r\nx-real-ip: ::1\r\nvia: 1.1 us\r\n");
        assert_eq!((sent.method.as_str(), sent.raw_path()), ("GET", b"/a?b".as_slice()));
    }

    #[test]
    fn a_status_line_stays_what_it_was() {
        let mut response = ResponseHeader::build(404, None).unwrap();
        response.set_reason_phrase(Some("Nothing Here")).unwrap();
        of_response(&mut response, false, |fields| fields.set(&header::VIA, HeaderValue::from_static("1.1 us")))
            .unwrap();
        assert_eq!((response.status.as_u16(), response.get_reason_phrase()), (404, Some("Nothing Here")));
        assert_eq!(response.headers.len(), 1);
    }

    #[test]
    fn a_field_too_many_is_a_fault_and_no_panic() {
        let mut fields = HeaderMap::new();
        let full = (0..=u16::MAX).find_map(|n| {
            let name = HeaderName::from_bytes(format!("x-{n}").as_bytes()).unwrap();
            Fields::add(&mut fields, &name, HeaderValue::from_static("v")).err()
        });
        assert!(full.is_some());
    }
}
