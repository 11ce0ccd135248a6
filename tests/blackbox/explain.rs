//! Broken tokens, one of each kind: `POST /explain` names the reason that the gateway itself gives for the same request.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpListener;
use std::time::{SystemTime, UNIX_EPOCH};

use portcullis::jose::{Algorithm, PublicKey, SigningKey, base64url, hmac};
use serde_json::{Map, Value, json};

use super::support::echo::Echo;
use super::support::http::{self, Answer, Endpoint};
use super::support::process::Process;

const SECRET: &str = "a-secret-of-thirty-two-bytes-0001";

/// A provider: its document and its keys.
fn provider(keys: &[(&str, &SigningKey)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://127.0.0.1:{}/realm", listener.local_addr().unwrap().port());
    let jwks: Vec<Value> = keys
        .iter()
        .map(|(kid, key)| {
            let PublicKey::Ed25519(x) = PublicKey::from_pem(&key.public_pem().unwrap()).unwrap() else { panic!() };
            json!({"kty": "OKP", "crv": "Ed25519", "x": base64url::encode(x), "kid": kid, "alg": "EdDSA"})
        })
        .collect();
    let document = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/jwks")}).to_string();
    let jwks = json!({"keys": jwks}).to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let Some((line, _)) = http::read_head(&mut stream, &mut Vec::new()) else { continue };
            let body = if line.contains("/jwks") { &jwks } else { &document };
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length";
            let _gone = write!(stream, "{head}: {}\r\n\r\n{body}", body.len());
        }
    });
    issuer
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn sign(key: &SigningKey, header: &Value, claims: &Value) -> String {
    key.sign(&object(header), &object(claims)).unwrap()
}

fn secret(algorithm: Algorithm, secret: &str) -> SigningKey {
    SigningKey::from_secret(algorithm, secret.as_bytes()).unwrap()
}

/// A token of HS256 over these very texts.
fn raw(header: &str, claims: &str) -> String {
    let input = [header, claims].map(base64url::encode).join(".");
    let signature = hmac::sign(Algorithm::Hs256, SECRET.as_bytes(), input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(signature))
}

/// An ECDSA signature in ASN.1, as OpenSSL makes it.
fn in_der(token: &str) -> String {
    let (input, signature) = token.rsplit_once('.').unwrap();
    let fixed = base64url::decode(signature).unwrap();
    let integer = |number: &[u8]| {
        let start = number.iter().take_while(|byte| **byte == 0).count();
        let number = &number[start..];
        let body = if number[0] >= 0x80 { [&[0], number].concat() } else { number.to_vec() };
        [&[2, body.len() as u8][..], &body].concat()
    };
    let body = [integer(&fixed[..32]), integer(&fixed[32..])].concat();
    format!("{input}.{}", base64url::encode([&[0x30, body.len() as u8][..], &body].concat()))
}

