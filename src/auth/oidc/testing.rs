//! An identity provider on a real socket, and plugins that use it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{Response, Uri};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::{Lent, Oidc, Options, Registry};
use crate::auth::testing::{Sent, directory};
use crate::auth::{Directory, Flow, Plugin, Rejection, State};
use crate::diagnostic::Diagnostic;
use crate::jose::{Algorithm, PublicKey, SigningKey, base64url};
use crate::store::tokens::LocalTokens;

/// Status, content type and body for each path.
type Answers = HashMap<String, (u16, String, String)>;

#[derive(Default)]
pub struct World {
    pub answers: Mutex<Answers>,
    hits: Mutex<HashMap<String, u64>>,
    forms: Mutex<Vec<(String, Option<String>, String)>>,
    /// Milliseconds before each answer.
    pub delay: AtomicU64,
    /// HTTP's, of the last request.
    pub version: Mutex<http::Version>,
}

pub struct Idp {
    pub issuer: String,
    pub world: Arc<World>,
    pub key: SigningKey,
    server: tokio::task::JoinHandle<()>,
}

pub fn ed_jwk(key: &SigningKey, kid: &str) -> Value {
    let PublicKey::Ed25519(x) = PublicKey::from_pem(&key.public_pem().unwrap()).unwrap() else { panic!() };
    json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url::encode(x), "kid": kid, "alg": "EdDSA" })
}

pub fn new_key() -> SigningKey {
    SigningKey::generate(Algorithm::EdDsa).unwrap()
}

async fn answer(
    Shared(world): Shared<Arc<World>>,
    version: http::Version,
    uri: Uri,
    headers: http::HeaderMap,
    body: Bytes,
) -> Response<Body> {
    *world.version.lock() = version;
    *world.hits.lock().entry(uri.path().to_owned()).or_default() += 1;
    let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    world.forms.lock().push((uri.path().to_owned(), authorization, String::from_utf8_lossy(&body).into_owned()));
    tokio::time::sleep(Duration::from_millis(world.delay.load(Relaxed))).await;
    let found = world.answers.lock().get(uri.path()).cloned();
    let (status, kind, text) = found.unwrap_or((404, "application/json".into(), "{}".into()));
    let mut response = Response::builder().status(status).header("content-type", kind);
    if status == 302 {
        response = response.header("location", &text);
    }
    response.body(Body::from(text)).unwrap()
}

