//! What a client asks: path, arguments and body, read as Kong reads them.

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::fault::Fault;
use crate::schema::Document;

/// Arguments beyond this many are refused.
const MAX_ARGUMENTS: usize = 1000;

/// A request as the handlers see it.
#[derive(Debug)]
pub struct Incoming {
    pub method: Method,
    /// The path's segments, percent-decoded.
    pub segments: Vec<String>,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Input,
    /// The body as it was sent.
    pub raw: Bytes,
}

/// A body, as far as it can be read without knowing what it is for.
#[derive(Clone, Debug)]
pub enum Input {
    Nothing,
    Json(Document),
    /// Names and values of a form; what they become depends on the schema.
    Form(Vec<(String, String)>),
    /// A declarative file (POST /config).
    Yaml,
}

/// What a body is by its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    None,
    Json,
    Form,
    Multipart,
    Yaml,
    Other,
}

/// Kong compares the beginning only, in the case given.
pub fn media(headers: &HeaderMap) -> Result<Media, Fault> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else { return Ok(Media::None) };
    if values.next().is_some() {
        return Err(Fault::plain(StatusCode::BAD_REQUEST, "Multiple Content-Type headers not allowed"));
    }
    let value = value.to_str().unwrap_or("").to_ascii_lowercase();
    Ok(match value.split(';').next().unwrap_or("").trim() {
        "application/json" => Media::Json,
        "application/x-www-form-urlencoded" => Media::Form,
        "multipart/form-data" => Media::Multipart,
        "application/yaml" | "text/yaml" => Media::Yaml,
        _ => Media::Other,
    })
}

/// Whether the body of this method is looked at.
pub fn needs_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// The segments of a path; a slash at its end and `/default` before it do not count. `None` when one is no UTF-8.
pub fn segments(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Some(Vec::new());
    }
    path.split('/').map(|part| percent_decode_str(part).decode_utf8().ok().map(String::from)).collect()
}

/// The names and values of a form or a query; bytes that are no UTF-8 are kept as replacement characters.
pub fn form_pairs(text: &[u8]) -> Vec<(String, String)> {
    let decode = |part: &[u8]| {
        let spaced: Vec<u8> = part.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        percent_encoding::percent_decode(&spaced).decode_utf8_lossy().into_owned()
    };
    text.split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (decode(pair.get(..at).unwrap_or_default()), decode(pair.get(at + 1..).unwrap_or_default())),
            // A name alone means true, in Lua's reading.
            None => (decode(pair), "true".to_owned()),
        })
        .collect()
}

/// Reads a body up to a limit.
///
/// # Errors
/// 413 beyond the limit, 400 when the client breaks off.
pub async fn read_body(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Fault> {
    let too_large = || Fault::plain(StatusCode::PAYLOAD_TOO_LARGE, "Payload too large");
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|declared| declared > limit) {
        return Err(too_large());
    }
    let mut stream = body.into_data_stream();
    let mut out = Vec::with_capacity(declared.unwrap_or(0).min(limit));
    while let Some(part) = stream.next().await {
        let part = part.map_err(|_| Fault::plain(StatusCode::BAD_REQUEST, "request body cannot be read"))?;
        if out.len() + part.len() > limit {
            return Err(too_large());
        }
        out.extend_from_slice(&part);
    }
    Ok(out.into())
}

/// Whether a request without `Content-Type` has a body.
pub fn announces_body(headers: &HeaderMap) -> bool {
    match headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()) {
        Some(length) => length.trim() != "0",
        None => headers.contains_key(http::header::TRANSFER_ENCODING),
    }
}

/// Reads a body by its type.
///
/// # Errors
/// 400 where it is no JSON object or too much of a form; 500 where Kong's would be (JSON that is neither object nor array).
pub async fn parse(media: Media, headers: &HeaderMap, raw: &Bytes) -> Result<Input, Fault> {
    match media {
        Media::None | Media::Other => Ok(Input::Nothing),
        Media::Yaml => Ok(Input::Yaml),
        Media::Json => match serde_json::from_slice::<Value>(raw) {
            Ok(Value::Object(body)) => Ok(Input::Json(body)),
            // A Lua table is both.
            Ok(Value::Array(items)) => {
                Ok(Input::Json((1..).zip(items).map(|(index, item): (usize, _)| (index.to_string(), item)).collect()))
            }
            Ok(_) => Err(Fault::unexpected()),
            Err(_) => Err(Fault::plain(StatusCode::BAD_REQUEST, "Cannot parse JSON body")),
        },
        Media::Form => bounded(form_pairs(raw)),
        Media::Multipart => bounded(multipart(headers, raw).await),
    }
}

fn bounded(pairs: Vec<(String, String)>) -> Result<Input, Fault> {
    if pairs.len() > MAX_ARGUMENTS {
        return Err(Fault::plain(StatusCode::BAD_REQUEST, "Too many arguments"));
    }
    Ok(Input::Form(pairs))
}

/// The parts of a multipart body; what cannot be read is left out, as in Kong.
async fn multipart(headers: &HeaderMap, raw: &Bytes) -> Vec<(String, String)> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let Ok(boundary) = multer::parse_boundary(content_type) else { return Vec::new() };
    let raw = raw.clone();
    let stream = futures::stream::once(async move { Ok::<_, std::io::Error>(raw) });
    let mut parts = multer::Multipart::new(stream, boundary);
    let mut pairs = Vec::new();
    while let Ok(Some(part)) = parts.next_field().await {
        let Some(name) = part.name().map(str::to_owned) else { continue };
        match part.bytes().await {
            Ok(value) => pairs.push((name, String::from_utf8_lossy(&value).into_owned())),
            Err(_) => break,
        }
        if pairs.len() > MAX_ARGUMENTS {
            break;
        }
    }
    pairs
}

impl Incoming {
    /// Takes the head of a request; the body is read once it is known that there is something to do.
    pub fn new(parts: &Parts, segments: Vec<String>) -> Self {
        Self {
            method: parts.method.clone(),
            segments,
            query: form_pairs(parts.uri.query().unwrap_or("").as_bytes()),
            headers: parts.headers.clone(),
            body: Input::Nothing,
            raw: Bytes::new(),
        }
    }

    /// The first query argument of a name.
    pub fn argument(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_str())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_and_decoded() {
        assert_eq!(segments("/"), Some(vec![]));
        assert_eq!(segments("/consumers/caf%C3%A9%2Fx/"), Some(vec!["consumers".into(), "café/x".into()]));
        assert_eq!(segments("/tags/%ff"), None);
    }

    #[test]
    fn forms_are_decoded() {
        let pairs = form_pairs(b"a=b+c&d%5B%5D=%C3%A9&e=&f");
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "b c"), ("d[]", "é"), ("e", ""), ("f", "true")]);
    }
}
