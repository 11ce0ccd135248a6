//! What goes on with an accepted request: claims and tokens as headers towards the service and in the response.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONNECTION};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::config::Config;
use crate::auth::State;
use crate::diagnostic::Diagnostic;
use crate::jose::{Object, Value};

/// A token's header: `name` or `name:scheme`.
#[derive(Debug)]
struct TokenHeader {
    name: HeaderName,
    scheme: Option<String>,
}

impl TokenHeader {
    fn new(path: &str, text: Option<&str>) -> Result<Option<Self>, Vec<Diagnostic>> {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
        let (name, scheme) = text.split_once(':').map_or((text, None), |(name, scheme)| (name, Some(scheme)));
        let scheme = scheme.filter(|scheme| !scheme.is_empty()).map(|scheme| {
            let mut letters = scheme.chars();
            letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
        });
        Ok(Some(Self { name: header(path, name)?, scheme }))
    }

    fn with(&self, token: &str) -> Option<(HeaderName, HeaderValue)> {
        let value = match &self.scheme {
            Some(scheme) => HeaderValue::from_str(&format!("{scheme} {token}")),
            None => HeaderValue::from_str(token),
        };
        Some((self.name.clone(), value.ok()?))
    }

    /// Whether the request carries the token just so, and keeps it: then there is nothing to set.
    fn goes_on(&self, token: &str, headers: &HeaderMap, state: &State) -> bool {
        // Any other is taken out, whoever sent it.
        if self.name != AUTHORIZATION {
            return false;
        }
        let mut found = None;
        // One walk past the few fields that there are takes less than finding two of them.
        for (name, line) in headers {
            if *name == self.name {
                if found.replace(line).is_some() {
                    return false;
                }
            } else if *name == CONNECTION && self.is_named(line) {
                return false;
            }
        }
        let Some(line) = found else { return false };
        let there = match &self.scheme {
            Some(scheme) => line.as_bytes().strip_prefix(scheme.as_bytes()).and_then(|rest| rest.strip_prefix(b" ")),
            None => Some(line.as_bytes()),
        };
        there == Some(token.as_bytes())
            && !state.removed().chain(state.set().map(|(name, _)| name)).any(|name| *name == self.name)
    }

    /// What `Connection` names ends at the gateway, whatever it is.
    fn is_named(&self, connection: &HeaderValue) -> bool {
        connection
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|name| name.trim_ascii().eq_ignore_ascii_case(self.name.as_str().as_bytes()))
    }
}

fn header(path: &str, name: &str) -> Result<HeaderName, Vec<Diagnostic>> {
    HeaderName::from_bytes(name.trim().as_bytes())
        .map_err(|_| vec![Diagnostic::error("invalid-value", path, format!("`{name}` cannot be a header's name"))])
}

/// Claims by the headers that carry them.
type Claims = Vec<(String, HeaderName)>;

fn claims(path: &str, claims: &[String], names: &[String]) -> Result<Claims, Vec<Diagnostic>> {
    if claims.len() != names.len() {
        let message = format!("{} names for {} claims: they are paired by their place", names.len(), claims.len());
        return Err(vec![Diagnostic::error("invalid-value", path, message)]);
    }
    claims.iter().zip(names).map(|(claim, name)| Ok((claim.clone(), header(path, name)?))).collect()
}

/// The headers of a configuration.
#[derive(Debug)]
pub struct Passing {
    token_up: Option<TokenHeader>,
    token_down: Option<TokenHeader>,
    refresh_up: Option<TokenHeader>,
    refresh_down: Option<TokenHeader>,
    up: Claims,
    down: Claims,
    groups: Vec<String>,
    /// What a client may not send itself.
    guarded: Arc<[HeaderName]>,
}

const GROUPS: HeaderName = HeaderName::from_static("x-authenticated-groups");

