//! Which keys of a provider are used, and which answers replace them: SECURITY 1d (poisoning, faults of the key endpoint).

use std::time::{Duration, Instant};

use portcullis::jose::{Algorithm, SigningKey, base64url};
use serde_json::{Value, json};

use super::support::{Guarded, bearer};
use crate::blackbox::support::http;
use crate::blackbox::support::idp::{Idp, jwk, new_key};

/// Keys made elsewhere, and `{"sub":"alice"}` signed by each with RS256: 2048 bits, which do, and 1024, which do not.
const RSA: [(&str, &str, u16); 2] = [
    (
        "rwjM52KQWPejKKo1FmdSjE4YXUNWafKWTuQxnP-hO2ttdCveunlkzfOqigVGvH6Cphnj08NmpGzT0AHrRCnLKds6eXm_VHbi8yDC1FKqYRGx8CQOG7HBY_7uqR-tvued6V47NEmRi-30bm_OLe6WU5Gtgw6I0uVc674AmAsn_-irkX6re5YMSPPf4YpE5vyEqd1pDX6KxdVPL3aXHu0S_T0EbBMfwkMcS5V49RQybuWw1MqvV54YtMfcukUB7s2Q97nun7jcfuN5aYLglbiXMRa888Pwnib-bTz08T5d_xbos0MpIyLzBJhhLl4GUux9PJw4ABYoC7rdEXmLBZHnIQ",
        "eyJhbGciOiAiUlMyNTYiLCAia2lkIjogInJzYS0yMDQ4In0.eyJzdWIiOiAiYWxpY2UifQ.f-U8yK_ihmvur5YXwQBQm8dcpvLDXD1h4cM07lMtE-JEIyJm9JLOzUnz_pXSzNU79biDVG94SsADyYRvu5YvAX_ThvNlsR_uSaHYT3qUO3GO0fwXXU0nPITVyd06uH_wVxP51COWi5vPylKGyeKBCsyNAmoRsjOJ3Ci4ZXlK7IrjLSDjaAB5qaXuYzLCEx1y7_GnEz3Zb3-CgCTL1bfaeQYifC-_iZJRrV934gweBk5se2crts6MD7aASQ9EXAo_yNd5uHW7Ma8cQ61JSSRg5W3UfevEhclLLVAMYZHMO3fN1gZuLU7mwTZJD38SuFmTPoGBBNmwOwdikWO1IkYdzQ",
        200,
    ),
    (
        "saqmPQ3_MROzGimDtLdsSk_gQe42WkGol10Xrgf8JO4t4qE9kSgeVYpYNsLhYILsL_LSoJAGUVE_7XtsL5jl1fKlMfVMCRn0cSdQGKzCYjCYM_k0Qw92xJerTQD9u_jIbnHGrAlKUvf2ayApdwEs-IXBhaO1KWtz38b0avlFY5U",
        "eyJhbGciOiAiUlMyNTYiLCAia2lkIjogInJzYS0xMDI0In0.eyJzdWIiOiAiYWxpY2UifQ.d_QOaw6qa7DNIYHVsdE-NKSljPCYq-wUYraR8lWwpUTRSfoDKrzKrxN9DlePvqqMx2q7DtAuYZd-mAyaqmEZsETTulwMunU1N3Im7LqK8w1oXr7uxg_N5EoXwZ_lRq2tLGP0fMZEyZqMvm-OogYZgel6WRLEx8Rzn00I9-aAKp0",
        401,
    ),
];

#[test]
fn keys_that_may_not_sign_are_not_used() {
    let idp = Idp::start();
    let key = new_key();
    let with = |kid: &str, changes: Value| {
        let mut jwk = jwk(&key, kid);
        for (name, value) in changes.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    };
    let secret = base64url::encode("a secret that everybody can read in the key set");
    let rows = [
        ("good", json!({}), 200),
        ("verify", json!({"key_ops": ["verify"]}), 200),
        ("private", json!({"d": "AAAA"}), 200),
        ("enc", json!({"use": "enc"}), 401),
        ("wrap", json!({"key_ops": ["wrapKey"]}), 401),
        ("alg", json!({"alg": "ES256"}), 401),
        ("unknown-alg", json!({"alg": "none"}), 401),
        ("crv", json!({"crv": "X25519"}), 401),
        ("point", json!({"x": "AAAA"}), 401),
        ("kty", json!({"kty": "EC"}), 401),
    ];
    let mut keys: Vec<Value> = rows.iter().map(|(kid, changes, _)| with(kid, changes.clone())).collect();
    keys.push(json!({"kty": "oct", "k": secret, "kid": "oct", "alg": "HS256"}));
    keys.push(json!("not a key"));
    keys.push(jwk(&new_key(), "twice"));
    keys.push(with("twice", json!({})));
    idp.publish(&keys);
    let guarded = Guarded::one(&idp, json!({"client_id": ["c"], "client_secret": ["s"], "enable_hs_signatures": true}));
    for (kid, changes, status) in rows {
        assert_eq!(guarded.status(0, &idp.token_by(&key, json!({"kid": kid}), json!({}))), status, "{kid} {changes}");
    }
    assert_eq!(guarded.status(0, &idp.token_by(&key, json!({"kid": "twice"}), json!({}))), 401, "a kid of two keys");
    let hmac = SigningKey::from_secret(Algorithm::Hs256, &base64url::decode(&secret).unwrap()).unwrap();
    assert_eq!(guarded.status(0, &idp.token_by(&hmac, json!({"kid": "oct"}), json!({}))), 401, "a published secret");
    let public = SigningKey::from_secret(Algorithm::Hs256, key.public_pem().unwrap().as_bytes()).unwrap();
    assert_eq!(
        guarded.status(0, &idp.token_by(&public, json!({"kid": "good"}), json!({}))),
        401,
        "a public key as secret"
    );
}

