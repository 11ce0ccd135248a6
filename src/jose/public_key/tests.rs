use serde_json::{Value, json};

use super::*;
use crate::jose::{SigningKey, VerificationKey};

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        base64::engine::general_purpose::STANDARD.encode(der)
    )
}

fn contents(pem: &str) -> Vec<u8> {
    x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap().1.contents
}

/// RSA of 1024 bits.
const SMALL: &str = "-----BEGIN PUBLIC KEY-----\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC+BXrouqASAZTLDB12uwzmDb6l\nmKaYqDhJPoO7t3kESLSRnRBnXGazJwIJchB8l5wgiVuoxT2unpc/bR+WnOGk5BeI\nOjmY/lUCDGplr0ZtcdogGewMzUDmErhhS1HNVyTyQ3Dzr97yfm6iJ/Cf7PZuQgyt\nh4tZPFpCrGCovo7SswIDAQAB\n-----END PUBLIC KEY-----\n";

fn fault(algorithm: Algorithm, pem: &str) -> KeyFault {
    VerificationKey::from_pem(algorithm, pem).unwrap_err()
}

#[test]
fn a_pem_that_is_no_public_key_is_called_what_it_is() {
    let signer = SigningKey::generate(Algorithm::Es256).unwrap();
    let public = signer.public_pem().unwrap();
    assert!(VerificationKey::from_pem(Algorithm::Es256, &public).is_ok());
    assert!(VerificationKey::from_pem(Algorithm::Es256, &public.replace('\n', "\r\n")).is_ok());
    assert!(VerificationKey::from_pem(Algorithm::Es256, &format!("Some text\n{public}more")).is_ok());

    let is = |pem: &str| fault(Algorithm::Es256, pem);
    assert_eq!(is(""), KeyFault::NotAKey);
    assert_eq!(is("not a pem"), KeyFault::NotAKey);
    assert_eq!(is("-----BEGIN PUBLIC KEY-----\n!!!\n-----END PUBLIC KEY-----\n"), KeyFault::NotAKey);
    assert_eq!(is(&signer.private_pem().unwrap()), KeyFault::PrivateKey);
    assert_eq!(is(&pem("RSA PRIVATE KEY", b"x")), KeyFault::PrivateKey);
    assert_eq!(is(&pem("ENCRYPTED PRIVATE KEY", b"x")), KeyFault::PrivateKey);
    let certificate = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    assert_eq!(is(&certificate.cert.pem()), KeyFault::Certificate);
    assert_eq!(is(&pem("CERTIFICATE REQUEST", b"x")), KeyFault::CertificateRequest);
    assert_eq!(is(&pem("DH PARAMETERS", b"x")), KeyFault::OtherPem("DH PARAMETERS".into()));
    assert_eq!(is(&pem("PUBLIC KEY", b"x")), KeyFault::Malformed);
    let trailing = [contents(&public).as_slice(), b"\0"].concat();
    assert_eq!(is(&pem("PUBLIC KEY", &trailing)), KeyFault::Malformed);
    // secp256k1 instead of prime256v1: the object identifier has another length, so the whole is malformed or
    // unsupported.
    let x25519 = [&[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 3, 0x21, 0][..], &[9; 32]].concat();
    assert_eq!(is(&pem("PUBLIC KEY", &x25519)), KeyFault::UnsupportedType);
}

#[test]
fn the_type_must_fit_the_algorithm() {
    let p256 = SigningKey::generate(Algorithm::Es256).unwrap().public_pem().unwrap();
    let ed25519 = SigningKey::generate(Algorithm::EdDsa).unwrap().public_pem().unwrap();
    let ed448 = SigningKey::generate_ed448().unwrap().public_pem().unwrap();
    let rsa = SigningKey::generate(Algorithm::Rs256).unwrap().public_pem().unwrap();
    for (key, kind, fitting) in [
        (&p256, "P-256", &[Algorithm::Es256][..]),
        (&ed25519, "Ed25519", &[Algorithm::EdDsa]),
        (&ed448, "Ed448", &[Algorithm::EdDsa]),
        (
            &rsa,
            "RSA",
            &[
                Algorithm::Rs256,
                Algorithm::Rs384,
                Algorithm::Rs512,
                Algorithm::Ps256,
                Algorithm::Ps384,
                Algorithm::Ps512,
            ],
        ),
    ] {
        assert_eq!(PublicKey::from_pem(key).unwrap().algorithms(), fitting);
        for &algorithm in Algorithm::ALL {
            let expected =
                if fitting.contains(&algorithm) { None } else { Some(KeyFault::WrongType { is: kind, algorithm }) };
            assert_eq!(VerificationKey::from_pem(algorithm, key).err(), expected, "{kind} {algorithm}");
        }
    }
    assert!(VerificationKey::from_secret(Algorithm::Rs256, b"secret").is_err());
    assert_eq!(VerificationKey::from_secret(Algorithm::Hs256, b"").unwrap_err(), KeyFault::EmptySecret);
}

