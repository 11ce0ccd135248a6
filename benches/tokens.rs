//! What a token costs: parsing, signatures, and the whole `jwt` plugin, without a socket.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::auth::jwt::{Jwt, Lent};
use portcullis::auth::oauth2::store::{Digest, Gone, Token};
use portcullis::auth::oauth2::{Oauth2, Shared, TokenStore};
use portcullis::auth::verified::Verified;
use portcullis::auth::{Client, Directory, Flow, Plugin as _, Request, Scheme, State, identity};
use portcullis::entity::{Consumer, JwtSecret, Plugin, Ref};
use portcullis::jose::{Algorithm, Compact, Jws, Object, SigningKey, hmac};
use portcullis::store::tokens::LocalTokens;
use serde_json::{Map, Value, json};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: u64 = 1_800_000_000;

/// Claims as an identity provider puts them in: with the header, a token of about 350 bytes.
fn claims(issuer: &str) -> Map<String, Value> {
    let claims = json!({
        "iss": issuer, "sub": "1234567890", "name": "John Doe", "aud": "https://api.example.com", "iat": NOW - 60,
        "exp": NOW + 3600, "jti": "b3f1c9e2-9d4e-4c1e-8a55-0d6b1f0f2c11",
    });
    claims.as_object().cloned().unwrap_or_default()
}

fn token(key: &SigningKey, issuer: &str) -> String {
    let header = Map::from_iter([("kid".to_owned(), Value::from("key-2024-01"))]);
    key.sign(&header, &claims(issuer)).expect("a token")
}

/// One consumer with a credential of every algorithm, named after it.
fn directory(keys: &[SigningKey]) -> Directory {
    let consumer = Ref { id: Uuid::from_u128(1) };
    let mut directory = Directory::default();
    directory.put_consumer(Arc::new(Consumer {
        id: consumer.id,
        created_at: 0,
        updated_at: 0,
        username: Some("alice".into()),
        custom_id: Some("alice-1".into()),
        tags: None,
    }));
    for (n, key) in keys.iter().enumerate() {
        let secret = key.secret().map(|secret| String::from_utf8_lossy(secret).into_owned());
        let credential = JwtSecret {
            id: Uuid::from_u128(100 + n as u128),
            created_at: 0,
            consumer,
            key: key.algorithm().name().into(),
            secret: secret.unwrap_or_default().into(),
            algorithm: key.algorithm(),
            rsa_public_key: key.public_pem().map(Into::into),
            tags: None,
        };
        directory.put_jwt(Arc::new(credential), None, &mut Vec::new());
    }
    directory
}

fn plugin(cache: usize) -> Jwt {
    let config = json!({
        "uri_param_names": ["jwt"], "cookie_names": [], "header_names": ["authorization"], "key_claim_name": "iss",
        "claims_to_verify": ["exp"],
    });
    let lent = Lent { verified: Arc::new(Verified::new(cache)), ..Lent::default() };
    Jwt::compile(config.as_object().expect("an object"), lent).expect("a plugin")
}

fn parts(c: &mut Criterion) {
    let secret = b"a secret of thirty-two bytes ...";
    let token = token(&SigningKey::from_secret(Algorithm::Hs256, secret).expect("a key"), "HS256");
    let mut scratch = Vec::new();
    let jws = Jws::parse(token.as_bytes(), &mut scratch).expect("a JWS");
    let mut decoded = Vec::new();
    let payload = Compact::decode(token.as_bytes(), &mut decoded).expect("three parts").payload;

    c.bench_function("decode base64url", |b| {
        b.iter(|| {
            let mut scratch = Vec::new();
            black_box(Compact::decode(black_box(token.as_bytes()), &mut scratch).is_ok())
        })
    });
    c.bench_function("parse claims", |b| b.iter(|| black_box(Object::parse(black_box(payload)).is_ok())));
    c.bench_function("parse token", |b| {
        b.iter(|| {
            let mut scratch = Vec::new();
            black_box(Jws::parse(black_box(token.as_bytes()), &mut scratch).is_ok())
        })
    });
    c.bench_function("verify HS256", |b| {
        b.iter(|| black_box(hmac::verify(Algorithm::Hs256, secret, black_box(jws.signing_input), jws.signature)))
    });
}

