//! What the token, introspection, revocation and userinfo endpoints answer (RFC 6749, RFC 7662, RFC 7009).

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::people::Client;
use super::serve::{World, named};

/// An error of RFC 6749 section 5.2.
#[derive(Debug)]
pub struct Denied {
    status: StatusCode,
    error: &'static str,
    description: &'static str,
}

impl Denied {
    const fn new(error: &'static str, description: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, description }
    }

    const fn unauthorized(error: &'static str, description: &'static str) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, error, description }
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.error, "error_description": self.description }));
        let mut response = (self.status, body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = match self.error {
                "invalid_client" => "Basic realm=\"idp\"",
                _ => "Bearer error=\"invalid_token\"",
            };
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static(challenge));
        }
        response
    }
}

type Answer = Result<Value, Denied>;
type Form<'a> = HashMap<Cow<'a, str>, Cow<'a, str>>;

fn form(body: &[u8]) -> Form<'_> {
    url::form_urlencoded::parse(body).collect()
}

/// Id and secret of the `Authorization` header, form-encoded within it (RFC 6749 section 2.3.1).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    let decoded = STANDARD.decode(rest.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let plain = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().map(Cow::into_owned).ok();
    Some((plain(id)?, plain(secret)?))
}

fn client<'w>(world: &'w World, headers: &HeaderMap, form: &Form<'_>) -> Result<&'w Client, Denied> {
    let people = &world.options.people;
    let found = match basic(headers) {
        Some((id, secret)) => people.client(&id, Some(&secret)),
        None => {
            form.get("client_id").and_then(|id| people.client(id, form.get("client_secret").map(|secret| &**secret)))
        }
    };
    found.ok_or(Denied::unauthorized("invalid_client", "client unknown, or its secret is wrong"))
}

pub fn token(world: &World, headers: &HeaderMap, body: &[u8]) -> Answer {
    let form = form(body);
    let client = client(world, headers, &form)?;
    let given = |name: &str| form.get(name).map_or("", |value| &**value);
    let (subject, own) = match given("grant_type") {
        "password" => {
            let user = world.options.people.user(given("username"), given("password"));
            let user = user.ok_or(Denied::new("invalid_grant", "user unknown, or the password is wrong"))?;
            let mut claims = Map::from_iter([named(("preferred_username", json!(user.name)))]);
            claims.extend(user.claims.clone());
            (&user.name, claims)
        }
        "client_credentials" if client.secret.is_none() => {
            return Err(Denied::new("unauthorized_client", "a public client has no credentials"));
        }
        "client_credentials" => (&client.id, client.claims.clone()),
        _ => return Err(Denied::new("unsupported_grant_type", "password and client_credentials are supported")),
    };
    let mut claims = Map::from_iter([("sub", json!(subject)), ("client_id", json!(client.id))].map(named));
    let scope = given("scope");
    if !scope.is_empty() {
        claims.insert("scope".into(), json!(scope));
    }
    if let Some(audience) = &client.audience {
        claims.insert("aud".into(), json!(audience));
    }
    claims.extend(own);
    let opaque = client.opaque.unwrap_or(world.options.opaque);
    let lifetime = client.lifetime.map_or(world.options.lifetime, Duration::from_secs);
    let failed =
        |_| Denied { status: StatusCode::INTERNAL_SERVER_ERROR, error: "server_error", description: "no signature" };
    let issued = world.issue(claims, opaque, lifetime).map_err(failed)?;
    let mut answer = json!({ "access_token": issued.token, "token_type": "Bearer", "expires_in": issued.lifetime });
    if !scope.is_empty() {
        answer["scope"] = json!(scope);
    }
    Ok(answer)
}

pub fn introspect(world: &World, headers: &HeaderMap, body: &[u8]) -> Answer {
    let form = form(body);
    client(world, headers, &form)?;
    Ok(match form.get("token").and_then(|token| world.claims(token)) {
        Some(mut claims) => {
            claims.insert("active".into(), json!(true));
            claims.insert("token_type".into(), json!("Bearer"));
            Value::Object(claims)
        }
        None => json!({ "active": false }),
    })
}

pub fn revoke(world: &World, headers: &HeaderMap, body: &[u8]) -> Answer {
    let form = form(body);
    client(world, headers, &form)?;
    if let Some(token) = form.get("token") {
        world.revoke(token);
    }
    Ok(json!({}))
}

/// Claims that are about the token, not its user.
const OF_THE_TOKEN: [&str; 7] = ["iss", "aud", "iat", "exp", "jti", "scope", "client_id"];

pub fn userinfo(world: &World, headers: &HeaderMap) -> Answer {
    let text = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let claims = token.and_then(|(_, token)| world.claims(token.trim()));
    let mut claims = claims.ok_or(Denied::unauthorized("invalid_token", "unknown, expired or revoked"))?;
    claims.retain(|name, _| !OF_THE_TOKEN.contains(&name.as_str()));
    Ok(Value::Object(claims))
}
