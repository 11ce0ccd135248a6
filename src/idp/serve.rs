//! The provider over HTTP: its endpoints, and those that control it.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use parking_lot::{Mutex, RwLock};
use serde_json::{Map, Value, json};

use super::grants::{self, Denied};
use super::ring::Ring;
use super::{Faults, Options};
use crate::jose::SigningFault;

/// What can be counted, and disturbed.
pub const ENDPOINTS: [&str; 6] = ["discovery", "jwks", "token", "introspect", "revoke", "userinfo"];

/// Tokens that introspection still knows of; the oldest are forgotten first.
const REMEMBERED: usize = 20_000;

/// Everything a provider is.
pub struct World {
    pub issuer: String,
    /// Where the endpoints are.
    base: String,
    pub options: Options,
    ring: RwLock<Ring>,
    pub faults: RwLock<Faults>,
    pub counts: Mutex<HashMap<&'static str, u64>>,
    issued: Mutex<Issued>,
}

/// Claims of the tokens that were issued, by a hash of the token.
#[derive(Default)]
struct Issued {
    claims: HashMap<[u8; 32], Map<String, Value>>,
    order: VecDeque<[u8; 32]>,
}

/// A token and what stands in it.
pub struct Token {
    pub token: String,
    pub lifetime: u64,
}

fn fingerprint(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.iter_mut().zip(digest(&SHA256, token.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl World {
    pub fn new(address: SocketAddr, options: Options) -> Result<Self, SigningFault> {
        let base = format!("http://{address}");
        Ok(Self {
            issuer: options.issuer.clone().unwrap_or_else(|| base.clone()),
            base,
            ring: RwLock::new(Ring::new(options.algorithm, options.keep, options.ahead)?),
            faults: RwLock::new(options.faults.clone()),
            counts: Mutex::default(),
            issued: Mutex::default(),
            options,
        })
    }

    pub fn rotate(&self) -> Result<String, SigningFault> {
        self.ring.write().rotate()
    }

    /// An access token of these claims, which may replace the usual ones.
    pub fn issue(&self, more: Map<String, Value>, opaque: bool, lifetime: Duration) -> Result<Token, SigningFault> {
        let at = now();
        let lifetime = lifetime.as_secs();
        let mut claims = Map::new();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("iss", json!(self.issuer));
        match self.options.audience.as_slice() {
            [] => None,
            [one] => put("aud", json!(one)),
            several => put("aud", json!(several)),
        };
        put("iat", json!(at));
        put("exp", json!(at.saturating_add(lifetime)));
        put("jti", json!(crate::schema::token()));
        claims.extend(more);
        let token = if opaque {
            crate::schema::token()
        } else {
            let ring = self.ring.read();
            let kid = match self.faults.read().wrong_kid {
                true => format!("unpublished-{}", crate::schema::token()),
                false => ring.signing.kid.clone(),
            };
            let header = Map::from_iter([("typ", json!(self.options.typ)), ("kid", json!(kid))].map(named));
            ring.signing.key.sign(&header, &claims)?
        };
        let mut issued = self.issued.lock();
        let hash = fingerprint(&token);
        issued.claims.insert(hash, claims);
        issued.order.push_back(hash);
        if issued.order.len() > REMEMBERED
            && let Some(oldest) = issued.order.pop_front()
        {
            issued.claims.remove(&oldest);
        }
        Ok(Token { token, lifetime })
    }

    /// The claims of a token that was issued here and is good.
    pub fn claims(&self, token: &str) -> Option<Map<String, Value>> {
        let claims = self.issued.lock().claims.get(&fingerprint(token)).cloned()?;
        (claims.get("exp").and_then(Value::as_u64)? > now()).then_some(claims)
    }

    pub fn revoke(&self, token: &str) {
        self.issued.lock().claims.remove(&fingerprint(token));
    }

    /// Counts a request, and does to it what the faults say.
    async fn enter(&self, endpoint: &'static str) -> Result<Faults, StatusCode> {
        *self.counts.lock().entry(endpoint).or_default() += 1;
        let faults = self.faults.read().clone();
        if !faults.concern(endpoint) {
            return Ok(faults);
        }
        if faults.delay > 0 {
            tokio::time::sleep(Duration::from_millis(faults.delay)).await;
        }
        match faults.status {
            Some(status) => Err(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)),
            None => Ok(faults),
        }
    }

    fn document(&self) -> Value {
        let base = &self.base;
        let methods = ["client_secret_basic", "client_secret_post", "none"];
        json!({
            "issuer": self.issuer,
            "jwks_uri": format!("{base}/jwks"),
            "token_endpoint": format!("{base}/token"),
            "introspection_endpoint": format!("{base}/introspect"),
            "revocation_endpoint": format!("{base}/revoke"),
            "userinfo_endpoint": format!("{base}/userinfo"),
            "grant_types_supported": ["password", "client_credentials"],
            "response_types_supported": [],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.options.algorithm.name()],
            "token_endpoint_auth_methods_supported": methods,
            "introspection_endpoint_auth_methods_supported": methods,
        })
    }
}

pub fn named((name, value): (&str, Value)) -> (String, Value) {
    (name.to_owned(), value)
}

type Shared = State<Arc<World>>;
type Answer = Result<Response, StatusCode>;

pub fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/jwks", get(jwks))
        .route("/token", post(token))
        .route("/introspect", post(introspect))
        .route("/revoke", post(revoke))
        .route("/userinfo", get(userinfo).post(userinfo))
        .route("/rotate", post(rotate))
        .route("/faults", get(faults).post(set_faults).delete(clear_faults))
        .route("/counts", get(counts))
        .with_state(world)
}

