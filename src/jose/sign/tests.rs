use serde_json::json;

use super::*;

#[test]
fn the_header_names_the_algorithm_of_the_key() {
    let key = SigningKey::from_secret(Algorithm::Hs256, b"secret").unwrap();
    let header = json!({ "alg": "none", "kid": "1", "typ": "at+jwt" });
    let token = key.sign(header.as_object().unwrap(), &Map::new()).unwrap();
    let head = base64url::decode(token.split('.').next().unwrap()).unwrap();
    assert_eq!(String::from_utf8(head).unwrap(), r#"{"alg":"HS256","typ":"at+jwt","kid":"1"}"#);
}

#[test]
fn keys_of_the_wrong_kind_are_refused() {
    let fault = |algorithm, pem: &str| SigningKey::from_pem(algorithm, pem).unwrap_err();
    assert_eq!(fault(Algorithm::Es256, "x"), SigningFault::NotAKey);
    let es256 = SigningKey::generate(Algorithm::Es256).unwrap();
    assert_eq!(fault(Algorithm::Es256, &es256.public_pem().unwrap()), SigningFault::NotAKey);
    let private = es256.private_pem().unwrap();
    assert!(SigningKey::from_pem(Algorithm::Es256, &private).is_ok());
    for other in [Algorithm::Es384, Algorithm::Rs256, Algorithm::EdDsa, Algorithm::Hs256] {
        assert_eq!(fault(other, &private), SigningFault::WrongType, "{other}");
    }
    assert_eq!(SigningKey::from_secret(Algorithm::Hs256, b"").unwrap_err(), SigningFault::EmptySecret);
    assert_eq!(SigningKey::from_secret(Algorithm::Es256, b"s").unwrap_err(), SigningFault::WrongType);
}

#[test]
fn pem_lines_are_64_characters_long() {
    let pem = SigningKey::generate_ed448().unwrap().public_pem().unwrap();
    assert!(pem.lines().all(|line| line.len() <= 64), "{pem}");
    assert_eq!(pem.lines().filter(|line| line.len() == 64).count(), 1);
}
