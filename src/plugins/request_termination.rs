//! The `request-termination` plugin: an answer in the service's place.

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::auth::reason::Body;
use crate::auth::sources::{self, HeaderSource};
use crate::auth::{self, Flow, Plugin, Reason, Rejection, Request, Scheme, State, Wants};
use crate::diagnostic::Diagnostic;

/// The plugin's configuration; every field is there, defaults filled in by its table.
#[derive(Debug, Deserialize)]
struct Config {
    status_code: u16,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    echo: Option<bool>,
    #[serde(default)]
    trigger: Option<String>,
}

/// A compiled `request-termination` plugin.
#[derive(Debug)]
pub struct RequestTermination {
    status: StatusCode,
    body: Body,
    message: Option<Cow<'static, str>>,
    echo: bool,
    trigger: Option<Trigger>,
}

/// A header or query argument without which requests pass.
#[derive(Debug)]
struct Trigger {
    argument: String,
    header: Option<HeaderSource>,
}

impl RequestTermination {
    /// Compiles a configuration that has passed the plugin's table.
    ///
    /// # Errors
    /// When it has not.
    pub fn compile(config: &Map<String, Value>) -> Result<Self, Vec<Diagnostic>> {
        let config: Config = auth::config(config)?;
        let status = StatusCode::from_u16(config.status_code)
            .map_err(|_| vec![Diagnostic::error("invalid-value", "config.status_code", "not an HTTP status")])?;
        let message = config.message.map(Cow::Owned).or_else(|| usual_message(status).map(Cow::Borrowed));
        let body = match (config.body, &message) {
            (Some(text), _) => Body::Raw {
                content_type: config.content_type.map_or(Cow::Borrowed("application/json; charset=utf-8"), Cow::Owned),
                bytes: Bytes::from(text),
            },
            (None, Some(message)) => Body::Message(message.clone()),
            (None, None) => Body::Empty,
        };
        let trigger = config.trigger.filter(|name| !name.is_empty());
        Ok(Self {
            status,
            body,
            message,
            echo: config.echo.unwrap_or(false),
            trigger: trigger.map(|argument| Trigger { header: HeaderSource::new(&argument), argument }),
        })
    }

    fn applies(&self, request: &Request<'_>) -> bool {
        let Some(trigger) = &self.trigger else { return true };
        trigger.header.as_ref().is_some_and(|header| header.lines(request.headers).next().is_some())
            || request
                .query
                .is_some_and(|query| sources::arguments(query).any(|(name, _)| *name == *trigger.argument.as_bytes()))
    }

    /// A copy of the request, for finding out what a gateway makes of it.
    fn copy_of(&self, request: &Request<'_>) -> Body {
        let host = request.header("host").unwrap_or_default();
        let (host, port) = host.rsplit_once(':').map_or((host, None), |(host, port)| (host, port.parse::<u16>().ok()));
        let scheme = match request.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let lossy = |bytes: &[u8]| Value::String(String::from_utf8_lossy(bytes).into_owned());
        let mut headers = Map::new();
        for (name, value) in request.headers {
            gather(&mut headers, name.as_str(), lossy(value.as_bytes()));
        }
        let mut query = Map::new();
        for (name, value) in sources::arguments(request.query.unwrap_or_default()) {
            gather(&mut query, &String::from_utf8_lossy(&name), value.map_or(Value::Bool(true), |value| lossy(&value)));
        }
        let copy = json!({
            "message": self.message,
            "request": {
                "scheme": scheme,
                "host": host,
                "port": port,
                "method": request.method.as_str(),
                "path": request.path,
                "headers": headers,
                "query": query,
                "raw_body": request.body.map(|body| lossy(body)),
            },
            "matched_route": { "id": request.route },
            "matched_service": request.service.map(|id| json!({ "id": id })),
        });
        Body::Json(copy.to_string().into())
    }
}

/// A second value makes an array.
fn gather(into: &mut Map<String, Value>, name: &str, value: Value) {
    match into.get_mut(name) {
        None => {
            into.insert(name.to_owned(), value);
        }
        Some(Value::Array(values)) => values.push(value),
        Some(there) => *there = Value::Array(vec![there.take(), value]),
    }
}

/// Kong's texts for statuses; others have no body.
fn usual_message(status: StatusCode) -> Option<&'static str> {
    Some(match status.as_u16() {
        401 => "Unauthorized",
        404 => "Not found",
        405 => "Method not allowed",
        500 => "An unexpected error occurred",
        502 => "Bad Gateway",
        503 => "Service unavailable",
        _ => return None,
    })
}

impl Plugin for RequestTermination {
    fn access<'a>(&'a self, request: &'a Request<'a>, _state: &'a mut State) -> Flow<'a> {
        if !self.applies(request) {
            return Flow::Next;
        }
        let body = if self.echo { self.copy_of(request) } else { self.body.clone() };
        Flow::Stop(Box::new(Rejection { reason: Reason::Terminated, status: self.status, body, headers: Vec::new() }))
    }

    fn wants(&self, _request: &Request<'_>) -> Wants {
        if self.echo { Wants::SmallBody } else { Wants::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{directory, get, shown};

    fn answer(config: Value, sent: &crate::auth::testing::Sent) -> Option<String> {
        let plugin = RequestTermination::compile(config.as_object().unwrap()).unwrap();
        sent.through(&[&plugin], &directory([], [])).1.err().map(|rejection| shown(&rejection))
    }

    #[test]
    fn status_message_and_body() {
        let plain = get();
        assert_eq!(answer(json!({ "status_code": 503 }), &plain).as_deref(), Some("503 {Service unavailable}"));
        assert_eq!(answer(json!({ "status_code": 401, "message": "no" }), &plain).as_deref(), Some("401 {no}"));
        assert_eq!(answer(json!({ "status_code": 204 }), &plain).as_deref(), Some("204 "));
        assert_eq!(
            answer(json!({ "status_code": 200, "body": "<p>", "content_type": "text/html" }), &plain).as_deref(),
            Some("200 [text/html] <p>")
        );
        assert_eq!(
            answer(json!({ "status_code": 200, "body": "{}" }), &plain).as_deref(),
            Some("200 [application/json; charset=utf-8] {}")
        );
    }

    #[test]
    fn a_trigger_in_header_or_query() {
        let config = || json!({ "status_code": 503, "trigger": "X-Stop" });
        assert_eq!(answer(config(), &get()), None);
        assert_eq!(answer(config(), &get().query("x-stop=1&y=X-Stop")), None, "arguments are compared with their case");
        assert!(answer(config(), &get().header("x-stop", "")).is_some());
        assert!(answer(config(), &get().query("a=b&X-Stop")).is_some());
    }

    #[test]
    fn echo_shows_the_request() {
        let sent = get().header("host", "a.test:8080").header("x-a", "1").header("x-a", "2").query("q=1&bare");
        let text = answer(json!({ "status_code": 404, "echo": true }), &sent).unwrap();
        let copy: Value = serde_json::from_str(text.strip_prefix("404 ").unwrap()).unwrap();
        assert_eq!(copy["message"], "Not found");
        assert_eq!((&copy["request"]["host"], &copy["request"]["port"]), (&json!("a.test"), &json!(8080)));
        assert_eq!(copy["request"]["headers"]["x-a"], json!(["1", "2"]));
        assert_eq!(copy["request"]["query"], json!({ "q": "1", "bare": true }));
    }
}