async fn discovery(State(world): Shared) -> Answer {
    world.enter("discovery").await?;
    Ok(Json(world.document()).into_response())
}

async fn jwks(State(world): Shared) -> Answer {
    let faults = world.enter("jwks").await?;
    let keys = world.ring.read().published(faults.extra_keys);
    let mut response = Json(keys).into_response();
    if let Some(age) = world.options.max_age
        && let Ok(value) = format!("public, max-age={}", age.as_secs()).parse()
    {
        response.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    Ok(response)
}

/// An answer that nobody may keep (RFC 6749 section 5.1).
fn private(answer: Result<Value, Denied>) -> Response {
    let mut response = match answer {
        Ok(answer) => Json(answer).into_response(),
        Err(denied) => denied.into_response(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

async fn token(State(world): Shared, headers: HeaderMap, body: Bytes) -> Answer {
    world.enter("token").await?;
    Ok(private(grants::token(&world, &headers, &body)))
}

async fn introspect(State(world): Shared, headers: HeaderMap, body: Bytes) -> Answer {
    world.enter("introspect").await?;
    Ok(private(grants::introspect(&world, &headers, &body)))
}

async fn revoke(State(world): Shared, headers: HeaderMap, body: Bytes) -> Answer {
    world.enter("revoke").await?;
    Ok(private(grants::revoke(&world, &headers, &body)))
}

async fn userinfo(State(world): Shared, headers: HeaderMap) -> Answer {
    world.enter("userinfo").await?;
    Ok(private(grants::userinfo(&world, &headers)))
}

/// Pages in a browser do not control the provider.
fn not_a_page(headers: &HeaderMap) -> Result<(), StatusCode> {
    if headers.contains_key(header::ORIGIN) { Err(StatusCode::FORBIDDEN) } else { Ok(()) }
}

async fn rotate(State(world): Shared, headers: HeaderMap) -> Answer {
    not_a_page(&headers)?;
    let kid = world.rotate().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(json!({ "kid": kid })).into_response())
}

async fn faults(State(world): Shared) -> Json<Faults> {
    Json(world.faults.read().clone())
}

async fn set_faults(State(world): Shared, headers: HeaderMap, body: Bytes) -> Answer {
    not_a_page(&headers)?;
    let read = serde_json::from_slice::<Faults>(&body).map_err(|fault| fault.to_string());
    Ok(match read.and_then(|faults| faults.check().map(|()| faults)) {
        Ok(faults) => {
            *world.faults.write() = faults.clone();
            Json(faults).into_response()
        }
        Err(message) => (StatusCode::BAD_REQUEST, Json(json!({ "message": message }))).into_response(),
    })
}

async fn clear_faults(State(world): Shared, headers: HeaderMap) -> Answer {
    not_a_page(&headers)?;
    *world.faults.write() = Faults::default();
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn counts(State(world): Shared) -> Json<HashMap<&'static str, u64>> {
    Json(world.counts.lock().clone())
}
