//! Fixtures for the tests of authenticating plugins: a directory, and requests without a socket.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use uuid::Uuid;

use super::oauth2::store::{Digest, Gone, Token};
use super::reason::Body;
use super::{Client, Directory, Flow, Plugin, Rejection, Request, Scheme, State};
use crate::entity::{Consumer, JwtSecret, KeyAuthCredential, Ref};
use crate::jose::Algorithm;

/// The time every test request comes in at.
pub const NOW: u64 = 1_800_000_000;

pub fn id(n: u32) -> Uuid {
    Uuid::from_u128(0x00000000_0000_4000_8000_000000000000 | u128::from(n))
}

pub fn consumer(n: u32, username: Option<&str>, custom_id: Option<&str>) -> Consumer {
    Consumer {
        id: id(n),
        created_at: 0,
        updated_at: 0,
        username: username.map(Into::into),
        custom_id: custom_id.map(Into::into),
        tags: None,
    }
}

pub fn jwt_secret(
    n: u32,
    consumer: u32,
    key: &str,
    algorithm: Algorithm,
    secret: &str,
    pem: Option<&str>,
) -> JwtSecret {
    JwtSecret {
        id: id(n),
        created_at: 0,
        consumer: Ref { id: id(consumer) },
        key: key.into(),
        secret: secret.into(),
        algorithm,
        rsa_public_key: pem.map(Into::into),
        tags: None,
    }
}

pub fn api_key(n: u32, consumer: u32, key: &str, ttl: Option<i64>) -> KeyAuthCredential {
    KeyAuthCredential {
        id: id(n),
        created_at: NOW as i64 - 100,
        consumer: Ref { id: id(consumer) },
        key: key.into(),
        ttl,
        tags: None,
    }
}

/// Alice (1), a consumer without username (2), Carol (3), and `anonymous` (9).
pub fn directory(
    jwt: impl IntoIterator<Item = JwtSecret>,
    keys: impl IntoIterator<Item = KeyAuthCredential>,
) -> Directory {
    let mut directory = Directory::default();
    for consumer in [
        consumer(1, Some("alice"), Some("alice-cid")),
        consumer(2, None, Some("bob-cid")),
        consumer(3, Some("carol"), None),
        consumer(9, Some("anonymous"), Some("anon-cid")),
    ] {
        directory.put_consumer(Arc::new(consumer));
    }
    for secret in jwt {
        directory.put_jwt(Arc::new(secret), None, &mut Vec::new());
    }
    directory.key_auth = keys.into_iter().map(Arc::new).collect();
    directory
}

/// A request to be.
#[derive(Clone, Debug)]
pub struct Sent {
    pub method: Method,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Option<Bytes>,
    pub now: u64,
    /// 0: nothing is kept of what is decided about it.
    pub generation: u64,
}

/// `GET` of nothing in particular.
pub fn get() -> Sent {
    Sent { method: Method::GET, query: None, headers: HeaderMap::new(), body: None, now: NOW, generation: 0 }
}

impl Sent {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn query(mut self, query: &str) -> Self {
        self.query = Some(query.into());
        self
    }

    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    pub fn body(mut self, content_type: &str, body: &str) -> Self {
        self.body = Some(Bytes::copy_from_slice(body.as_bytes()));
        self.header("content-type", content_type)
    }

    /// As a request of a snapshot that is in force.
    pub fn in_force(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    pub fn at(mut self, now: u64) -> Self {
        self.now = now;
        self
    }

    pub fn request<'a>(&'a self, directory: &'a Directory) -> Request<'a> {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Request {
            method: &self.method,
            path: "/",
            query: self.query.as_deref(),
            headers: &self.headers,
            body: self.body.as_ref(),
            client: Client { address, peer: address, trusted: false },
            scheme: Scheme::Http,
            now: self.now,
            route: id(600),
            service: None,
            generation: self.generation,
            directory,
        }
    }

    /// Sends it through plugins in their order, as a chain does; then several times more, to the same end.
    pub fn through(&self, plugins: &[&dyn Plugin], directory: &Directory) -> (State, Result<(), Box<Rejection>>) {
        let (state, outcome) = self.once_through(plugins, directory);
        self.ends_as_before(plugins, directory, &state, &outcome);
        (state, outcome)
    }

    /// That what is kept of decisions changes none.
    pub fn ends_as_before(
        &self,
        plugins: &[&dyn Plugin],
        directory: &Directory,
        state: &State,
        outcome: &Result<(), Box<Rejection>>,
    ) {
        static GENERATION: AtomicU64 = AtomicU64::new(1_000_000);
        let told = |state: &State, outcome: &Result<(), Box<Rejection>>| {
            let (remove, set): (Vec<_>, Vec<_>) = (state.removed().collect(), state.set().collect());
            let response: Vec<_> = state.response().collect();
            let outcome = outcome.as_ref().map_or_else(|rejection| shown(rejection), |()| caller(state));
            format!("{outcome} {remove:?} {set:?} {response:?} {:?} {:?} {:?}", state.query, state.body, state.fallback)
        };
        let sent = self.clone().in_force(GENERATION.fetch_add(1, Relaxed));
        for _ in 0..4 {
            let (again, next) = sent.once_through(plugins, directory);
            assert_eq!(told(&again, &next), told(state, outcome));
        }
    }

    fn once_through(&self, plugins: &[&dyn Plugin], directory: &Directory) -> (State, Result<(), Box<Rejection>>) {
        let request = self.request(directory);
        let mut state = State::default();
        for plugin in plugins {
            let outcome = match plugin.access(&request, &mut state) {
                Flow::Next => Ok(()),
                Flow::Stop(rejection) => Err(rejection),
                Flow::Wait(_) => panic!("nothing to wait for"),
            };
            if outcome.is_err() {
                return (state, outcome);
            }
        }
        (state, Ok(()))
    }
}

/// Status, body and challenge of a refusal, in one line.
pub fn shown(rejection: &Rejection) -> String {
    let body = match &rejection.body {
        Body::Message(text) => format!("{{{text}}}"),
        Body::Json(text) => text.to_string(),
        Body::Negotiated(text) => format!("~{text}"),
        Body::Raw { content_type, bytes } => format!("[{content_type}] {}", String::from_utf8_lossy(bytes)),
        Body::Generated => "~".into(),
        Body::Empty => String::new(),
    };
    let challenge = rejection
        .headers
        .iter()
        .map(|(name, value)| format!(" {name}: {}", value.to_str().unwrap()))
        .collect::<String>();
    format!("{} {body}{challenge}", rejection.status.as_u16())
}

/// Who a request goes on as: `username/credential`, `anonymous:username`, or nobody.
pub fn caller(state: &State) -> String {
    let name = state.consumer().and_then(|consumer| consumer.username.as_deref()).unwrap_or("-");
    match state.principal() {
        None => "nobody".into(),
        Some(super::Principal::Anonymous(_)) => format!("anonymous:{name}"),
        Some(super::Principal::Authenticated(caller)) => {
            format!("{name}/{}", caller.credential.as_deref().unwrap_or("-"))
        }
    }
}

/// A token that was issued to a client with the id 70, and does not end.
pub fn issued(access: &str, scope: Option<&str>, userid: Option<&str>) -> Token {
    Token {
        id: id(1),
        access: Digest::of(access),
        refresh: None,
        credential: id(70),
        service: None,
        userid: userid.map(Into::into),
        scope: scope.map(Into::into),
        created_at: 0,
        expires_in: 0,
        purge_at: None,
        code: None,
        gone: Gone::default(),
    }
}
