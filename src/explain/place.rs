//! Where a token stands in a request.

use std::fmt;

use http::HeaderName;
use http::header::AUTHORIZATION;
use serde_json::{Map, Value};

use crate::auth::hints::looks_like_a_token;
use crate::snapshot::Route;

/// A place for a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Header(HeaderName),
    Query(String),
    Cookie(String),
    Body(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) if *name == AUTHORIZATION => f.write_str("the header `Authorization: Bearer …`"),
            Self::Header(name) => write!(f, "the header `{name}`"),
            Self::Query(name) => write!(f, "the query argument `{name}`"),
            Self::Cookie(name) => write!(f, "the cookie `{name}`"),
            Self::Body(name) => write!(f, "the body's argument `{name}`"),
        }
    }
}

impl Place {
    pub fn authorization() -> Self {
        Self::Header(AUTHORIZATION)
    }

    /// `header:NAME`, `query:NAME`, `cookie:NAME`, `body:NAME`.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(':')?;
        let named = (!name.is_empty()).then(|| name.to_owned())?;
        match kind {
            "header" => Some(Self::Header(name.parse().ok()?)),
            "query" => Some(Self::Query(named)),
            "cookie" => Some(Self::Cookie(named)),
            "body" => Some(Self::Body(named)),
            _ => None,
        }
    }

    /// Where a route reads a token like this one: of several places the usual one.
    pub fn of(route: &Route, token: &str) -> Self {
        let mut places = Vec::new();
        for instance in route.chain.general() {
            places.extend(read_by(&instance.entity.name, &instance.entity.config));
        }
        let usual = Self::authorization();
        let keys = |places: &[(Self, bool)]| places.iter().find(|(_, is_key)| *is_key).map(|(place, _)| place.clone());
        if !looks_like_a_token(token.trim())
            && places.iter().any(|(_, is_key)| !*is_key)
            && places.contains(&(usual.clone(), false))
        {
            return usual;
        }
        if !looks_like_a_token(token.trim())
            && let Some(place) = keys(&places)
        {
            return place;
        }
        let tokens: Vec<Self> = places.into_iter().filter(|(_, is_key)| !*is_key).map(|(place, _)| place).collect();
        if tokens.contains(&usual) {
            return usual;
        }
        tokens.into_iter().next().unwrap_or(usual)
    }

    /// Whether what is read there is `Bearer` and the token, and not a bare one.
    pub fn wants_bearer(&self, route: Option<&Route>) -> bool {
        let Self::Header(name) = self else { return false };
        if *name == AUTHORIZATION {
            return true;
        }
        let instances = route.into_iter().flat_map(|route| route.chain.general());
        instances
            .filter(|instance| instance.entity.name != "key-auth")
            .any(|instance| read_by(&instance.entity.name, &instance.entity.config).any(|(place, _)| place == *self))
    }
}

/// The places that a plugin reads, and whether a bare key is expected there.
fn read_by(plugin: &str, config: &Map<String, Value>) -> impl Iterator<Item = (Place, bool)> {
    let texts = |field: &str| -> Vec<String> {
        let list = config.get(field).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|text| Some(text.as_str()?.to_owned())).collect()
    };
    let is = |field: &str| config.get(field).and_then(Value::as_bool) != Some(false);
    let header = |name: &str| name.parse().ok().map(Place::Header);
    let mut places: Vec<(Option<Place>, bool)> = Vec::new();
    match plugin {
        "jwt" => {
            places.extend(texts("header_names").iter().map(|name| (header(name), false)));
            places.extend(texts("uri_param_names").into_iter().map(|name| (Some(Place::Query(name)), false)));
            places.extend(texts("cookie_names").into_iter().map(|name| (Some(Place::Cookie(name)), false)));
        }
        "key-auth" => {
            for name in texts("key_names") {
                if is("key_in_header") {
                    places.push((header(&name), true));
                } else if is("key_in_query") {
                    places.push((Some(Place::Query(name)), true));
                } else {
                    places.push((Some(Place::Body(name)), true));
                }
            }
        }
        "oauth2" => {
            let name = config.get("auth_header_name").and_then(Value::as_str).unwrap_or("authorization");
            places.push((header(name), false));
        }
        "openid-connect" => {
            let types = texts("bearer_token_param_type");
            let named = |kind: &str| types.is_empty() || types.iter().any(|there| there == kind);
            let cookie = config.get("bearer_token_cookie_name").and_then(Value::as_str);
            for (kind, place) in [
                ("header", Some(Place::authorization())),
                ("query", Some(Place::Query("access_token".into()))),
                ("body", Some(Place::Body("access_token".into()))),
                ("cookie", cookie.map(|name| Place::Cookie(name.to_owned()))),
            ] {
                if named(kind) {
                    places.push((place, false));
                }
            }
        }
        _ => {}
    }
    places.into_iter().filter_map(|(place, is_key)| Some((place?, is_key)))
}
