//! One authentication of each kind, so many times: what `benches/instructions/run` counts the instructions of.
//!
//! `instructions CASE TIMES` does a case and says nothing; `instructions` lists the cases. No clock: every time is the same work. Must not use criterion, threads or sockets.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis::auth::jwt::{Jwt, Lent};
use portcullis::auth::key_auth::KeyAuth;
use portcullis::auth::oauth2::store::{Digest, TokenStore as _};
use portcullis::auth::oauth2::{Oauth2, Shared};
use portcullis::auth::oidc::{self, Oidc};
use portcullis::auth::verified::Verified;
use portcullis::auth::{Client, Directory, Flow, Plugin, Request, Scheme, State, identity};
use portcullis::entity::tables::table;
use portcullis::entity::{Consumer, JwtSecret, KeyAuthCredential, Kind, Ref};
use portcullis::jose::{Algorithm, PublicKey, SigningKey, base64url};
use portcullis::schema::Now;
use portcullis::store::tokens::LocalTokens;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// As in the gateway.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "a-secret-of-thirty-two-bytes-000042";

/// Cases, and whether the token comes again and again.
const CASES: [(&str, Option<Algorithm>, bool); 13] = [
    ("no-token", None, false),
    ("key-auth", None, false),
    ("HS256", Some(Algorithm::Hs256), false),
    ("HS256-bad", Some(Algorithm::Hs256), false),
    ("HS256-seen", Some(Algorithm::Hs256), true),
    ("RS256", Some(Algorithm::Rs256), false),
    ("RS256-seen", Some(Algorithm::Rs256), true),
    ("ES256", Some(Algorithm::Es256), false),
    ("ES256-seen", Some(Algorithm::Es256), true),
    ("EdDSA", Some(Algorithm::EdDsa), false),
    ("EdDSA-seen", Some(Algorithm::EdDsa), true),
    ("oidc-seen", Some(Algorithm::EdDsa), true),
    ("opaque-seen", None, true),
];

/// Times a token comes before it is found as one that comes often.
const OFTEN: usize = 4;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (Some(name), Some(times)) = (arguments.next(), arguments.next()) else {
        return CASES.iter().for_each(|(name, ..)| println!("{name}"));
    };
    let times: u64 = times.parse().expect("how many times");
    let (_, algorithm, seen) = *CASES.iter().find(|(case, ..)| *case == name).expect("a case");
    let mut directory = Directory::default();
    let consumer = Ref { id: Uuid::from_u128(1) };
    let (username, custom_id) = (Some("alice".into()), Some("alice-1".into()));
    directory.put_consumer(Arc::new(Consumer {
        id: consumer.id,
        created_at: 0,
        updated_at: 0,
        username,
        custom_id,
        tags: None,
    }));
    directory.put_key_auth(Arc::new(KeyAuthCredential {
        id: Uuid::from_u128(2),
        created_at: 0,
        consumer,
        key: "key-4242".into(),
        ttl: None,
        tags: None,
    }));
    let mut headers = usual();
    let plugin: Box<dyn Plugin> = match (name.as_str(), algorithm) {
        ("key-auth", _) => {
            headers.insert("apikey", HeaderValue::from_static("key-4242"));
            Box::new(
                KeyAuth::compile(&object(json!({
                    "key_names": ["apikey"], "key_in_header": true, "key_in_query": true, "key_in_body": false,
                    "hide_credentials": false, "run_on_preflight": true, "anonymous": null, "realm": null,
                })))
                .expect("a plugin"),
            )
        }
        ("opaque-seen", _) => {
            headers.insert("authorization", HeaderValue::from_static("Bearer 0123456789abcdef0123456789abcdef"));
            Box::new(oauth2(&mut directory, consumer, "0123456789abcdef0123456789abcdef"))
        }
        ("oidc-seen", _) => {
            let (plugin, token) = oidc();
            headers.insert("authorization", HeaderValue::try_from(format!("Bearer {token}")).expect("a value"));
            Box::new(plugin)
        }
        (_, algorithm) => {
            if let Some(algorithm) = algorithm {
                let mut token = credential(&mut directory, consumer, algorithm);
                if name.ends_with("-bad") {
                    token.truncate(token.len() - 4);
                    token.push_str("AAAA");
                }
                headers.insert("authorization", HeaderValue::try_from(format!("Bearer {token}")).expect("a value"));
            }
            let config = json!({
                "uri_param_names": ["jwt"], "cookie_names": [], "header_names": ["authorization"], "key_claim_name": "iss",
                "secret_is_base64": false, "claims_to_verify": ["exp"], "maximum_expiration": 0, "anonymous": null,
                "run_on_preflight": true, "realm": null,
            });
            let cache = if seen { 1 << 20 } else { 0 };
            let lent = Lent { verified: Arc::new(Verified::new(cache)), ..Lent::default() };
            Box::new(Jwt::compile(&object(config), lent).expect("a plugin"))
        }
    };
    let passes = !matches!(name.as_str(), "no-token" | "HS256-bad");
    // What is allocated or filled at its first use.
    (0..OFTEN).for_each(|_| authenticate(&*plugin, &headers, &directory, passes));
    counted(&*plugin, &headers, &directory, passes, times);
}

/// The instructions in here are counted.
#[inline(never)]
fn counted(plugin: &dyn Plugin, headers: &HeaderMap, directory: &Directory, passes: bool, times: u64) {
    for _ in 0..times {
        authenticate(black_box(plugin), headers, directory, passes);
    }
}

