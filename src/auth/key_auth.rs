//! The `key-auth` plugin: an API key in a header, a query argument or the body.
//!
//! Keys are found by a keyed hash, so the time a lookup takes says nothing about how much of a guessed key is right.

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::anonymous::Anonymous;
use super::arguments::{Argument, Arguments, body_without_arguments, without_arguments};
use super::challenge::Challenge;
use super::reason::Body;
use super::sources::{self, HeaderSource};
use super::state::Credential;
use super::trace::consumer_name;
use super::trace::{Check, Hint, HintCode, NoTrace, Step, Trace, moment, shown, span};
use super::{Flow, Plugin, Reason, Rejection, Request, State, Wants, hints};
use crate::diagnostic::Diagnostic;

/// The plugin's configuration; every field is there, defaults filled in by its table.
#[derive(Debug, Deserialize)]
struct Config {
    key_names: Vec<String>,
    #[serde(default)]
    key_in_header: Option<bool>,
    #[serde(default)]
    key_in_query: Option<bool>,
    #[serde(default)]
    key_in_body: Option<bool>,
    #[serde(default)]
    hide_credentials: Option<bool>,
    #[serde(default)]
    anonymous: Option<String>,
    #[serde(default)]
    run_on_preflight: Option<bool>,
    #[serde(default)]
    realm: Option<String>,
}

/// A compiled `key-auth` plugin.
#[derive(Debug)]
pub struct KeyAuth {
    names: Vec<Name>,
    in_header: bool,
    in_query: bool,
    in_body: bool,
    hide: bool,
    anonymous: Anonymous,
    run_on_preflight: bool,
    challenge: Challenge,
}

/// A name keys are looked for under.
#[derive(Debug)]
struct Name {
    text: String,
    /// `None` when no header can have the name.
    header: Option<HeaderSource>,
}

/// What is under one name.
enum Found {
    None,
    Key(String),
    /// Several values: which one is meant cannot be told.
    Several,
}

impl KeyAuth {
    /// Compiles a configuration that has passed the plugin's table.
    ///
    /// # Errors
    /// When it has not, or the realm cannot stand in a header.
    pub fn compile(config: &Map<String, Value>) -> Result<Self, Vec<Diagnostic>> {
        let config: Config = super::config(config)?;
        let names = config.key_names.into_iter().map(|text| Name { header: HeaderSource::new(&text), text });
        Ok(Self {
            names: names.collect(),
            in_header: config.key_in_header.unwrap_or(true),
            in_query: config.key_in_query.unwrap_or(true),
            in_body: config.key_in_body.unwrap_or(false),
            hide: config.hide_credentials.unwrap_or(false),
            anonymous: Anonymous::new(config.anonymous),
            run_on_preflight: config.run_on_preflight.unwrap_or(true),
            challenge: Challenge::key(config.realm.as_deref())?,
        })
    }

    /// Decides, telling a trace of every check.
    ///
    /// # Errors
    /// The refusal.
    pub fn explain<T: Trace>(
        &self,
        request: &Request<'_>,
        state: &mut State,
        trace: &mut T,
    ) -> Result<(), Box<Rejection>> {
        if !self.run_on_preflight && *request.method == Method::OPTIONS {
            trace.record(|| Step::noted(Check::Applies, "OPTIONS passes, since run_on_preflight is false"));
            return Ok(());
        }
        self.anonymous.guard(request, state, trace, |state, trace| self.authenticate(request, state, trace))
    }

    fn authenticate<T: Trace>(
        &self,
        request: &Request<'_>,
        state: &mut State,
        trace: &mut T,
    ) -> Result<(), Box<Rejection>> {
        let body = request.body.filter(|_| self.in_body).map(|body| Arguments::from_body(request.headers, body));
        let mut found = None;
        for name in &self.names {
            match self.find(name, request, body.as_ref()) {
                Found::None => {}
                Found::Several => {
                    trace.record(|| {
                        Step::failed(Check::Sources, format!("several values under `{}`", name.text))
                            .hint(Hint::new(HintCode::SeveralTokens, "send the key once"))
                    });
                    return Err(self.reject(Reason::MultipleTokens, "Duplicate API key found"));
                }
                Found::Key(key) => {
                    found = Some((name, key));
                    break;
                }
            }
        }
        if let Some((name, _)) = &found
            && self.hide
        {
            self.hide(name, request, state);
        }
        let Some((name, key)) = found.filter(|(_, key)| !key.is_empty()) else {
            trace.record(|| {
                Step::failed(Check::Sources, format!("no key: looked for {}", self.looked_for()))
                    .hint(self.near_miss(request))
            });
            return Err(self.reject(Reason::NoToken, "No API key found in request"));
        };
        trace.record(|| Step::passed(Check::Sources, format!("a key under `{}`", name.text)));

        let credential = request.directory.key_auth.get(key.as_str());
        state.token = Some(key.into());
        let Some(credential) = credential else {
            trace.record(|| {
                let key = state.token.as_deref().unwrap_or_default();
                Step::failed(Check::Credential, "no keyauth_credentials entry has this key")
                    .hint(near_key(key, request.directory))
            });
            return Err(self.reject(Reason::CredentialUnknown, "Unauthorized"));
        };
        let ends = credential.ttl.map(|ttl| credential.created_at.saturating_add(ttl));
        if ends.is_some_and(|ends| i64::try_from(request.now).is_ok_and(|now| ends <= now)) {
            trace.record(|| {
                let ended = ends.unwrap_or_default() as f64;
                let ago = span((request.now as f64 - ended).abs());
                let detail =
                    format!("keyauth_credentials {} ended (ttl): {}", credential.id, moment(ended, request.now));
                Step::failed(Check::Credential, detail)
                    .hint(Hint::new(HintCode::Expired, format!("the key ended {ago} ago; make a new one")))
            });
            return Err(self.reject(Reason::Expired, "Unauthorized"));
        }
        let Some(consumer) = request.directory.consumer(credential.consumer.id) else {
            trace.record(|| Step::failed(Check::Consumer, "the credential's consumer does not exist"));
            return Err(self.reject(Reason::ConsumerUnknown, "Unauthorized"));
        };
        trace.record(|| Step::passed(Check::Credential, format!("keyauth_credentials {}", credential.id)));
        trace.record(|| Step::passed(Check::Consumer, consumer_name(consumer)));
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let identifier: &str = credential.id.hyphenated().encode_lower(&mut text);
        state.authenticate(Some(consumer.clone()), Some(Credential::Text(identifier.into())));
        Ok(())
    }