impl Passing {
    /// # Errors
    /// When something cannot be a header's name.
    pub fn new(config: &Config) -> Result<Self, Vec<Diagnostic>> {
        let token = |path: &str, text: &Option<String>| TokenHeader::new(path, text.as_deref());
        let token_up = token("upstream_access_token_header", &config.upstream_access_token_header)?;
        let refresh_up = token("upstream_refresh_token_header", &config.upstream_refresh_token_header)?;
        let up = claims("upstream_headers_names", &config.upstream_headers_claims, &config.upstream_headers_names)?;
        let tokens = [&token_up, &refresh_up].into_iter().flatten().map(|header| &header.name);
        let tokens = tokens.filter(|name| **name != AUTHORIZATION);
        let guarded = up.iter().map(|(_, name)| name).chain(tokens).cloned().collect();
        Ok(Self {
            token_up,
            token_down: token("downstream_access_token_header", &config.downstream_access_token_header)?,
            refresh_up,
            refresh_down: token("downstream_refresh_token_header", &config.downstream_refresh_token_header)?,
            up,
            down: claims(
                "downstream_headers_names",
                &config.downstream_headers_claims,
                &config.downstream_headers_names,
            )?,
            groups: config.authenticated_groups_claim.clone(),
            guarded,
        })
    }

    /// Has what a client may not send taken out: also when nothing is put in its place. What carries a client's own refresh token in
    /// stays: it is no claim of anything.
    pub fn guard(&self, state: &mut State) {
        if !self.guarded.is_empty() {
            state.guarded = Some(self.guarded.clone());
        }
    }

    /// Whether what goes on follows from the token and the configuration, whatever else the request has.
    pub fn follows_from(&self, token: &str, headers: &HeaderMap, state: &State) -> bool {
        self.token_up.as_ref().is_none_or(|up| up.name != AUTHORIZATION || up.goes_on(token, headers, state))
    }

    /// `refresh`: a refresh token that came with the access token.
    pub fn pass(
        &self,
        headers: &HeaderMap,
        state: &mut State,
        claims: &Object<'_>,
        token: &str,
        refresh: Option<&str>,
    ) {
        let up = self.token_up.as_ref().filter(|header| !header.goes_on(token, headers, state));
        state.headers.set.extend(up.and_then(|header| header.with(token)));
        state.headers.response.extend(self.token_down.as_ref().and_then(|header| header.with(token)));
        if let Some(refresh) = refresh {
            state.headers.set.extend(self.refresh_up.as_ref().and_then(|header| header.with(refresh)));
            state.headers.response.extend(self.refresh_down.as_ref().and_then(|header| header.with(refresh)));
        }
        let value = |claim: &str| find(claims, claim).and_then(header_value);
        for (claim, name) in &self.up {
            state.headers.set.extend(value(claim).map(|value| (name.clone(), value)));
        }
        for (claim, name) in &self.down {
            state.headers.response.extend(value(claim).map(|value| (name.clone(), value)));
        }
        if let Some(groups) = claims.path(&self.groups) {
            let names: Vec<&str> = match groups {
                Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
                Value::String(text) => text.split(' ').collect(),
                _ => Vec::new(),
            };
            if let Some(value) = HeaderValue::from_bytes(names.join(", ").as_bytes()).ok().filter(|_| !names.is_empty())
            {
                state.headers.set.push((GROUPS, value));
            }
        }
    }
}

/// A claim by its name, or by its place written with dots.
fn find<'c, 't>(claims: &'c Object<'t>, name: &str) -> Option<&'c Value<'t>> {
    claims.get(name).or_else(|| {
        let path: Vec<&str> = name.split('.').collect();
        claims.path(&path)
    })
}

/// Texts and numbers as they are, the rest as JSON in base64; what cannot be a header is left out.
fn header_value(value: &Value<'_>) -> Option<HeaderValue> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => return HeaderValue::from_bytes(text.as_bytes()).ok(),
        Value::Array(_) | Value::Object(_) => STANDARD.encode(serde_json::to_string(value).ok()?),
        scalar => super::claims::text(scalar)?,
    };
    HeaderValue::from_bytes(text.as_bytes()).ok()
}
