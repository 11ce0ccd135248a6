//! The proxy's own error answers: which form the client gets, and what stands in it.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;

use super::options::ErrorType;

/// The form for an error raised while routing (Kong's `error`): by `Accept`, else JSON.
pub fn negotiate(headers: &HeaderMap) -> ErrorType {
    headers.get(header::ACCEPT).and_then(accepted).unwrap_or(ErrorType::Json)
}

/// The form for an error of the proxy's machinery (bad request, 502, 504): by `Accept`, else the type of the request's body,
/// else the configured default.
pub fn negotiate_generated(headers: &HeaderMap, default: ErrorType) -> ErrorType {
    let Some(wish) = headers.get(header::ACCEPT).or_else(|| headers.get(header::CONTENT_TYPE)) else { return default };
    accepted(wish).unwrap_or(ErrorType::Json)
}

/// The acceptable form with the highest weight; the first of equals.
fn accepted(accept: &HeaderValue) -> Option<ErrorType> {
    let text = accept.to_str().ok()?;
    let mut best: Option<(ErrorType, f32)> = None;
    for item in text.split(',') {
        let mut parts = item.split(';');
        let Some(form) = parts.next().and_then(|media_type| form_of(media_type.trim())) else { continue };
        let weight = parts
            .filter_map(|parameter| {
                let (name, value) = parameter.split_once('=')?;
                name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().unwrap_or(0.0))
            })
            .next()
            .unwrap_or(1.0);
        if weight > best.map_or(0.0, |(_, best)| best) {
            best = Some((form, weight));
        }
    }
    best.map(|(form, _)| form)
}

fn form_of(media_type: &str) -> Option<ErrorType> {
    let lower = media_type.to_ascii_lowercase();
    match lower.as_str() {
        "*/*" | "application/*" => Some(ErrorType::Json),
        "text/*" => Some(ErrorType::Plain),
        other => ErrorType::from_media_type(other),
    }
}

impl ErrorType {
    /// The `Content-Type` of this form.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
            Self::Plain => "text/plain; charset=utf-8",
            Self::Xml => "application/xml; charset=utf-8",
        }
    }

    /// The body of this form. The message is ours or a configured name, never what a client sent; it is escaped all the same.
    pub fn body(self, message: &str, request_id: &str) -> String {
        match self {
            Self::Json => {
                let message = Value::from(message);
                format!("{{\n  \"message\":{message},\n  \"request_id\":\"{request_id}\"\n}}")
            }
            Self::Plain => format!("{message}\nrequest_id: {request_id}\n"),
            Self::Xml => format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<error>\n  <message>{}</message>\n  \
                 <requestid>{request_id}</requestid>\n</error>\n",
                escape(message)
            ),
            Self::Html => format!(
                "<!doctype html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n    <title>Error</title>\n  </head>\n  \
                 <body>\n    <h1>Error</h1>\n    <p>{}.</p>\n    <p>request_id: {request_id}</p>\n  </body>\n</html>\n",
                escape(message)
            ),
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Kong's text for an error of the proxy's machinery.
pub const fn message(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "Bad request",
        404 => "Not found",
        405 => "Method not allowed",
        408 => "Request timeout",
        411 => "Length required",
        412 => "Precondition failed",
        413 => "Payload too large",
        414 => "URI too long",
        417 => "Expectation failed",
        502 => "An invalid response was received from the upstream server",
        503 => "The upstream server is currently unavailable",
        504 => "The upstream server is timing out",
        _ => "An unexpected error occurred",
    }
}

/// The gRPC status that says the same as an HTTP status (Kong's table).
pub const fn grpc_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200 => "0",
        400 => "3",
        401 => "16",
        403 => "7",
        404 => "5",
        409 => "6",
        429 => "8",
        499 => "1",
        500 => "13",
        501 => "12",
        503 => "14",
        504 => "4",
        _ => "2",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_accept(accept: &'static str) -> ErrorType {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        negotiate(&headers)
    }

    #[test]
    fn the_highest_weight_wins_and_the_first_of_equals() {
        assert_eq!(by_accept("application/json"), ErrorType::Json);
        assert_eq!(by_accept("text/html"), ErrorType::Html);
        assert_eq!(by_accept("text/plain;q=0.5, application/xml"), ErrorType::Xml);
        assert_eq!(by_accept("text/plain, text/html"), ErrorType::Plain);
        assert_eq!(by_accept("text/html;q=0.3, text/plain; q=0.9"), ErrorType::Plain);
        assert_eq!(by_accept("*/*"), ErrorType::Json);
        assert_eq!(by_accept("text/*"), ErrorType::Plain);
        assert_eq!(by_accept("application/*;q=0.8, text/xml;q=0.7"), ErrorType::Json);
        assert_eq!(by_accept("image/png, text/html;q=0.1"), ErrorType::Html);
        assert_eq!(by_accept("image/png"), ErrorType::Json);
        assert_eq!(by_accept("text/html;q=0"), ErrorType::Json);
        assert_eq!(by_accept("TEXT/HTML"), ErrorType::Html);
    }

    #[test]
    fn the_machinery_falls_back_to_the_body_type_and_the_default() {
        let mut headers = HeaderMap::new();
        assert_eq!(negotiate_generated(&headers, ErrorType::Plain), ErrorType::Plain);
        assert_eq!(negotiate_generated(&headers, ErrorType::Html), ErrorType::Html);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        assert_eq!(negotiate_generated(&headers, ErrorType::Plain), ErrorType::Xml);
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/html"));
        assert_eq!(negotiate_generated(&headers, ErrorType::Plain), ErrorType::Html);
    }

    #[test]
    fn bodies_are_kongs() {
        assert_eq!(
            ErrorType::Json.body("a \"b\"", "ff"),
            "{\n  \"message\":\"a \\\"b\\\"\",\n  \"request_id\":\"ff\"\n}"
        );
        assert_eq!(ErrorType::Plain.body("Bad request", "ff"), "Bad request\nrequest_id: ff\n");
        assert!(ErrorType::Xml.body("a<b", "ff").contains("<message>a&lt;b</message>\n  <requestid>ff</requestid>"));
        assert!(ErrorType::Html.body("Gone", "ff").contains("<p>Gone.</p>"));
    }
}
