use serde_json::{Value, json};

use super::*;
use crate::jose::{SigningKey, base64url};

fn ed(kid: Option<&str>) -> Value {
    let pem = SigningKey::generate(Algorithm::EdDsa).unwrap().public_pem().unwrap();
    let PublicKey::Ed25519(x) = PublicKey::from_pem(&pem).unwrap() else { panic!() };
    let mut jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url::encode(x) });
    if let Some(kid) = kid {
        jwk["kid"] = kid.into();
    }
    jwk
}

fn rsa(kid: &str) -> Value {
    let pem = SigningKey::generate(Algorithm::Rs256).unwrap().public_pem().unwrap();
    let PublicKey::Rsa { modulus, exponent } = PublicKey::from_pem(&pem).unwrap() else { panic!() };
    json!({ "kty": "RSA", "kid": kid, "n": base64url::encode(modulus), "e": base64url::encode(exponent) })
}

fn with(mut jwk: Value, name: &str, value: impl Into<Value>) -> Value {
    jwk[name] = value.into();
    jwk
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn shown(lookup: Lookup<'_>) -> String {
    match lookup {
        Lookup::Key(key) => key.algorithm().to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn keys_are_found_by_kid_and_algorithm() {
    let set = set(&[rsa("r"), with(rsa("ps"), "alg", "PS256"), ed(Some("e"))]);
    assert_eq!((set.len(), set.rejected.len()), (3, 0));
    for (kid, algorithm, found) in [
        (Some("r"), Algorithm::Rs256, "RS256"),
        (Some("r"), Algorithm::Ps512, "PS512"),
        (Some("r"), Algorithm::Es256, "OtherAlgorithm"),
        (Some("ps"), Algorithm::Ps256, "PS256"),
        (Some("ps"), Algorithm::Rs256, "OtherAlgorithm"),
        (Some("e"), Algorithm::EdDsa, "EdDSA"),
        (Some("E"), Algorithm::EdDsa, "UnknownKid"),
        (Some(""), Algorithm::EdDsa, "UnknownKid"),
        (None, Algorithm::EdDsa, "EdDSA"),
        (None, Algorithm::Rs256, "RS256"),
        (None, Algorithm::Ps256, "KidMissing"),
        (None, Algorithm::Es256, "KidMissing"),
        (Some("r"), Algorithm::Hs256, "OtherAlgorithm"),
    ] {
        assert_eq!(shown(set.find(kid, algorithm)), found, "{kid:?} {algorithm}");
    }
}

#[test]
fn a_key_without_kid_serves_tokens_without_kid() {
    let one = set(&[ed(None)]);
    assert_eq!(shown(one.find(None, Algorithm::EdDsa)), "EdDSA");
    assert_eq!(shown(one.find(Some("x"), Algorithm::EdDsa)), "UnknownKid");
    let two = set(&[ed(None), ed(None)]);
    assert_eq!((shown(two.find(None, Algorithm::EdDsa)).as_str(), two.len()), ("KidMissing", 2));
}

#[test]
fn one_bad_key_does_not_spoil_the_set() {
    let set = set(&[
        ed(Some("good")),
        json!({ "kty": "oct", "kid": "hmac", "k": "AAAA" }),
        with(rsa("enc"), "use", "enc"),
        with(rsa("weak"), "e", "AQ"),
        json!({ "kty": "EC", "crv": "P-256", "kid": "point", "x": "AA", "y": "AA" }),
        json!({ "kty": "new", "kid": "unknown" }),
        json!("nonsense"),
        ed(Some("twice")),
        ed(Some("twice")),
        ed(Some("thrice")),
        ed(Some("thrice")),
        ed(Some("thrice")),
        with(rsa("good"), "use", "enc"),
    ]);
    let rejected: Vec<(usize, Option<KeyFault>)> =
        set.rejected.iter().map(|key| (key.index, key.fault.clone())).collect();
    assert_eq!(
        rejected,
        [
            (1, Some(KeyFault::Symmetric)),
            (2, Some(KeyFault::Use)),
            (3, Some(KeyFault::Exponent)),
            (4, Some(KeyFault::Malformed)),
            (5, Some(KeyFault::UnsupportedType)),
            (6, Some(KeyFault::Malformed)),
            (8, None),
            (10, None),
            (11, None),
            (12, Some(KeyFault::Use)),
        ]
    );
    assert_eq!(set.kids().collect::<Vec<_>>(), ["good"]);
    assert_eq!(
        shown(set.find(Some("good"), Algorithm::EdDsa)),
        "EdDSA",
        "the encryption key of the same name takes nothing away"
    );
    for kid in ["twice", "thrice", "hmac", "enc", "weak", "point"] {
        assert_eq!(shown(set.find(Some(kid), Algorithm::EdDsa)), "UnknownKid", "{kid}");
    }
    assert_eq!(shown(set.find(None, Algorithm::EdDsa)), "EdDSA", "keys of a duplicate kid do not count");
}

#[test]
fn what_is_no_set() {
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, r#"{"keys":[]"#, "<html>"] {
        assert_eq!(KeySet::parse(bad.as_bytes()).unwrap_err(), SetFault::NotASet, "{bad}");
    }
    assert!(set(&[]).is_empty());
    assert!(!set(&[ed(None)]).is_empty());
    let many = json!({ "keys": vec![json!({}); MAX_KEYS + 1] }).to_string();
    assert_eq!(KeySet::parse(many.as_bytes()).unwrap_err(), SetFault::TooMany);
    let duplicate_member = br#"{"keys":[{"kty":"OKP","kty":"OKP"}]}"#;
    assert_eq!(KeySet::parse(duplicate_member).unwrap_err(), SetFault::NotASet);
}