#[test]
fn rsa_keys_are_measured() {
    assert_eq!(fault(Algorithm::Rs256, SMALL), KeyFault::TooSmall(1024));
    assert!(PublicKey::from_pem(SMALL).is_ok(), "it is a key all the same");
    let good = SigningKey::generate(Algorithm::Rs256).unwrap().public_pem().unwrap();
    let PublicKey::Rsa { modulus, exponent } = PublicKey::from_pem(&good).unwrap() else { panic!() };
    assert_eq!((modulus.len(), exponent.as_slice()), (256, &[1, 0, 1][..]));
    let with = |modulus: &[u8], exponent: &[u8]| {
        VerificationKey::new(&PublicKey::rsa(modulus, exponent), Algorithm::Ps384).map(drop)
    };
    assert_eq!(with(&modulus, &[0, 0, 3]), Ok(()));
    for bad in [&[][..], &[1], &[0], &[2], &[1, 0]] {
        assert_eq!(with(&modulus, bad), Err(KeyFault::Exponent), "{bad:?}");
    }
    assert_eq!(with(&[0xff; 1025], &[3]), Err(KeyFault::TooLarge(8200)));
    assert_eq!(with(&[], &[3]), Err(KeyFault::TooSmall(0)));
    assert_eq!(with(&[&[0x7f], &[0xff; 255][..]].concat(), &[3]), Err(KeyFault::TooSmall(2047)));
}

#[test]
fn pkcs1_is_read_too() {
    let signer = SigningKey::generate(Algorithm::Rs256).unwrap();
    let spki = contents(&signer.public_pem().unwrap());
    let (_, parsed) = SubjectPublicKeyInfo::from_der(&spki).unwrap();
    let text = pem("RSA PUBLIC KEY", &parsed.subject_public_key.data);
    assert_eq!(PublicKey::from_pem(&text), PublicKey::from_pem(&signer.public_pem().unwrap()));
    let key = VerificationKey::from_pem(Algorithm::Rs256, &text).unwrap();
    assert!(key.verify(b"m", &signer.signature(b"m").unwrap()));
    assert_eq!(fault(Algorithm::Rs256, &pem("RSA PUBLIC KEY", b"junk")), KeyFault::Malformed);
}

/// A JWK with changes: a null takes a member away.
fn jwk(changes: Value) -> Result<(PublicKey, Option<Algorithm>), KeyFault> {
    let mut key = json!({
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "1",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(key.as_object_mut().unwrap().remove(name)),
            value => key[name] = value.clone(),
        }
    }
    PublicKey::from_jwk(&key)
}

