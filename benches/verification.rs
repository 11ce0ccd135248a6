//! Parsing and verifying one token, for every algorithm: this project's verifier beside `jsonwebtoken::decode`.
//!
//! `cargo bench --bench verification`. Both sides have their keys prepared and check no claims but `exp`, which both
//! find valid.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jsonwebtoken::{DecodingKey, Validation};
use portcullis::jose::{Algorithm, Family, Jws, SigningKey, Value, VerificationKey};
use serde_json::{Map, json};

criterion_group!(benches, verification);
criterion_main!(benches);

/// The claims of a usual access token: about 400 bytes of JSON.
fn claims() -> Map<String, serde_json::Value> {
    let claims = json!({
        "iss": "https://id.example.com/realms/shop", "sub": "3f0e5a52-1c7b-4a52-9d21-6f3f1c1f8a10", "aud": ["shop", "account"],
        "exp": 4_102_444_800_u64, "iat": 1_700_000_000, "jti": "a6c1a7e4-94d4-44d5-8a1a-bd2ad5e5a6f1", "azp": "shop-web",
        "scope": "openid profile email orders:read orders:write", "email": "alice@example.com", "email_verified": true,
        "realm_access": {"roles": ["customer", "reviewer"]},
    });
    claims.as_object().cloned().unwrap_or_default()
}

fn verification(criterion: &mut Criterion) {
    for &algorithm in Algorithm::ALL {
        let signer = SigningKey::generate(algorithm).expect("a key");
        let token = signer.sign(&Map::new(), &claims()).expect("a token");
        let pem = signer.public_pem();
        let key = match (signer.secret(), &pem) {
            (Some(secret), _) => VerificationKey::from_secret(algorithm, secret),
            (None, pem) => VerificationKey::from_pem(algorithm, pem.as_deref().expect("a public key")),
        };
        let key = key.expect("a key");
        let mut group = criterion.benchmark_group(format!("verification/{algorithm}"));
        let verify = || {
            let mut scratch = Vec::new();
            let jws = Jws::parse(black_box(token.as_bytes()), &mut scratch).ok()?;
            let exp = jws.claims.get("exp").and_then(Value::as_f64)?;
            (exp > 1_800_000_000.0 && jws.verify(&key)).then_some(())
        };
        assert!(verify().is_some());
        group.bench_function("portcullis", |bencher| bencher.iter(verify));

        if let Some((key, validation)) = jsonwebtoken_key(algorithm, &signer, pem.as_deref()) {
            let verify = || jsonwebtoken::decode::<serde_json::Value>(black_box(&token), &key, &validation).ok();
            assert!(verify().is_some());
            group.bench_function("jsonwebtoken", |bencher| bencher.iter(verify));
        }
        group.finish();
    }
}

/// `None` for what `jsonwebtoken` does not know: ES512.
fn jsonwebtoken_key(algorithm: Algorithm, signer: &SigningKey, pem: Option<&str>) -> Option<(DecodingKey, Validation)> {
    let pem = pem.unwrap_or_default().as_bytes();
    let key = match algorithm.family() {
        Family::Hmac => DecodingKey::from_secret(signer.secret()?),
        Family::Rsa | Family::RsaPss => DecodingKey::from_rsa_pem(pem).ok()?,
        Family::Ecdsa => DecodingKey::from_ec_pem(pem).ok()?,
        Family::EdDsa => DecodingKey::from_ed_pem(pem).ok()?,
    };
    let mut validation = Validation::new(algorithm.name().parse().ok()?);
    validation.validate_aud = false;
    Some((key, validation))
}