#[test]
fn small_rsa_keys_are_not_used() {
    let idp = Idp::start();
    let keys = RSA.iter().zip(["rsa-2048", "rsa-1024"]);
    let keys: Vec<Value> = keys.map(|((n, ..), kid)| json!({"kty": "RSA", "n": n, "e": "AQAB", "kid": kid})).collect();
    idp.publish(&keys);
    // The tokens have neither issuer nor end.
    let guarded = Guarded::one(&idp, json!({"verify_claims": false}));
    for (_, token, status) in RSA {
        assert_eq!(guarded.status(0, token), status);
    }
}

/// What comes in place of a key set replaces no good one, and a later good one is taken.
#[test]
fn bad_answers_replace_no_keys() {
    let idp = Idp::start();
    let guarded = Guarded::one(&idp, json!({"rediscovery_lifetime": 1}));
    let good = idp.token(json!({}));
    assert_eq!(guarded.status(0, &good), 200, "control");
    let many: Vec<Value> =
        (0..10_000).map(|n| json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": n.to_string()})).collect();
    let many = json!({"keys": many}).to_string().into_bytes();
    let deep = [b"{\"keys\":".to_vec(), b"[".repeat(100_000), b"]".repeat(100_000), b"}".to_vec()].concat();
    let json_type = "Content-Type: application/json";
    let before = idp.hits("/jwks");
    let faults: [(u16, &str, Vec<u8>); 9] = [
        (500, json_type, b"{}".to_vec()),
        (404, json_type, b"{}".to_vec()),
        (200, "Content-Type: text/html", b"<html>sign in</html>".to_vec()),
        (200, json_type, b"{\"keys\":[]}".to_vec()),
        (200, json_type, b"{\"keys\":[".to_vec()),
        (200, json_type, deep),
        (200, json_type, many),
        (200, json_type, vec![b' '; 2 * 1024 * 1024]),
        (200, json_type, b"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\",\"kid\":\"one\"}]}".to_vec()),
    ];
    for (number, (status, head, body)) in faults.into_iter().enumerate() {
        idp.answer("/jwks", status, head, &body);
        std::thread::sleep(Duration::from_millis(1100));
        let unknown = idp.token_by(&new_key(), json!({"kid": format!("unknown-{number}")}), json!({}));
        assert_eq!(guarded.status(0, &unknown), 401, "{number}");
        assert_eq!(guarded.status(0, &good), 200, "{number}");
    }
    assert!(idp.hits("/jwks") >= before + 9, "each was asked for");
    let two = new_key();
    idp.publish(&[jwk(&two, "two")]);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(guarded.status(0, &idp.token_by(&two, json!({"kid": "two"}), json!({}))), 200, "control");
}

/// A hundred keys are taken, more are not (`bad_answers_replace_no_keys`); which of them it is makes no difference.
#[test]
fn a_hundred_keys_are_looked_up_alike() {
    let idp = Idp::start();
    let keys: Vec<SigningKey> = (0..100).map(|_| new_key()).collect();
    let published: Vec<Value> = keys.iter().enumerate().map(|(n, key)| jwk(key, &n.to_string())).collect();
    idp.publish(&published);
    let guarded = Guarded::one(&idp, json!({}));
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(
            guarded.status(0, &idp.token_by(key, json!({"kid": number.to_string()}), json!({}))),
            200,
            "{number}"
        );
    }
}

#[test]
fn a_hanging_provider_leaves_other_routes_alone() {
    let (idp, hanging) = (Idp::start(), Idp::start());
    hanging.hang("/.well-known/openid-configuration");
    let guarded = Guarded::start(&[bearer(&idp, json!({})), bearer(&hanging, json!({}))]);
    let good = idp.token(json!({}));
    assert_eq!(guarded.status(0, &good), 200, "control");
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| {
                    let began = Instant::now();
                    (guarded.status(1, &hanging.token(json!({}))), began.elapsed())
                })
            })
            .collect();
        let mut slowest = Duration::ZERO;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3) {
            let sent = Instant::now();
            assert_eq!(guarded.status(0, &good), 200);
            slowest = slowest.max(sent.elapsed());
        }
        assert!(slowest < Duration::from_secs(3), "{slowest:?}");
        for waited in waiting {
            let (status, took) = waited.join().unwrap();
            assert_eq!(status, 401);
            assert!(took < Duration::from_secs(9), "the wait is bounded: {took:?}");
        }
    });
    let refused = guarded.send("/1/", &[]);
    assert_eq!(refused.status, 401);
    let stream = &mut *guarded.gateway.endpoint().connect();
    assert_eq!(http::exchange(stream, "GET /none HTTP/1.1\r\nHost: a\r\n\r\n").status, 404);
}