#[test]
fn jwks_say_what_they_are_for() {
    assert_eq!(jwk(json!({})).unwrap().1, Some(Algorithm::Es256));
    assert_eq!(jwk(json!({ "alg": null })).unwrap().1, None);
    assert!(jwk(json!({ "use": null, "key_ops": ["verify"] })).is_ok());
    assert!(
        jwk(json!({ "use": null, "key_ops": ["sign", "verify"], "d": "AA", "x5c": ["MII"], "ext": true })).is_ok(),
        "private members are ignored"
    );
    assert_eq!(jwk(json!({ "use": "enc" })), Err(KeyFault::Use));
    assert_eq!(jwk(json!({ "use": "SIG" })), Err(KeyFault::Use));
    for operations in [json!([]), json!(["encrypt"]), json!(["sign"])] {
        assert_eq!(jwk(json!({ "use": null, "key_ops": operations })), Err(KeyFault::Use));
    }
    for name in [json!("ES521"), json!("es256"), json!("RSA-OAEP"), json!("none")] {
        assert_eq!(jwk(json!({ "alg": name })), Err(KeyFault::Algorithm), "{name}");
    }
    assert_eq!(jwk(json!({ "crv": "P-384" })), Err(KeyFault::Malformed), "coordinates of another length");
    assert_eq!(jwk(json!({ "crv": "secp256k1" })), Err(KeyFault::UnsupportedType));
    assert_eq!(jwk(json!({ "kty": "RSA" })), Err(KeyFault::UnsupportedType));
    assert_eq!(jwk(json!({ "kty": "oct", "k": "AAAA" })), Err(KeyFault::Symmetric));
    assert_eq!(jwk(json!({ "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVE" })), Err(KeyFault::Malformed));
    assert_eq!(jwk(json!({ "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU=" })), Err(KeyFault::Malformed));
    let (off_curve, _) = jwk(json!({ "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5b0" })).unwrap();
    assert_eq!(VerificationKey::new(&off_curve, Algorithm::Es256).unwrap_err(), KeyFault::Malformed);
    let (p256, _) = jwk(json!({})).unwrap();
    assert_eq!(
        VerificationKey::new(&p256, Algorithm::Es384).unwrap_err(),
        KeyFault::WrongType { is: "P-256", algorithm: Algorithm::Es384 }
    );
}

#[test]
fn octet_key_pairs() {
    for (signer, curve) in
        [(SigningKey::generate(Algorithm::EdDsa).unwrap(), "Ed25519"), (SigningKey::generate_ed448().unwrap(), "Ed448")]
    {
        let (PublicKey::Ed25519(x) | PublicKey::Ed448(x)) = PublicKey::from_pem(&signer.public_pem().unwrap()).unwrap()
        else {
            panic!()
        };
        let of = |curve: &str, x: &[u8]| {
            VerificationKey::from_jwk(
                Algorithm::EdDsa,
                &json!({ "kty": "OKP", "crv": curve, "x": base64url::encode(x), "use": "sig" }),
            )
        };
        let signature = signer.signature(b"m").unwrap();
        assert!(of(curve, &x).unwrap().verify(b"m", &signature));
        assert_eq!(of(curve, &x[1..]).unwrap_err(), KeyFault::Malformed);
        assert_eq!(of("X25519", &x).unwrap_err(), KeyFault::UnsupportedType);
    }
}

#[test]
fn identities_tell_keys_and_algorithms_apart() {
    let signer = SigningKey::generate(Algorithm::Rs256).unwrap().public_pem().unwrap();
    let [one, again, other] = [Algorithm::Rs256, Algorithm::Rs256, Algorithm::Ps256]
        .map(|algorithm| VerificationKey::from_pem(algorithm, &signer).unwrap());
    assert_eq!(one.identity(), again.identity());
    assert_ne!(one.identity(), other.identity());
    let hs = |secret: &[u8]| *VerificationKey::from_secret(Algorithm::Hs256, secret).unwrap().identity();
    assert_ne!(hs(b"a"), hs(b"b"));
    assert!(
        !format!("{:?}", VerificationKey::from_secret(Algorithm::Hs256, b"hidden").unwrap()).contains("104"),
        "no secret in debug output"
    );
}

#[test]
fn a_key_written_as_jwk_reads_as_the_same_key() {
    let asymmetric = Algorithm::ALL.iter().copied().filter(|algorithm| !algorithm.is_hmac());
    let made = asymmetric.map(|algorithm| SigningKey::generate(algorithm).unwrap());
    for signer in made.chain([SigningKey::generate_ed448().unwrap()]) {
        let key = PublicKey::from_pem(&signer.public_pem().unwrap()).unwrap();
        let jwk = Value::Object(key.to_jwk());
        assert!(jwk.get("d").is_none() && jwk.get("p").is_none());
        // jsonwebtoken reads no Ed448 key.
        if !matches!(key, PublicKey::Ed448(_)) {
            assert_eq!(PublicKey::from_jwk(&jwk).unwrap().0, key, "{jwk}");
        }
    }
}