impl Idp {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}/realm", listener.local_addr().unwrap());
        let world = Arc::new(World::default());
        let router = Router::new().fallback(answer).with_state(world.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let idp = Self { issuer, world, key: new_key(), server };
        let issuer = &idp.issuer;
        let document = json!({
            "issuer": issuer, "jwks_uri": format!("{issuer}/jwks"), "token_endpoint": format!("{issuer}/token"),
            "introspection_endpoint": format!("{issuer}/introspect"), "userinfo_endpoint": format!("{issuer}/userinfo"),
        });
        idp.answers("/.well-known/openid-configuration", 200, &document.to_string());
        idp.publish(&[ed_jwk(&idp.key, "one")]);
        idp
    }

    pub fn stop(&self) {
        self.server.abort();
    }

    pub fn answers(&self, path: &str, status: u16, text: &str) {
        let answer = (status, "application/json".to_owned(), text.to_owned());
        self.world.answers.lock().insert(format!("/realm{path}"), answer);
    }

    /// 200, of a type.
    pub fn answers_as(&self, path: &str, kind: &str, text: &str) {
        self.world.answers.lock().insert(format!("/realm{path}"), (200, kind.to_owned(), text.to_owned()));
    }

    pub fn publish(&self, keys: &[Value]) {
        self.answers("/jwks", 200, &json!({ "keys": keys }).to_string());
    }

    pub fn hits(&self, path: &str) -> u64 {
        self.world.hits.lock().get(&format!("/realm{path}")).copied().unwrap_or(0)
    }

    /// Authorization and body of the last request for a path.
    pub fn last(&self, path: &str) -> (Option<String>, String) {
        let forms = self.world.forms.lock();
        let last = forms.iter().rev().find(|(there, ..)| *there == format!("/realm{path}")).unwrap();
        (last.1.clone(), last.2.clone())
    }

    /// Good claims, changed.
    pub fn claims(&self, changes: Value) -> Map<String, Value> {
        let now = crate::auth::testing::NOW;
        let mut claims =
            json!({ "iss": self.issuer, "sub": "alice-sub", "exp": now + 60, "iat": now, "scope": "openid a" })
                .as_object()
                .unwrap()
                .clone();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.remove(name);
            } else {
                claims.insert(name.clone(), value.clone());
            }
        }
        claims
    }

    pub fn token_by(&self, key: &SigningKey, header: Value, changes: Value) -> String {
        key.sign(header.as_object().unwrap(), &self.claims(changes)).unwrap()
    }

    /// A good token, its claims changed.
    pub fn token(&self, changes: Value) -> String {
        self.token_by(&self.key, json!({ "kid": "one" }), changes)
    }

    /// A plugin of this issuer; only bearer tokens unless said otherwise.
    pub fn plugin(&self, changes: Value) -> Oidc {
        self.try_plugin(changes, &Arc::new(Registry::default())).unwrap().0
    }

    pub fn try_plugin(
        &self,
        changes: Value,
        registry: &Arc<Registry>,
    ) -> Result<(Oidc, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut config = json!({ "issuer": self.issuer, "auth_methods": ["bearer"] });
        for (name, value) in changes.as_object().unwrap() {
            config[name] = value.clone();
        }
        let mut warnings = Vec::new();
        let plugin = Oidc::compile(&complete(config), lent(registry), &mut warnings)?;
        Ok((plugin, warnings))
    }
}

pub fn lent(registry: &Arc<Registry>) -> Lent {
    Lent {
        token_limit: 16 * 1024,
        verified: Arc::default(),
        registry: registry.clone(),
        tokens: Arc::new(LocalTokens::in_memory()),
    }
}

pub fn cached_in(folder: &std::path::Path) -> Arc<Registry> {
    Arc::new(Registry::new(Options { cache_dir: Some(folder.to_owned()), ..Options::default() }))
}

/// A configuration as it is when it has passed its table.
pub fn complete(config: Value) -> Map<String, Value> {
    let input = json!({ "name": "openid-connect", "config": config });
    let table = crate::entity::tables::table(crate::entity::Kind::Plugin);
    let whole = table.insert(input.as_object().unwrap().clone(), crate::schema::Now::system()).unwrap();
    whole["config"].as_object().unwrap().clone()
}

/// Sends a request through a plugin, waiting where that is needed; several times where it was let through at once.
pub async fn send_to(plugin: &Oidc, sent: &Sent, directory: &Directory) -> (State, Result<(), Box<Rejection>>) {
    let request = sent.request(directory);
    let mut state = State::default();
    let (at_once, outcome) = match plugin.access(&request, &mut state) {
        Flow::Next => (true, Ok(())),
        Flow::Stop(rejection) => (false, Err(rejection)),
        Flow::Wait(decision) => (false, decision.await),
    };
    if at_once {
        sent.ends_as_before(&[plugin], directory, &state, &outcome);
    }
    (state, outcome)
}

pub async fn send(plugin: &Oidc, sent: &Sent) -> (State, Result<(), Box<Rejection>>) {
    send_to(plugin, sent, &directory([], [])).await
}

/// `ok`, or status and reason.
pub async fn told(plugin: &Oidc, sent: &Sent) -> String {
    match send(plugin, sent).await.1 {
        Ok(()) => "ok".into(),
        Err(rejection) => format!("{} {}", rejection.status.as_u16(), rejection.reason.label()),
    }
}
