//! Fixtures for the tests of authenticating plugins: a directory, and requests without a socket.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use uuid::Uuid;

use super::oauth2::store::{Digest, Token};
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
        directory.put_jwt(Arc::new(secret), &mut Vec::new());
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
}

/// `GET` of nothing in particular.
pub fn get() -> Sent {
    Sent { method: Method::GET, query: None, headers: HeaderMap::new(), body: None, now: NOW }
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
            directory,
        }
    }

    /// Sends it through plugins in their order, as a chain does.
    pub fn through(&self, plugins: &[&dyn Plugin], directory: &Directory) -> (State, Result<(), Box<Rejection>>) {
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
        Some(super::Principal::Authenticated { credential, .. }) => {
            format!("{name}/{}", credential.as_deref().unwrap_or("-"))
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
    }
}