    /// Names and places, for people.
    fn looked_for(&self) -> String {
        let places = [("headers", self.in_header), ("query", self.in_query), ("body", self.in_body)];
        let places: Vec<&str> = places.into_iter().filter(|(_, is)| *is).map(|(place, _)| place).collect();
        format!("{} in {}", hints::listed(self.names.iter().map(|name| name.text.as_str())), places.join(", "))
    }

    /// A key in a place that is not looked at.
    fn near_miss(&self, request: &Request<'_>) -> Option<Hint> {
        let known = |value: &str| {
            let bare = value.split_whitespace().next_back().unwrap_or_default();
            request.directory.key_auth.get(bare).is_some()
        };
        let header = request.headers.iter().find(|(_, value)| value.to_str().is_ok_and(known));
        let argument = || {
            let query = request.query?;
            sources::arguments(query)
                .find(|(_, value)| value.as_ref().is_some_and(|value| std::str::from_utf8(value).is_ok_and(known)))
        };
        let place = match header {
            Some((name, _)) => format!("header `{name}`"),
            None => format!("query argument `{}`", shown(&String::from_utf8_lossy(&argument()?.0))),
        };
        Some(Hint::new(
            HintCode::OtherSource,
            format!("the {place} holds a key that is known; this route does not look there"),
        ))
    }

    /// Header, query, body: the first that has the name.
    fn find(&self, name: &Name, request: &Request<'_>, body: Option<&Arguments>) -> Found {
        if self.in_header
            && let Some(header) = &name.header
        {
            let mut lines = header.lines(request.headers);
            match (lines.next(), lines.next()) {
                (None, _) => {}
                (Some(line), None) => return Found::Key(String::from_utf8_lossy(line.as_bytes()).into_owned()),
                (Some(_), Some(_)) => return Found::Several,
            }
        }
        if self.in_query
            && let Some(query) = request.query
        {
            let mut values = sources::arguments(query).filter(|(there, _)| **there == *name.text.as_bytes());
            match (values.next(), values.next()) {
                (None, _) => {}
                // `?apikey` alone is neither a key nor absent: the next name is tried.
                (Some((_, None)), None) => return Found::None,
                (Some((_, Some(value))), None) => return Found::Key(String::from_utf8_lossy(&value).into_owned()),
                (Some(_), Some(_)) => return Found::Several,
            }
        }
        match body.and_then(|body| body.get(&name.text)) {
            Some(Argument::Text(key)) => Found::Key(key.clone()),
            Some(Argument::Other) => Found::Several,
            Some(Argument::Scalar) | None => Found::None,
        }
    }

    /// Takes the name out of everything that goes to the service.
    fn hide(&self, name: &Name, request: &Request<'_>, state: &mut State) {
        if let Some(header) = &name.header {
            state.headers.remove.push(header.name().clone());
        }
        if let Some(query) = state.query.as_deref().or(request.query) {
            let kept = without_arguments(query, &[&name.text]);
            if kept != query {
                state.query = Some(kept);
            }
        }
        if let Some(body) = state.body.as_ref().or(request.body).filter(|_| self.in_body)
            && let Some(kept) = body_without_arguments(request.headers, body, &[&name.text])
        {
            state.body = Some(kept);
        }
    }

    fn reject(&self, reason: Reason, message: &'static str) -> Box<Rejection> {
        let headers = vec![self.challenge.for_invalid()];
        Box::new(Rejection {
            reason,
            status: StatusCode::UNAUTHORIZED,
            body: Body::Negotiated(message.into()),
            headers,
        })
    }
}

impl Plugin for KeyAuth {
    fn access<'a>(&'a self, request: &'a Request<'a>, state: &'a mut State) -> Flow<'a> {
        self.explain(request, state, &mut NoTrace).into()
    }

    fn trace<'a>(&'a self, request: &'a Request<'a>, state: &'a mut State, steps: &'a mut Vec<Step>) -> Flow<'a> {
        self.explain(request, state, steps).into()
    }

    fn wants(&self, _request: &Request<'_>) -> Wants {
        if self.in_body { Wants::SmallBody } else { Wants::Nothing }
    }
}

/// A key that would do without what was copied along.
fn near_key(key: &str, directory: &super::Directory) -> Option<Hint> {
    let bare = key.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\''));
    let scheme = bare.split_whitespace().next_back().unwrap_or_default();
    let known = |key: &str| directory.key_auth.get(key).is_some();
    if bare != key && known(bare) {
        return Some(Hint::new(HintCode::Whitespace, "it is known without the quotes or white space around it"));
    }
    if scheme != bare && known(scheme) {
        return Some(Hint::new(
            HintCode::BearerTwice,
            "it is known without the word in front of it: a key has no scheme",
        ));
    }
    hints::looks_like_a_token(bare)
        .then(|| Hint::new(HintCode::OtherSource, "this is a JWT; the route asks for an API key"))
}

#[cfg(test)]
mod tests;
