//! An identity provider: discovery and keys on a port of its own, and whatever else is put there, faults included.

use std::collections::HashMap;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis::jose::{Algorithm, PublicKey, SigningKey, base64url};
use serde_json::{Map, Value, json};

use super::http;

/// Head lines after the first, and a body; `None` never answers.
type Answer = Option<(u16, String, Vec<u8>)>;

#[derive(Default)]
struct World {
    answers: Mutex<HashMap<String, Answer>>,
    hits: Mutex<HashMap<String, u64>>,
    /// Milliseconds before every answer.
    delay: AtomicU64,
}

/// The provider; it ends with the test process.
#[derive(Clone)]
pub struct Idp {
    pub issuer: String,
    world: Arc<World>,
    key: Arc<SigningKey>,
}

pub fn new_key() -> SigningKey {
    SigningKey::generate(Algorithm::EdDsa).unwrap()
}

pub fn jwk(key: &SigningKey, kid: &str) -> Value {
    let PublicKey::Ed25519(x) = PublicKey::from_pem(&key.public_pem().unwrap()).unwrap() else { panic!("not Ed25519") };
    json!({"kty": "OKP", "crv": "Ed25519", "x": base64url::encode(x), "kid": kid, "alg": "EdDSA", "use": "sig"})
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// `claims` with some changed; `null` takes one away.
pub fn changed(mut claims: Map<String, Value>, changes: &Value) -> Map<String, Value> {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.remove(name);
        } else {
            claims.insert(name.clone(), value.clone());
        }
    }
    claims
}

impl Idp {
    /// With one key, `one`, published.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}/realm", listener.local_addr().unwrap());
        let idp = Self { issuer, world: Arc::default(), key: Arc::new(new_key()) };
        idp.document(json!({}));
        idp.publish(&[jwk(&idp.key, "one")]);
        let there = idp.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let idp = there.clone();
                std::thread::spawn(move || idp.serve(stream));
            }
        });
        idp
    }

    /// The discovery document, some of it changed.
    pub fn document(&self, changes: Value) {
        let issuer = &self.issuer;
        let document = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/jwks"),
            "token_endpoint": format!("{issuer}/token"), "introspection_endpoint": format!("{issuer}/introspect")});
        let document = changed(document.as_object().unwrap().clone(), &changes);
        self.json("/.well-known/openid-configuration", &Value::Object(document));
    }

    pub fn publish(&self, keys: &[Value]) {
        self.json("/jwks", &json!({"keys": keys}));
    }

    pub fn json(&self, path: &str, body: &Value) {
        self.answer(path, 200, "Content-Type: application/json", body.to_string().as_bytes());
    }

    pub fn answer(&self, path: &str, status: u16, head: &str, body: &[u8]) {
        self.put(path, Some((status, head.to_owned(), body.to_vec())));
    }

    /// Takes requests for a path and never answers them.
    pub fn hang(&self, path: &str) {
        self.put(path, None);
    }

    /// Fails whatever is asked.
    pub fn fail(&self) {
        for path in ["/.well-known/openid-configuration", "/jwks"] {
            self.answer(path, 503, "Content-Type: text/plain", b"away");
        }
    }

    fn put(&self, path: &str, answer: Answer) {
        self.world.answers.lock().unwrap().insert(format!("/realm{path}"), answer);
    }

    pub fn delay(&self, milliseconds: u64) {
        self.world.delay.store(milliseconds, Relaxed);
    }

    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// How often a path was asked for.
    pub fn hits(&self, path: &str) -> u64 {
        self.world.hits.lock().unwrap().get(&format!("/realm{path}")).copied().unwrap_or(0)
    }

    /// Good claims, some changed.
    pub fn claims(&self, changes: &Value) -> Map<String, Value> {
        let claims = json!({"iss": self.issuer, "sub": "alice", "iat": now(), "exp": now() + 300});
        changed(claims.as_object().unwrap().clone(), changes)
    }

    /// A token by the key `one`.
    pub fn token(&self, changes: Value) -> String {
        self.token_by(&self.key, json!({"kid": "one"}), changes)
    }

    pub fn token_by(&self, key: &SigningKey, header: Value, changes: Value) -> String {
        key.sign(header.as_object().unwrap(), &self.claims(&changes)).unwrap()
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut rest = Vec::new();
        loop {
            let (line, headers) = http::read_head(&mut stream, &mut rest)?;
            let _body = http::read_body(&mut stream, &headers, &mut rest, false);
            let path = line.split(' ').nth(1)?.to_owned();
            *self.world.hits.lock().unwrap().entry(path.clone()).or_default() += 1;
            std::thread::sleep(Duration::from_millis(self.world.delay.load(Relaxed)));
            let missing = Some((404, "Content-Type: application/json".to_owned(), b"{}".to_vec()));
            let answer = self.world.answers.lock().unwrap().get(&path).cloned().unwrap_or(missing);
            let Some((status, head, body)) = answer else {
                std::thread::sleep(Duration::from_secs(60));
                return None;
            };
            let head = format!("HTTP/1.1 {status} X\r\n{head}\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).ok()?;
            stream.write_all(&body).ok()?;
        }
    }
}
