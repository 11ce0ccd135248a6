//! Project Wycheproof's JOSE vectors (tests/conformance/wycheproof, Apache-2.0) against the `jose` room.
//!
//! Their payloads are no claims, so signatures are verified below the level of a JWT: token split and decoded strictly,
//! header parsed, the key taken for the header's algorithm. Every case must come out as the file says, but for those
//! listed with a reason.

use portcullis::jose::{Algorithm, Compact, Jws, KeyFault, KeySet, Lookup, Object, VerificationKey, base64url};
use serde_json::Value;

/// Cases of `json_web_signature_test.json` that end otherwise here.
const OTHERWISE: &[(u64, &str)] = &[
    (346, "the key says PS256, the token PS384: RFC 7517 section 4.4"),
    (347, "the key says ES521, which is no algorithm"),
    (350, "as 346"),
    (351, "as 347"),
    (367, "lost its padding on the way into the file: byte for byte the valid case 357"),
    (370, "as 367"),
    (372, "`?` inside a segment: RFC 7515 section 2 knows no such character"),
    (373, "as 372"),
];

fn file(name: &str) -> Value {
    let path = format!("{}/tests/conformance/wycheproof/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn groups(file: &Value) -> impl Iterator<Item = &Value> {
    file["testGroups"].as_array().unwrap().iter()
}

fn tests(group: &Value) -> impl Iterator<Item = &Value> {
    group["tests"].as_array().unwrap().iter()
}

/// A key for an algorithm: public ones as a key set would take them, secrets as a credential would.
fn key(jwk: &Value, algorithm: Algorithm) -> Result<VerificationKey, KeyFault> {
    if jwk["kty"] != "oct" {
        return VerificationKey::from_jwk(algorithm, jwk);
    }
    let own = jwk["alg"].as_str().and_then(Algorithm::from_name).ok_or(KeyFault::Algorithm)?;
    if own != algorithm {
        return Err(KeyFault::Algorithm);
    }
    VerificationKey::from_secret(algorithm, &base64url::decode(jwk["k"].as_str().unwrap()).unwrap())
}

fn verifies(jwk: &Value, token: &str) -> bool {
    let mut scratch = Vec::new();
    let Ok(parts) = Compact::decode(token.as_bytes(), &mut scratch) else { return false };
    let Ok(header) = Object::parse(parts.header) else { return false };
    let Some(algorithm) = header.str("alg").and_then(Algorithm::from_name) else { return false };
    let (Ok(key), Some(signature)) = (key(jwk, algorithm), parts.signature) else { return false };
    key.verify(parts.signing_input, signature)
}

fn jwk_of(group: &Value) -> &Value {
    group.get("public").unwrap_or(&group["private"])
}

#[test]
fn signatures() {
    let file = file("json_web_signature_test.json");
    let (mut valid, mut invalid, mut otherwise) = (0, 0, 0);
    for group in groups(&file) {
        for test in tests(group) {
            let id = test["tcId"].as_u64().unwrap();
            let accepted = verifies(jwk_of(group), test["jws"].as_str().unwrap());
            let expected = test["result"] == "valid";
            if OTHERWISE.iter().any(|(there, _)| *there == id) {
                assert_ne!(accepted, expected, "{id} needs no exception any more");
                otherwise += 1;
                continue;
            }
            assert_eq!(accepted, expected, "{id} {}", test["comment"]);
            *if accepted { &mut valid } else { &mut invalid } += 1;
        }
    }
    assert_eq!((valid, invalid, otherwise), (40, 353, OTHERWISE.len()));
}

/// Sets of one kind of key or several, good and bad.
#[test]
fn key_sets() {
    let file = file("json_web_key_test.json");
    let mut seen = 0;
    for group in groups(&file) {
        let text = jwk_of(group).to_string();
        let set = KeySet::parse(text.as_bytes()).unwrap();
        let symmetric = jwk_of(group)["keys"].as_array().unwrap().iter().any(|key| key["kty"] == "oct");
        for test in tests(group) {
            let id = &test["tcId"];
            let token = test["jws"].as_str().unwrap();
            let mut scratch = Vec::new();
            let parts = Compact::decode(token.as_bytes(), &mut scratch).unwrap();
            let header = Object::parse(parts.header).unwrap();
            let algorithm = header.str("alg").and_then(Algorithm::from_name).unwrap();
            let accepted = match set.find(header.str("kid"), algorithm) {
                Lookup::Key(key) => key.verify(parts.signing_input, parts.signature.unwrap()),
                _ => false,
            };
            // A secret in a set of public keys is no secret: it is not used, whatever the file says.
            assert_eq!(accepted, test["result"] == "valid" && !symmetric, "{id} {}", test["comment"]);
            seen += 1;
        }
    }
    assert_eq!(seen, 26);
}

#[test]
fn weak_keys_are_refused_for_what_they_are() {
    let file = file("json_web_key_test.json");
    let faults: Vec<KeyFault> = groups(&file)
        .filter(|group| group.get("public").is_some())
        .flat_map(|group| KeySet::parse(group["public"].to_string().as_bytes()).unwrap().rejected)
        .filter_map(|rejected| rejected.fault)
        .collect();
    for fault in [
        KeyFault::Roca,
        KeyFault::TooSmall(1024),
        KeyFault::Exponent,
        KeyFault::Use,
        KeyFault::Algorithm,
        KeyFault::Malformed,
    ] {
        assert!(faults.contains(&fault), "{fault:?} in {faults:?}");
    }
}

/// Long secrets verify; empty ones cannot be keys. (Short ones are taken, as in Kong, with a warning from `check`.)
#[test]
fn secrets() {
    let file = file("json_web_key_test.json");
    let mut seen = 0;
    for group in groups(&file).filter(|group| group["private"]["keys"].as_array().unwrap().len() == 1) {
        let jwk = &group["private"]["keys"][0];
        for test in tests(group).filter(|_| jwk["kty"] == "oct") {
            let short = test["comment"] == "key_too_short";
            assert_eq!(
                verifies(jwk, test["jws"].as_str().unwrap()),
                test["result"] == "valid" || short,
                "{}",
                test["tcId"]
            );
            seen += 1;
        }
    }
    assert_eq!(seen, 11);
}

/// Signatures of the older, mixed file.
#[test]
fn mixed() {
    let file = file("json_web_crypto_test.json");
    let mut seen = 0;
    for group in groups(&file) {
        for (test, token) in tests(group).filter_map(|test| Some((test, test.get("jws")?.as_str()?))) {
            let jwk = jwk_of(group);
            let keys = jwk["keys"].as_array().cloned().unwrap_or_else(|| vec![jwk.clone()]);
            if test["result"] != "valid" && keys.len() == 1 && test["comment"] != "key_too_short" {
                assert!(!verifies(jwk, token), "{} {}", test["tcId"], test["comment"]);
                seen += 1;
            }
        }
    }
    assert!(seen > 0);
}

/// No encrypted token is taken for a signed one.
#[test]
fn encrypted_tokens_are_no_jws() {
    let mut seen = 0;
    for name in ["json_web_encryption_test.json", "json_web_crypto_test.json"] {
        let file = file(name);
        for token in groups(&file).flat_map(tests).filter_map(|test| test.get("jwe")?.as_str()) {
            let mut scratch = Vec::new();
            assert!(Jws::parse(token.as_bytes(), &mut scratch).is_err(), "{token}");
            seen += 1;
        }
    }
    assert!(seen >= 139);
}