fn whole(c: &mut Criterion) {
    let mut keys = vec![SigningKey::from_secret(Algorithm::Hs256, b"a secret of thirty-two bytes ...").expect("a key")];
    let others = [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
    keys.extend(others.map(|algorithm| SigningKey::generate(algorithm).expect("a key")));
    let directory = directory(&keys);
    let address = IpAddr::from([127, 0, 0, 1]);
    for key in &keys {
        let name = key.algorithm().name();
        let token = token(key, name);
        let mut headers = http::HeaderMap::new();
        for (name, value) in [("host", "a.test"), ("accept", "*/*"), ("authorization", &*format!("Bearer {token}"))] {
            headers.insert(name, value.parse().expect("a value"));
        }
        let request = Request {
            method: &http::Method::GET,
            path: "/",
            query: None,
            headers: &headers,
            body: None,
            client: Client { address, peer: address, trusted: false },
            scheme: Scheme::Http,
            now: NOW,
            route: Uuid::nil(),
            service: None,
            generation: 1,
            directory: &directory,
        };
        for (kind, cache) in [("first seen", 0), ("seen before", 1 << 20)] {
            let plugin = plugin(cache);
            c.bench_function(&format!("jwt plugin, {name}, {kind}"), |b| {
                b.iter(|| {
                    let mut state = State::default();
                    assert!(matches!(plugin.access(&request, &mut state), Flow::Next));
                    black_box(state.authenticated().map(|who| identity::headers(who).count()))
                })
            });
        }
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or_default() * 4096
}

/// The oauth2 plugin on a token that it issued, beside more and more others; prints what one takes in memory.
fn opaque(c: &mut Criterion) {
    let credential = Uuid::from_u128(7);
    let mut directory = directory(&[]);
    let application = json!({
        "id": credential, "created_at": 0, "consumer": {"id": Uuid::from_u128(1)}, "name": "app", "client_id": "app",
        "client_secret": "s", "hash_secret": false, "redirect_uris": null, "client_type": "confidential", "tags": null,
    });
    directory.put_oauth2(Arc::new(serde_json::from_value(application).expect("an application")));
    let config = json!({
        "mandatory_scope": false, "provision_key": "p", "token_expiration": 7200, "enable_authorization_code": false,
        "enable_implicit_grant": false, "enable_client_credentials": true, "enable_password_grant": false,
        "hide_credentials": false, "global_credentials": true, "refresh_token_ttl": 1_209_600, "reuse_refresh_token": false,
    });
    let plugin = json!({
        "id": Uuid::from_u128(9), "created_at": 0, "updated_at": 0, "name": "oauth2", "instance_name": null, "route": null,
        "service": null, "consumer": null, "config": config, "protocols": ["http"], "enabled": true, "tags": null,
    });
    let plugin: Plugin = serde_json::from_value(plugin).expect("a plugin");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let store = Arc::new(LocalTokens::in_memory());
    let shared = Shared::new(store.clone());
    let plugin = Oauth2::compile(&plugin, &shared).expect("a plugin");
    let name = |n: usize| format!("{n:032}");
    let address = IpAddr::from([127, 0, 0, 1]);
    let mut there = 0;
    for count in [1, 10_000, 1_000_000] {
        let before = resident();
        runtime.block_on(async {
            for n in there..count {
                let token = Token {
                    id: Uuid::from_u128(n as u128),
                    access: Digest::of(&name(n)),
                    refresh: None,
                    credential,
                    service: None,
                    userid: None,
                    scope: Some("email profile".into()),
                    created_at: NOW - 10,
                    expires_in: 7200,
                    purge_at: None,
                    code: None,
                    gone: Gone::default(),
                };
                store.issue(token).await.expect("kept");
            }
        });
        if count > 10_000 {
            eprintln!("{} bytes a token", (resident() - before) / (count - there));
        }
        there = count;
        let headers: Vec<http::HeaderMap> = (0..1024)
            .map(|n| {
                // Spread over all of them, as clients' tokens are.
                let token = name(n * 7919 % count);
                let fields = [("host", "a.test".to_owned()), ("authorization", format!("Bearer {token}"))];
                let value = |value: String| value.parse::<http::HeaderValue>().expect("a value");
                fields.into_iter().map(|(name, v)| (http::HeaderName::from_static(name), value(v))).collect()
            })
            .collect();
        let mut next = 0;
        c.bench_function(&format!("oauth2 plugin, {count} tokens"), |b| {
            b.iter(|| {
                next = (next + 1) % headers.len();
                let request = Request {
                    method: &http::Method::GET,
                    path: "/",
                    query: None,
                    headers: &headers[next],
                    body: None,
                    client: Client { address, peer: address, trusted: false },
                    scheme: Scheme::Http,
                    now: NOW,
                    route: Uuid::nil(),
                    service: None,
                    generation: 1,
                    directory: &directory,
                };
                let mut state = State::default();
                assert!(matches!(plugin.access(&request, &mut state), Flow::Next));
                black_box(state.authenticated().map(|who| identity::headers(who).count()))
            })
        });
    }
}

criterion_group!(benches, parts, whole, opaque);
criterion_main!(benches);