/// One request that is refused.
struct Case {
    name: &'static str,
    url: String,
    headers: Vec<(&'static str, String)>,
    reason: &'static str,
    /// A hint that must be among those given; none in particular where this is empty.
    hint: &'static str,
}

struct World {
    process: Process,
    issuer: String,
    ec: SigningKey,
    one: SigningKey,
    rsa_pem: String,
    issued: String,
    short: String,
}

fn issue(process: &Process, path: &str) -> String {
    let form = "grant_type=client_credentials&client_id=c&client_secret=s";
    let request = format!(
        "POST {path}/oauth2/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let answer = http::exchange(&mut *Endpoint::tls(process.https).connect(), &request);
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    body["access_token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn world() -> World {
    let echo = Echo::start();
    let ec = SigningKey::generate(Algorithm::Es256).unwrap();
    let (one, two) = (SigningKey::generate(Algorithm::EdDsa).unwrap(), SigningKey::generate(Algorithm::EdDsa).unwrap());
    let rsa = SigningKey::generate(Algorithm::Rs256).unwrap();
    let rsa_pem = rsa.public_pem().unwrap();
    let issuer = provider(&[("one", &one), ("two", &two)]);
    let grants = json!({"enable_client_credentials": true});
    let short = json!({"enable_client_credentials": true, "token_expiration": 1, "global_credentials": true});
    let config = json!({
        "_format_version": "3.0",
        "services": [
            {"name": "s", "url": format!("http://127.0.0.1:{}", echo.port), "routes": [
                {"name": "jwt", "paths": ["/jwt"], "plugins": [{"name": "jwt", "config":
                    {"claims_to_verify": ["exp", "nbf"], "maximum_expiration": 3600}}]},
                {"name": "based", "paths": ["/based"], "plugins": [{"name": "jwt", "config": {"secret_is_base64": true}}]},
                {"name": "key", "paths": ["/key"], "plugins": [{"name": "key-auth"}]},
                {"name": "oidc", "paths": ["/oidc"], "plugins": [{"name": "openid-connect", "config": {
                    "issuer": issuer, "auth_methods": ["bearer"], "audience_required": ["https://api.example"], "scopes_required": ["read"],
                    "roles_required": ["admin"], "consumer_claim": ["sub"], "consumer_by": ["username"]}}]},
                {"name": "grants", "paths": ["/grants"], "plugins": [{"name": "oauth2", "config": grants}]},
                {"name": "short", "paths": ["/short"], "plugins": [{"name": "oauth2", "config": short}]},
            ]},
            {"name": "other", "url": format!("http://127.0.0.1:{}", echo.port), "routes": [
                {"name": "other", "paths": ["/other"], "plugins": [{"name": "oauth2", "config": grants}]}]},
        ],
        "consumers": [{
            "username": "alice",
            "jwt_secrets": [
                {"key": "k", "secret": SECRET, "algorithm": "HS256"},
                {"key": "based", "secret": base64url::encode("decoded-secret-of-thirty-two-bytes"), "algorithm": "HS256"},
                {"key": "ec", "algorithm": "ES256", "rsa_public_key": ec.public_pem().unwrap()},
                {"key": "rs", "algorithm": "RS256", "rsa_public_key": rsa_pem},
                {"key": "curve", "algorithm": "ES384", "rsa_public_key": ec.public_pem().unwrap()},
            ],
            "keyauth_credentials": [{"key": "my-key"}],
            "oauth2_credentials": [{"name": "app", "client_id": "c", "client_secret": "s"}],
        }],
    });
    let process = Process::start(&config.to_string());
    let issued = issue(&process, "/grants");
    let short = issue(&process, "/short");
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    World { process, issuer, ec, one, rsa_pem, issued, short }
}

fn bearer(token: &str) -> Vec<(&'static str, String)> {
    vec![("Authorization", format!("Bearer {token}"))]
}

fn case(
    name: &'static str,
    url: &str,
    headers: Vec<(&'static str, String)>,
    reason: &'static str,
    hint: &'static str,
) -> Case {
    Case { name, url: url.to_owned(), headers, reason, hint }
}

fn jwt_cases(world: &World) -> Vec<Case> {
    let now = now();
    let hs256 = secret(Algorithm::Hs256, SECRET);
    let none = json!({});
    let good_claims = json!({"iss": "k", "exp": now + 600, "nbf": now - 60});
    let with = |changes: Value| {
        let mut claims = object(&good_claims);
        for (name, value) in object(&changes) {
            match value {
                Value::Null => drop(claims.remove(&name)),
                value => drop(claims.insert(name, value)),
            }
        }
        Value::Object(claims)
    };
    let of = |changes: Value| sign(&hs256, &none, &with(changes));
    let good = of(json!({}));
    let text = good_claims.to_string();
    let padded = good.split('.').map(|part| format!("{part}=")).collect::<Vec<_>>().join(".");
    let standard = {
        use base64::Engine as _;
        let claims = with(json!({"name": "ÿþ?>ÿþ?>"})).to_string();
        let input = [r#"{"alg":"HS256"}"#, &claims]
            .map(|part| base64::engine::general_purpose::STANDARD.encode(part))
            .join(".");
        let signature = hmac::sign(Algorithm::Hs256, SECRET.as_bytes(), input.as_bytes()).unwrap();
        format!("{input}.{}", base64url::encode(signature))
    };
    let jwt = |name, token: &str, reason, hint| case(name, "/jwt", bearer(token), reason, hint);
    vec![
        case("no token", "/jwt", vec![], "no_token", ""),
        case("a bare token", "/jwt", vec![("Authorization", good.clone())], "no_token", "bearer_missing"),
        case("BEARER", "/jwt", vec![("Authorization", format!("BEARER {good}"))], "no_token", "bearer_case"),
        case("another scheme", "/jwt", vec![("Authorization", "Basic YTpi".into())], "no_token", "other_scheme"),
        case("another header", "/jwt", vec![("X-Token", good.clone())], "no_token", "other_source"),
        case("another argument", &format!("/jwt?token={good}"), vec![], "no_token", "other_source"),
        case(
            "two tokens",
            &format!("/jwt?jwt={}", of(json!({"n": 1}))),
            bearer(&good),
            "multiple_tokens",
            "several_tokens",
        ),
        jwt("too large", &of(json!({"x": "y".repeat(16_000)})), "token_too_large", ""),
        jwt("opaque", "opaque-token", "malformed", "opaque"),
        jwt("without signature", good.rsplit_once('.').unwrap().0, "malformed", "truncated"),
        jwt("a JWE", "eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d", "bad_base64", "jwe"),
        jwt("padded", &padded, "bad_base64", "padding"),
        jwt("standard base64", &standard, "bad_base64", "standard_base64"),
        jwt("quoted", &format!("\"{good}\""), "bad_base64", "quotes"),
        jwt("Bearer twice", &format!("Bearer {good}"), "bad_base64", "bearer_twice"),
        jwt("a space inside", &good.replacen('.', " .", 1), "bad_base64", "whitespace"),
        jwt("a header that is no JSON", &raw("{alg:HS256}", &text), "bad_json", ""),
        jwt("claims that are no JSON", &raw(r#"{"alg":"HS256"}"#, "{"), "bad_json", ""),
        jwt("claims that are a list", &raw(r#"{"alg":"HS256"}"#, "[]"), "bad_json", ""),
        jwt("a claim twice", &raw(r#"{"alg":"HS256"}"#, r#"{"iss":"k","iss":"k"}"#), "bad_json", ""),
        jwt("no alg", &raw("{}", &text), "alg_not_allowed", ""),
        jwt("an unknown alg", &raw(r#"{"alg":"HS1"}"#, &text), "alg_not_allowed", ""),
        jwt("alg none", &raw(r#"{"alg":"none"}"#, &text), "alg_none", "alg_none"),
        jwt("crit", &raw(r#"{"alg":"HS256","crit":["x"]}"#, &text), "crit_unsupported", ""),
        jwt("no iss", &of(json!({"iss": null})), "key_claim_missing", "claim_missing"),
        jwt("the key in sub", &of(json!({"iss": null, "sub": "k"})), "key_claim_missing", "key_claim_place"),
        jwt("ISS", &of(json!({"iss": null, "ISS": "none"})), "key_claim_missing", "key_claim_case"),
        jwt("iss is a number", &of(json!({"iss": 7})), "key_claim_empty", ""),
        jwt("an unknown key", &of(json!({"iss": "nobody"})), "credential_unknown", "other_key"),
        jwt("a key in capitals", &of(json!({"iss": "K"})), "credential_unknown", "credential_near"),
        jwt("HS512", &sign(&secret(Algorithm::Hs512, SECRET), &none, &good_claims), "alg_key_mismatch", "alg_mismatch"),
        jwt(
            "HS256 with the public key",
            &sign(&secret(Algorithm::Hs256, &world.rsa_pem), &none, &with(json!({"iss": "rs"}))),
            "alg_key_mismatch",
            "hs_with_public_key",
        ),
        jwt(
            "a key of another curve",
            &sign(&SigningKey::generate(Algorithm::Es384).unwrap(), &none, &with(json!({"iss": "curve"}))),
            "key_invalid",
            "key_unusable",
        ),
        jwt(
            "another secret",
            &sign(&secret(Algorithm::Hs256, "something-else-of-thirty-two-bytes"), &none, &good_claims),
            "signature_invalid",
            "",
        ),
        jwt("an empty signature", &format!("{}.", good.rsplit_once('.').unwrap().0), "signature_invalid", "truncated"),
        jwt(
            "an ASN.1 signature",
            &in_der(&sign(&world.ec, &none, &with(json!({"iss": "ec"})))),
            "signature_invalid",
            "der_signature",
        ),
        jwt(
            "the secret decoded",
            &sign(
                &secret(Algorithm::Hs256, "decoded-secret-of-thirty-two-bytes"),
                &none,
                &with(json!({"iss": "based"})),
            ),
            "signature_invalid",
            "secret_base64",
        ),
        case(
            "the secret not decoded",
            "/based",
            bearer(&sign(
                &secret(Algorithm::Hs256, &base64url::encode("decoded-secret-of-thirty-two-bytes")),
                &none,
                &with(json!({"iss": "based"})),
            )),
            "signature_invalid",
            "secret_plain",
        ),
        jwt("expired", &of(json!({"exp": now - 37})), "expired", "expired"),
        jwt("exp is a text", &of(json!({"exp": (now + 60).to_string()})), "claim_type", "claim_missing"),
        jwt("no exp", &of(json!({"exp": null})), "claim_type", "claim_missing"),
        jwt("not yet valid", &of(json!({"nbf": now + 300})), "not_yet_valid", "not_yet_valid"),
        jwt("nbf in milliseconds", &of(json!({"nbf": now * 1000})), "not_yet_valid", "milliseconds"),
        jwt("exp in milliseconds", &of(json!({"exp": now * 1000})), "max_lifetime", "milliseconds"),
        jwt("lives too long", &of(json!({"exp": now + 86_400})), "max_lifetime", "max_lifetime"),
        case(
            "expired, but not looked at elsewhere",
            "/jwt",
            bearer(&of(json!({"exp": now - 5, "iss": "k"}))),
            "expired",
            "expired",
        ),
        case("an unknown API key", "/key", vec![("apikey", "nonsense".into())], "credential_unknown", ""),
        case("a quoted API key", "/key", vec![("apikey", "\"my-key\"".into())], "credential_unknown", "whitespace"),
        case("an API key elsewhere", "/key", vec![("x-key", "my-key".into())], "no_token", "other_source"),
    ]
}

fn oidc_cases(world: &World) -> Vec<Case> {
    let now = now();
    let good = json!({
        "iss": world.issuer, "sub": "alice", "exp": now + 600, "iat": now, "aud": "https://api.example", "scope": "openid read",
        "roles": ["admin"],
    });
    let with = |changes: Value| {
        let mut claims = object(&good);
        for (name, value) in object(&changes) {
            match value {
                Value::Null => drop(claims.remove(&name)),
                value => drop(claims.insert(name, value)),
            }
        }
        Value::Object(claims)
    };
    let kid = json!({"kid": "one"});
    let of = |changes: Value| sign(&world.one, &kid, &with(changes));
    let oidc = |name, token: &str, reason, hint| case(name, "/oidc", bearer(token), reason, hint);
    let stranger = SigningKey::generate(Algorithm::EdDsa).unwrap();
    vec![
        case("no token", "/oidc", vec![], "no_token", ""),
        oidc("opaque", "opaque-token", "malformed", "opaque"),
        oidc("alg none", &raw(r#"{"alg":"none","kid":"one"}"#, &good.to_string()), "alg_none", "alg_none"),
        oidc("an ID token", &of(json!({"at_hash": "x"})), "typ_mismatch", "id_token"),
        oidc("a refresh token", &of(json!({"typ": "Refresh"})), "typ_mismatch", "refresh_token"),
        oidc("another issuer", &of(json!({"iss": "https://idp.example"})), "issuer_unknown", "other_issuer"),
        oidc(
            "an issuer with a slash",
            &of(json!({"iss": format!("{}/", world.issuer)})),
            "issuer_unknown",
            "issuer_slash",
        ),
        oidc("no issuer", &of(json!({"iss": null})), "issuer_unknown", ""),
        oidc("an unknown kid", &sign(&world.one, &json!({"kid": "three"}), &good), "kid_unknown", "kid_unknown"),
        oidc("no kid", &sign(&world.one, &json!({}), &good), "kid_missing", "kid_missing"),
        oidc("another algorithm", &sign(&world.ec, &kid, &good), "alg_key_mismatch", "alg_mismatch"),
        oidc("HMAC", &sign(&secret(Algorithm::Hs256, SECRET), &kid, &good), "alg_not_allowed", ""),
        oidc("another key", &sign(&stranger, &kid, &good), "signature_invalid", ""),
        oidc(
            "the kid of the other key",
            &sign(&world.one, &json!({"kid": "two"}), &good),
            "signature_invalid",
            "other_key",
        ),
        oidc("expired", &of(json!({"exp": now - 37})), "expired", "expired"),
        oidc("no exp", &of(json!({"exp": null})), "claim_type", "claim_missing"),
        oidc("issued tomorrow", &of(json!({"iat": now + 86_400})), "not_yet_valid", "not_yet_valid"),
        oidc("another audience", &of(json!({"aud": "other"})), "audience", ""),
        oidc("an audience with a slash", &of(json!({"aud": "https://api.example/"})), "audience", "audience_slash"),
        oidc("no scope", &of(json!({"scope": "openid"})), "scope", ""),
        oidc("a scope in capitals", &of(json!({"scope": "Read"})), "scope", "scope_case"),
        oidc("another role", &of(json!({"roles": ["user"]})), "role", ""),
        oidc("a role in capitals", &of(json!({"roles": ["Admin"]})), "role", "role_case"),
        oidc("nobody's consumer", &of(json!({"sub": "mallory"})), "consumer_unknown", ""),
    ]
}

fn oauth2_cases(world: &World) -> Vec<Case> {
    vec![
        case("no token", "/grants", vec![], "no_token", ""),
        case("an unknown token", "/grants", bearer("nonsense"), "opaque_unknown", ""),
        case("a JWT", "/grants", bearer(&raw(r#"{"alg":"HS256"}"#, "{}")), "opaque_unknown", "changed"),
        case("quoted", "/grants", bearer(&format!("\"{}\"", world.issued)), "opaque_unknown", "quotes"),
        case("of another service", "/other", bearer(&world.issued), "opaque_unknown", "service_bound"),
        case("global where none is taken", "/grants", bearer(&world.short), "claim_rule", "service_bound"),
        case("expired", "/short", bearer(&world.short), "expired", "expired"),
        case(
            "another scheme",
            "/grants",
            vec![("Authorization", format!("Custom {}", world.issued))],
            "opaque_unknown",
            "other_scheme",
        ),
        case(
            "another header",
            "/grants",
            vec![("X-Token", format!("Bearer {}", world.issued))],
            "no_token",
            "other_source",
        ),
    ]
}

/// Refusals by reason, as the metrics have them.
fn denied(process: &Process) -> BTreeMap<String, u64> {
    let text = http::get(Endpoint::plain(process.status), "/metrics", &[]).body;
    let mut counts = BTreeMap::new();
    for line in text
        .lines()
        .filter(|line| line.starts_with("portcullis_auth_requests_total{") && line.contains("result=\"deny\""))
    {
        let reason = line.split("reason=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let count: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        *counts.entry(reason.to_owned()).or_default() += count as u64;
    }
    counts
}

fn ask(process: &Process, question: &Value) -> Answer {
    let body = question.to_string();
    let request = format!(
        "POST /explain HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    http::exchange(&mut *Endpoint::plain(process.admin).connect(), &request)
}

/// What the gateway answers and counts, and what `explain` says; a line for each thing that is not as it should be.
fn check(process: &Process, case: &Case) -> Vec<String> {
    let mut faults = Vec::new();
    let before = denied(process);
    let headers: Vec<(&str, &str)> = case.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = http::get(Endpoint::plain(process.http), &case.url, &headers);
    // The counters are written once the answer is on its way.
    let mut counted = Vec::new();
    for _ in 0..50 {
        let after = denied(process);
        counted = after
            .iter()
            .filter(|(reason, count)| before.get(*reason) != Some(count))
            .map(|(reason, _)| reason.clone())
            .collect();
        if !counted.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    if counted != [case.reason] {
        faults.push(format!("the gateway counts {counted:?}, not {}", case.reason));
    }
    let lines: Map<String, Value> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let explained = ask(process, &json!({"url": case.url, "headers": lines}));
    let told: Value = serde_json::from_str(&explained.body).unwrap_or_default();
    if told["reason"] != case.reason || told["status"] != answer.status || told["outcome"] != "refused" {
        faults.push(format!(
            "explain says {} {} {}, the gateway {}",
            told["outcome"], told["reason"], told["status"], answer.status
        ));
    }
    let body = told["answer"]["body"].as_str().unwrap_or_default();
    // Negotiated bodies have a request id of their own.
    if body != answer.body && !answer.body.contains("request_id") {
        faults.push(format!("explain's answer is {body}, the gateway's {}", answer.body));
    }
    let failed = told["failed"].as_u64().map(|index| &told["steps"][index as usize]);
    if failed.is_none_or(|step| step["verdict"] != "failed" || step["reason"] != case.reason) {
        faults.push(format!("no step is named: {failed:?}"));
    }
    let codes: Vec<&str> =
        told["hints"].as_array().into_iter().flatten().filter_map(|hint| hint["code"].as_str()).collect();
    if !case.hint.is_empty() && !codes.contains(&case.hint) {
        faults.push(format!("hints are {codes:?}, not {}: {}", case.hint, told["hints"]));
    }
    for (_, value) in &case.headers {
        let last = value.rsplit('.').next().unwrap_or_default();
        if last.len() > 20 && value.contains('.') && explained.body.contains(last) {
            faults.push("the answer repeats the signature".into());
        }
    }
    faults
        .into_iter()
        .map(|fault| format!("{} {}: {fault}", case.url.split('?').next().unwrap_or_default(), case.name))
        .collect()
}

#[test]
fn broken_tokens_are_explained_as_the_gateway_refuses_them() {
    let world = world();
    let mut kinds = 0;
    let mut faults = Vec::new();
    for case in jwt_cases(&world).iter().chain(&oauth2_cases(&world)).chain(&oidc_cases(&world)) {
        kinds += 1;
        faults.extend(check(&world.process, case));
    }
    assert!(kinds >= 80, "{kinds}");
    assert!(faults.is_empty(), "{} of {kinds}:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn what_is_refused_can_be_looked_at() {
    let world = world();
    let now = now();
    let expired =
        sign(&secret(Algorithm::Hs256, SECRET), &json!({}), &json!({"iss": "k", "exp": now - 5, "nbf": now - 9}));
    let good =
        sign(&secret(Algorithm::Hs256, SECRET), &json!({}), &json!({"iss": "k", "exp": now + 500, "nbf": now - 9}));
    for (token, times, status) in [(&expired, 3, 401), (&good, 2, 200)] {
        for _ in 0..times {
            let header = format!("Bearer {token}");
            let answer =
                http::get(Endpoint::plain(world.process.http), "/jwt?secret=query", &[("Authorization", &header)]);
            assert_eq!(answer.status, status);
        }
    }
    let look = |path: &str| -> (String, Value) {
        let answer = http::get(Endpoint::plain(world.process.admin), path, &[]);
        assert_eq!(answer.status, 200, "{path} {answer:?}");
        let value = serde_json::from_str(&answer.body).unwrap();
        (answer.body, value)
    };
    std::thread::sleep(std::time::Duration::from_millis(300));
    let (text, rejects) = look("/live/rejects");
    let of = |name: &str| rejects["reasons"].as_array().unwrap().iter().find(|there| there["reason"] == name).cloned();
    assert_eq!(of("expired").unwrap()["total"], 3, "{text}");
    assert_eq!(denied(&world.process).get("expired"), Some(&3), "as the metrics have it");
    let last = &rejects["recent"][0];
    assert_eq!(
        (&last["route"], &last["plugin"], &last["issuer"]),
        (&json!("jwt"), &json!("jwt"), &json!("k")),
        "{text}"
    );
    assert_eq!(last["path"], "/jwt", "without the query");
    assert!(!text.contains(&expired) && !text.contains("secret=query"));
    let explained: Value =
        serde_json::from_str(&ask(&world.process, &json!({"token": expired, "route": "jwt"})).body).unwrap();
    assert_eq!(explained["token"]["fingerprint"], last["token_fp"], "so that one finds the other");

    let (text, verification) = look("/live/verification");
    let hs256 =
        verification["windows"][0]["algorithms"].as_array().unwrap().iter().find(|there| there["algorithm"] == "HS256");
    assert!(hs256.is_some_and(|there| there["count"].as_u64() >= Some(5)), "{text}");

    let (text, configuration) = look("/live/configuration");
    assert_eq!(
        (&configuration["writable"], &configuration["last_reload"]["success"]),
        (&json!(false), &json!(true)),
        "{text}"
    );
    assert_eq!(configuration["entities"]["consumers"], 1);

    let (text, expiry) = look("/live/expiry?unused_days=0");
    let unused = |key: &str| expiry["unused"].as_array().unwrap().iter().find(|there| there["key"] == key);
    assert_eq!(unused("rs").unwrap()["last_used"], Value::Null, "{text}");
    assert!(unused("k").is_none_or(|there| there["last_used"].is_u64()), "{text}");
    assert!(!text.contains("my-key") && !text.contains(SECRET));

    let (text, issuers) = look("/live/issuers");
    assert_eq!(issuers["issuers"][0]["issuer"], world.issuer, "{text}");

    let (text, effective) = look("/effective?method=GET&url=/oidc");
    assert!(effective["who"]["text"].as_str().unwrap().contains(&world.issuer), "{text}");
    let refused = http::get(Endpoint::plain(world.process.admin), "/live/rejects?minutes=x", &[]);
    assert_eq!(refused.status, 400);
}
