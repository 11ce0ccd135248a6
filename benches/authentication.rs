//! Finding a token in a request, and a whole authentication, without sockets.
//!
//! `cargo bench --bench authentication`. `extraction` is what a request costs that has no token, or something that is
//! none; `authentication` goes from the request to the consumer, among a hundred thousand credentials.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis::auth::jwt::{Jwt, Lent};
use portcullis::auth::key_auth::KeyAuth;
use portcullis::auth::verified::Verified;
use portcullis::auth::{Client, Directory, Flow, Plugin, Request, Scheme, State};
use portcullis::entity::{Consumer, JwtSecret, KeyAuthCredential, Ref};
use portcullis::jose::{Algorithm, SigningKey};
use serde_json::{Map, Value, json};
use uuid::Uuid;

criterion_group!(benches, extraction, authentication);
criterion_main!(benches);

const CREDENTIALS: u32 = 100_000;

/// Every field, as the plugin's table would fill them in.
fn jwt(changes: Value, verified: Verified) -> Jwt {
    let config = json!({
        "uri_param_names": ["jwt"], "cookie_names": [], "header_names": ["authorization"], "key_claim_name": "iss",
        "secret_is_base64": false, "claims_to_verify": ["exp"], "maximum_expiration": 0, "anonymous": null,
        "run_on_preflight": true, "realm": null,
    });
    let lent = Lent { verified: Arc::new(verified), ..Lent::default() };
    Jwt::compile(&with(config, changes), lent).expect("a plugin")
}

fn with(mut config: Value, changes: Value) -> Map<String, Value> {
    if let (Some(config), Value::Object(changes)) = (config.as_object_mut(), changes) {
        config.extend(changes);
    }
    config.as_object().cloned().unwrap_or_default()
}

