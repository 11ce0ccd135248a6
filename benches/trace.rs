//! One decision of each plugin, over and over: what an instruction counter is put on to see what tracing costs.
//!
//! `benches/trace-cost` builds this beside a copy of the sources from which every word about tracing has been cut, and compares the
//! instructions. By itself: `cargo bench --bench trace -- JOB TIMES`, with no output but for a wrong decision.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};
use portcullis::auth::jwt::{Jwt, Lent};
use portcullis::auth::key_auth::KeyAuth;
use portcullis::auth::{Client, Directory, Flow, Plugin, Request, Scheme, State};
use portcullis::entity::{Consumer, JwtSecret, KeyAuthCredential, Ref};
use portcullis::jose::{Algorithm, SigningKey};
use serde_json::{Map, Value, json};
use uuid::Uuid;

const SECRET: &str = "a-secret-of-thirty-two-bytes-0001";

fn main() {
    // Cargo puts `--bench` behind the arguments.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let job = arguments.first().map_or("hs256", String::as_str);
    let times: u32 = arguments.get(1).and_then(|times| times.parse().ok()).unwrap_or(1000);
    let directory = directory();
    let config = json!({
        "uri_param_names": ["jwt"], "cookie_names": [], "header_names": ["authorization"], "key_claim_name": "iss",
        "secret_is_base64": false, "claims_to_verify": ["exp", "nbf"], "maximum_expiration": 0, "anonymous": null,
        "run_on_preflight": true, "realm": null,
    });
    let jwt = Jwt::compile(&object(&config), Lent::default()).expect("a plugin");
    let config = json!({
        "key_names": ["apikey"], "key_in_header": true, "key_in_query": true, "key_in_body": false, "hide_credentials": false,
        "run_on_preflight": true, "anonymous": null, "realm": null,
    });
    let key_auth = KeyAuth::compile(&object(&config)).expect("a plugin");
    let bearer = |claims: Value| ("authorization", format!("Bearer {}", token(&claims)));
    let good =
        json!({"iss": "k", "sub": "alice", "exp": 4_102_444_800_u64, "nbf": 1, "scope": "orders:read orders:write"});
    let expired = json!({"iss": "k", "sub": "alice", "exp": 1_000, "nbf": 1, "scope": "orders:read orders:write"});
    let (plugin, header, passes): (&dyn Plugin, _, bool) = match job {
        "hs256" => (&jwt, bearer(good), true),
        "hs256-expired" => (&jwt, bearer(expired), false),
        "jwt-malformed" => (&jwt, ("authorization", "Bearer not-a-token".to_owned()), false),
        "jwt-absent" => (&jwt, ("accept", "*/*".to_owned()), false),
        "key-auth" => (&key_auth, ("apikey", "my-key".to_owned()), true),
        other => panic!("no job {other}"),
    };
    let mut headers = HeaderMap::new();
    headers.insert(header.0, HeaderValue::from_str(&header.1).expect("a value"));
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let request = Request {
        method: &Method::GET,
        path: "/orders/42",
        query: None,
        headers: &headers,
        body: None,
        client: Client { address, peer: address, trusted: false },
        scheme: Scheme::Https,
        now: 1_800_000_000,
        route: Uuid::from_u128(1),
        service: None,
        generation: 0,
        directory: &directory,
    };
    for _ in 0..times {
        let mut state = State::default();
        let passed = matches!(plugin.access(black_box(&request), &mut state), Flow::Next);
        assert_eq!(passed, passes);
        black_box(state);
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn token(claims: &Value) -> String {
    let key = SigningKey::from_secret(Algorithm::Hs256, SECRET.as_bytes()).expect("a key");
    key.sign(&Map::new(), &object(claims)).expect("a token")
}

fn directory() -> Directory {
    let mut directory = Directory::default();
    let id = Uuid::from_u128(7);
    directory.put_consumer(Arc::new(Consumer {
        id,
        created_at: 0,
        updated_at: 0,
        username: Some("alice".into()),
        custom_id: None,
        tags: None,
    }));
    let credential = JwtSecret {
        id: Uuid::from_u128(8),
        created_at: 0,
        consumer: Ref { id },
        key: "k".into(),
        secret: SECRET.into(),
        algorithm: Algorithm::Hs256,
        rsa_public_key: None,
        tags: None,
    };
    directory.put_jwt(Arc::new(credential), None, &mut Vec::new());
    directory.put_key_auth(Arc::new(KeyAuthCredential {
        id: Uuid::from_u128(9),
        created_at: 0,
        consumer: Ref { id },
        key: "my-key".into(),
        ttl: None,
        tags: None,
    }));
    directory
}
