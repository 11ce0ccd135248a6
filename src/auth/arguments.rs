//! Arguments of a request: query, form, JSON and multipart bodies, read into names and values.
//!
//! Used by every plugin that takes credentials from them. Takes bodies as they are, bounded by the gateway; input that cannot
//! be read yields no arguments. Must not decide anything.

mod multipart;

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Map, Value};

use super::sources;

/// One value of an argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// Given once, as text.
    Text(String),
    /// A number or truth value of JSON: there, but no text.
    Scalar,
    /// Given several times, or as an object or array of JSON.
    Other,
}

impl Argument {
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Scalar | Self::Other => None,
        }
    }
}

/// Arguments by name; few, so a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arguments {
    pairs: Vec<(String, Argument)>,
}

impl Arguments {
    /// Of a query string or an `application/x-www-form-urlencoded` body.
    pub fn from_form(text: &str) -> Self {
        let mut arguments = Self::default();
        for (name, value) in form_pairs(text) {
            arguments.add(name.into_owned(), Argument::Text(value.into_owned()));
        }
        arguments
    }

    /// Of a body, by its `Content-Type`; of another type, none.
    pub fn from_body(headers: &HeaderMap, body: &Bytes) -> Self {
        let content_type = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let kind = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/x-www-form-urlencoded" => std::str::from_utf8(body).map(Self::from_form).unwrap_or_default(),
            "application/json" => {
                serde_json::from_slice(body).map(|object| Self::from_json(&object)).unwrap_or_default()
            }
            "multipart/form-data" => Self::from_multipart(content_type, body),
            _ => Self::default(),
        }
    }

    fn from_json(object: &Map<String, Value>) -> Self {
        let argument = |value: &Value| match value {
            Value::String(text) => Some(Argument::Text(text.clone())),
            Value::Null => None,
            Value::Bool(_) | Value::Number(_) => Some(Argument::Scalar),
            Value::Array(_) | Value::Object(_) => Some(Argument::Other),
        };
        Self { pairs: object.iter().filter_map(|(name, value)| Some((name.clone(), argument(value)?))).collect() }
    }

    fn from_multipart(content_type: &str, body: &[u8]) -> Self {
        let mut arguments = Self::default();
        for part in multipart::parts(content_type, body).unwrap_or_default() {
            let text = String::from_utf8_lossy(part.content).into_owned();
            arguments.add(part.name.into_owned(), Argument::Text(text));
        }
        arguments
    }

    fn add(&mut self, name: String, value: Argument) {
        match self.pairs.iter_mut().find(|(there, _)| *there == name) {
            Some((_, there)) => *there = Argument::Other,
            None => self.pairs.push((name, value)),
        }
    }

    /// These arguments over those of `lower`: a name in both has the value it has here.
    pub fn over(mut self, lower: Self) -> Self {
        for (name, value) in lower.pairs {
            if self.get(&name).is_none() {
                self.pairs.push((name, value));
            }
        }
        self
    }

    pub fn get(&self, name: &str) -> Option<&Argument> {
        self.pairs.iter().find(|(there, _)| there == name).map(|(_, value)| value)
    }

    /// The value of an argument that was given once, as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Argument::text)
    }
}

/// Names and values of a form or query, decoded; a name without `=` has an empty value.
pub fn form_pairs(text: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    sources::all_arguments(text).map(|(name, value)| (lossy(name), value.map_or(Cow::Borrowed(""), lossy)))
}

/// What is not UTF-8 is replaced.
fn lossy(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// A query or form without the arguments of some names; the rest stays byte for byte.
pub fn without_arguments(text: &str, names: &[&str]) -> String {
    let kept: Vec<&str> = text
        .split('&')
        .filter(|pair| {
            let name = sources::decode(pair.split_once('=').map_or(*pair, |(name, _)| name));
            !names.iter().any(|hidden| hidden.as_bytes() == &*name)
        })
        .collect();
    kept.join("&")
}

/// A body without the arguments of some names, for `hide_credentials`; `None` when it stays as it is.
pub fn body_without_arguments(headers: &HeaderMap, body: &Bytes, names: &[&str]) -> Option<Bytes> {
    let content_type = headers.get(http::header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/x-www-form-urlencoded" => {
            let text = std::str::from_utf8(body).ok()?;
            let kept = without_arguments(text, names);
            (kept != text).then(|| kept.into())
        }
        "application/json" => {
            let mut object: Map<String, Value> = serde_json::from_slice(body).ok()?;
            let before = object.len();
            object.retain(|name, _| !names.contains(&name.as_str()));
            (object.len() < before).then(|| Value::Object(object).to_string().into())
        }
        "multipart/form-data" => multipart::without(content_type, body, names).map(Bytes::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", content_type.parse().unwrap());
        headers
    }

    #[test]
    fn forms_are_decoded_and_repeats_are_no_text() {
        let form = Arguments::from_form("a=1&b=x%20y+z&c&a=2&&d=%C3%A9");
        assert_eq!(form.get("a"), Some(&Argument::Other));
        assert_eq!(form.text("b"), Some("x y z"));
        assert_eq!(form.text("c"), Some(""));
        assert_eq!(form.text("d"), Some("é"));
        assert_eq!(form.get("e"), None);
    }

    #[test]
    fn bodies_by_content_type() {
        let json = Arguments::from_body(
            &headers("application/json; charset=utf-8"),
            &r#"{"a":"1","b":2,"c":null,"d":["1"]}"#.into(),
        );
        assert_eq!((json.text("a"), json.get("b"), json.get("c")), (Some("1"), Some(&Argument::Scalar), None));
        assert_eq!(json.get("d"), Some(&Argument::Other));
        assert_eq!(Arguments::from_body(&headers("application/json"), &"{".into()), Arguments::default());
        assert_eq!(Arguments::from_body(&headers("text/plain"), &"a=1".into()), Arguments::default());
        let body = "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--X\r\nContent-Disposition: form-data; \
                    name=\"b\"\r\n\r\ntwo\r\n--X--\r\n";
        let parts = Arguments::from_body(&headers("multipart/form-data; boundary=X"), &body.into());
        assert_eq!((parts.text("a"), parts.text("b")), (Some("one"), Some("two")));
    }

    #[test]
    fn the_upper_arguments_win() {
        let merged = Arguments::from_form("a=body").over(Arguments::from_form("a=query&b=query"));
        assert_eq!((merged.text("a"), merged.text("b")), (Some("body"), Some("query")));
    }

    #[test]
    fn hiding_leaves_the_rest_as_it_was() {
        assert_eq!(without_arguments("x=%41&access_token=t&y", &["access_token"]), "x=%41&y");
        let json = body_without_arguments(
            &headers("application/json"),
            &r#"{"access_token":"t","k":1}"#.into(),
            &["access_token"],
        );
        assert_eq!(json.as_deref(), Some(&br#"{"k":1}"#[..]));
        assert_eq!(body_without_arguments(&headers("application/json"), &r#"{"k":1}"#.into(), &["access_token"]), None);
    }
}