/// What a browser or a client library sends along.
fn sent(query: Option<&str>, headers: &[(&'static str, &str)]) -> Sent {
    let usual = [
        ("host", "api.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("accept", "application/json, text/plain, */*"),
        ("accept-encoding", "gzip, deflate, br"),
        ("x-request-id", "5a3f9f1e7b4c4f0c9d8e7a6b5c4d3e2f"),
    ];
    let mut map = HeaderMap::new();
    for (name, value) in usual.iter().chain(headers) {
        map.append(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header value"));
    }
    Sent { method: Method::GET, query: query.map(str::to_string), headers: map }
}

struct Sent {
    method: Method,
    query: Option<String>,
    headers: HeaderMap,
}

impl Sent {
    fn request<'a>(&'a self, directory: &'a Directory) -> Request<'a> {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Request {
            method: &self.method,
            path: "/orders/42",
            query: self.query.as_deref(),
            headers: &self.headers,
            body: None,
            client: Client { address, peer: address, trusted: false },
            scheme: Scheme::Https,
            now: 1_800_000_000,
            route: Uuid::from_u128(1),
            service: None,
            generation: 1,
            directory,
        }
    }
}

fn run(plugin: &dyn Plugin, request: &Request<'_>) -> bool {
    let mut state = State::default();
    let passed = matches!(plugin.access(black_box(request), &mut state), Flow::Next);
    passed && state.authenticated().is_some()
}

fn extraction(criterion: &mut Criterion) {
    let directory = Directory::default();
    let many = json!({
        "uri_param_names": ["jwt", "token", "access_token"], "cookie_names": ["session", "jwt"],
        "header_names": ["authorization", "x-token"],
    });
    let (usual, many) = (jwt(json!({}), Verified::default()), jwt(many, Verified::default()));
    let mut group = criterion.benchmark_group("extraction");
    let cookies = "theme=dark; consent=yes; _ga=GA1.2.1234567890.1700000000; session=not-a-token";
    for (name, plugin, sent) in [
        ("no_token", &usual, sent(None, &[])),
        ("header", &usual, sent(None, &[("authorization", "Bearer not-a-token")])),
        ("query", &usual, sent(Some("page=1&sort=name&jwt=not-a-token"), &[])),
        ("cookie_among_many_sources", &many, sent(Some("page=1&sort=name"), &[("cookie", cookies)])),
    ] {
        let request = sent.request(&directory);
        group.bench_function(name, |bencher| bencher.iter(|| run(plugin, &request)));
    }
    group.finish();
}

fn consumer(n: u32) -> Consumer {
    let username = Some(format!("user-{n}").into());
    Consumer { id: Uuid::from_u128(n.into()), created_at: 0, updated_at: 0, username, custom_id: None, tags: None }
}

fn secret(n: u32, key: &str, algorithm: Algorithm, secret: &[u8], pem: Option<&str>) -> JwtSecret {
    JwtSecret {
        id: Uuid::from_u128(u128::from(n) + (1 << 64)),
        created_at: 0,
        consumer: Ref { id: Uuid::from_u128(n.into()) },
        key: key.into(),
        secret: String::from_utf8_lossy(secret).into(),
        algorithm,
        rsa_public_key: pem.map(Into::into),
        tags: None,
    }
}

fn authentication(criterion: &mut Criterion) {
    let mut directory = Directory::default();
    for n in 0..CREDENTIALS {
        directory.put_consumer(Arc::new(consumer(n)));
        let key = format!("key-{n}");
        let entity = secret(n, &key, Algorithm::Hs256, format!("a-secret-of-thirty-two-bytes-{n:06}").as_bytes(), None);
        directory.put_jwt(Arc::new(entity), None, &mut Vec::new());
        directory.put_key_auth(Arc::new(KeyAuthCredential {
            id: Uuid::from_u128(u128::from(n) + (2 << 64)),
            created_at: 0,
            consumer: Ref { id: Uuid::from_u128(n.into()) },
            key: key.into(),
            ttl: None,
            tags: None,
        }));
    }
    let mut group = criterion.benchmark_group("authentication");
    for algorithm in [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        let signer = match algorithm {
            Algorithm::Hs256 => SigningKey::from_secret(algorithm, b"a-secret-of-thirty-two-bytes-000042"),
            _ => SigningKey::generate(algorithm),
        };
        let signer = signer.expect("a key");
        let key = format!("key-{algorithm}");
        let pem = signer.public_pem();
        let entity = secret(42, &key, algorithm, signer.secret().unwrap_or(b"unused"), pem.as_deref());
        directory.put_jwt(Arc::new(entity), None, &mut Vec::new());
        let claims = json!({"iss": key, "sub": "alice", "exp": 4_102_444_800_u64, "scope": "orders:read orders:write"});
        let token = signer.sign(&Map::new(), claims.as_object().expect("claims")).expect("a token");
        let sent = sent(None, &[("authorization", &format!("Bearer {token}"))]);
        let request = sent.request(&directory);
        for (cache, bytes) in [("first_time", 0), ("again", 1 << 20)] {
            if algorithm.is_hmac() && bytes > 0 {
                continue;
            }
            let plugin = jwt(json!({}), Verified::new(bytes));
            assert!(run(&plugin, &request));
            group.bench_function(format!("jwt/{algorithm}/{cache}"), |bencher| bencher.iter(|| run(&plugin, &request)));
        }
    }
    let config = json!({
        "key_names": ["apikey"], "key_in_header": true, "key_in_query": true, "key_in_body": false, "hide_credentials": false,
        "run_on_preflight": true, "anonymous": null, "realm": null,
    });
    let plugin = KeyAuth::compile(&with(config, json!({}))).expect("a plugin");
    let sent = sent(None, &[("apikey", "key-4242")]);
    let request = sent.request(&directory);
    assert!(run(&plugin, &request));
    group.bench_function("key-auth", |bencher| bencher.iter(|| run(&plugin, &request)));
    group.finish();
}