fn authenticate(plugin: &dyn Plugin, headers: &HeaderMap, directory: &Directory, passes: bool) {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let request = Request {
        method: &Method::GET,
        path: "/orders/42",
        query: Some("page=1&sort=name"),
        headers,
        body: None,
        client: Client { address, peer: address, trusted: false },
        scheme: Scheme::Https,
        now: NOW,
        route: Uuid::nil(),
        service: None,
        generation: 1,
        directory,
    };
    let mut state = State::default();
    let passed = matches!(plugin.access(&request, &mut state), Flow::Next);
    assert_eq!(passed, passes);
    black_box(state.authenticated().map(|who| identity::headers(who).count()));
}

/// What a browser or a client library sends along.
fn usual() -> HeaderMap {
    let fields = [
        ("host", "api.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("accept", "application/json, text/plain, */*"),
        ("accept-encoding", "gzip, deflate, br"),
        ("x-request-id", "5a3f9f1e7b4c4f0c9d8e7a6b5c4d3e2f"),
    ];
    fields.into_iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

fn claims() -> Map<String, Value> {
    object(json!({
        "iss": "issuer", "sub": "1234567890", "name": "John Doe", "aud": "https://api.example.com", "iat": NOW - 60,
        "exp": NOW + 3600, "jti": "b3f1c9e2-9d4e-4c1e-8a55-0d6b1f0f2c11",
    }))
}

/// A provider's token, and the plugin that has its key.
fn oidc() -> (Oidc, String) {
    let signer = SigningKey::generate(Algorithm::EdDsa).expect("a key");
    let header = object(json!({"kid": "key-2024-01"}));
    let mut claims = claims();
    claims.insert("iss".into(), "https://issuer.example".into());
    let token = signer.sign(&header, &claims).expect("a token");
    let public = signer.public_pem().and_then(|pem| PublicKey::from_pem(&pem).ok());
    let Some(PublicKey::Ed25519(x)) = public else { unreachable!("an Ed25519 key") };
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": base64url::encode(x), "kid": "key-2024-01"});
    let given = object(json!({
        "issuer": "https://issuer.example", "using_pseudo_issuer": true, "jwks": {"keys": [key]}, "auth_methods": ["bearer"],
        "audience_required": ["https://api.example.com"],
        "upstream_headers_claims": ["sub"], "upstream_headers_names": ["x-user"],
    }));
    let lent = oidc::Lent {
        token_limit: 16 * 1024,
        verified: Arc::new(Verified::new(1 << 20)),
        registry: Arc::default(),
        tokens: Arc::new(LocalTokens::in_memory()),
    };
    (Oidc::compile(&whole("openid-connect", given), lent, &mut Vec::new()).expect("a plugin"), token)
}

/// A token that was issued here, and the plugin that takes it.
fn oauth2(directory: &mut Directory, consumer: Ref, access: &str) -> Oauth2 {
    let credential = Uuid::from_u128(7);
    let application = json!({
        "id": credential, "created_at": 0, "consumer": consumer, "name": "app", "client_id": "app", "client_secret": "s",
        "hash_secret": false, "redirect_uris": null, "client_type": "confidential", "tags": null,
    });
    directory.put_oauth2(Arc::new(serde_json::from_value(application).expect("an application")));
    let token = json!({
        "id": Uuid::from_u128(8), "access": Digest::of(access), "refresh": null, "credential": credential, "service": null,
        "userid": null, "scope": "email profile", "created_at": NOW - 10, "expires_in": 7200, "purge_at": null, "code": null,
    });
    let store = Arc::new(LocalTokens::in_memory());
    let kept = store.issue(serde_json::from_value(token).expect("a token"));
    futures::executor::block_on(kept).expect("kept");
    let plugin = json!({
        "id": Uuid::from_u128(9), "created_at": 0, "updated_at": 0, "name": "oauth2", "instance_name": null, "route": null,
        "service": null, "consumer": null, "protocols": ["http"], "enabled": true, "tags": null,
        "config": whole("oauth2", object(json!({"enable_client_credentials": true, "global_credentials": true}))),
    });
    let plugin = serde_json::from_value(plugin).expect("a plugin");
    Oauth2::compile(&plugin, &Shared::new(store)).expect("a plugin")
}

/// A plugin's configuration with its defaults.
fn whole(name: &str, config: Map<String, Value>) -> Map<String, Value> {
    let given = object(json!({"name": name, "config": config}));
    let whole = table(Kind::Plugin).insert(given, Now::system()).expect("a configuration");
    object(whole.get("config").cloned().unwrap_or_default())
}

/// Adds a credential for the algorithm, and signs a token with it.
fn credential(directory: &mut Directory, consumer: Ref, algorithm: Algorithm) -> String {
    let signer = match algorithm {
        Algorithm::Hs256 => SigningKey::from_secret(algorithm, SECRET.as_bytes()),
        _ => SigningKey::generate(algorithm),
    };
    let signer = signer.expect("a key");
    let entity = JwtSecret {
        id: Uuid::from_u128(3),
        created_at: 0,
        consumer,
        key: "issuer".into(),
        secret: SECRET.into(),
        algorithm,
        rsa_public_key: signer.public_pem().map(Into::into),
        tags: None,
    };
    directory.put_jwt(Arc::new(entity), None, &mut Vec::new());
    let header = object(json!({"kid": "key-2024-01"}));
    signer.sign(&header, &claims()).expect("a token")
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
