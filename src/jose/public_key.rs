//! Public keys as they come in: PEM and JWK, checked before anything is done with them.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use serde_json::{Map, Value};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{Algorithm, Family, base64url, roca};

/// Smallest and largest RSA modulus, in bits (RFC 7518 section 3.3; larger ones cost milliseconds a signature).
pub const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a key cannot be used. Says what the material is, so that the remedy is clear.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("there is no public key")]
    Missing,
    #[error("the secret is empty")]
    EmptySecret,
    #[error("not a public key in PEM")]
    NotAKey,
    #[error("a certificate, not a public key (`openssl x509 -pubkey -noout` extracts it)")]
    Certificate,
    #[error("a certificate request, not a public key (`openssl req -pubkey -noout` extracts it)")]
    CertificateRequest,
    #[error("a private key, which has no place here (`openssl pkey -pubout` derives the public key)")]
    PrivateKey,
    #[error("PEM of the type `{0}`, not a public key")]
    OtherPem(Box<str>),
    #[error("a key of an unsupported type")]
    UnsupportedType,
    #[error("the key's bytes do not form a valid key")]
    Malformed,
    #[error("RSA of {0} bits; at least 2048 are needed")]
    TooSmall(usize),
    #[error("RSA of {0} bits; at most 8192 are taken")]
    TooLarge(usize),
    #[error("the RSA exponent is even or less than 3")]
    Exponent,
    #[error("an RSA key with the ROCA weakness (CVE-2017-15361); replace it")]
    Roca,
    #[error("a {is} key, which {algorithm} does not take")]
    WrongType { is: &'static str, algorithm: Algorithm },
    #[error("a symmetric key, which a set of public keys may not hold")]
    Symmetric,
    #[error("a key for another use than verifying signatures")]
    Use,
    #[error("the key's `alg` is not a signature algorithm that is supported")]
    Algorithm,
}

/// A curve of ECDSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    const fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::Es256,
            Self::P384 => Algorithm::Es384,
            Self::P521 => Algorithm::Es512,
        }
    }

    /// Bytes of one coordinate.
    const fn coordinate(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// Public key material, not yet bound to an algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// Big-endian, without leading zeros.
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// The point in SEC 1 form.
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
    Ed25519(Vec<u8>),
    Ed448(Vec<u8>),
}

impl PublicKey {
    /// Reads PEM: `PUBLIC KEY` (SPKI) or `RSA PUBLIC KEY` (PKCS#1), the first block of the text. Only the form is
    /// checked here; whether the key is strong enough and fits an algorithm, [`super::VerificationKey::new`] says.
    ///
    /// # Errors
    /// What the text is instead.
    pub fn from_pem(text: &str) -> Result<Self, KeyFault> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(text.as_bytes()).map_err(|_| KeyFault::NotAKey)?;
        match pem.label.as_str() {
            "PUBLIC KEY" => Self::from_spki(&pem.contents),
            "RSA PUBLIC KEY" => Self::from_pkcs1(&pem.contents),
            "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => Err(KeyFault::Certificate),
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Err(KeyFault::CertificateRequest),
            label if label.ends_with("PRIVATE KEY") => Err(KeyFault::PrivateKey),
            label => Err(KeyFault::OtherPem(label.chars().take(40).collect())),
        }
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, KeyFault> {
        let (rest, key) = RSAPublicKey::from_der(der).map_err(|_| KeyFault::Malformed)?;
        if !rest.is_empty() {
            return Err(KeyFault::Malformed);
        }
        Ok(Self::rsa(key.modulus, key.exponent))
    }

    fn from_spki(der: &[u8]) -> Result<Self, KeyFault> {
        let (rest, spki) = SubjectPublicKeyInfo::from_der(der).map_err(|_| KeyFault::Malformed)?;
        if !rest.is_empty() {
            return Err(KeyFault::Malformed);
        }
        let bytes = spki.subject_public_key.data.as_ref();
        match spki.algorithm.algorithm.to_id_string().as_str() {
            // rsaEncryption; id-RSASSA-PSS, whose parameters are the token's business.
            "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => Self::from_pkcs1(bytes),
            "1.2.840.10045.2.1" => {
                let curve = spki
                    .algorithm
                    .parameters
                    .as_ref()
                    .and_then(|any| any.as_oid().ok())
                    .ok_or(KeyFault::UnsupportedType)?;
                let curve = match curve.to_id_string().as_str() {
                    "1.2.840.10045.3.1.7" => Curve::P256,
                    "1.3.132.0.34" => Curve::P384,
                    "1.3.132.0.35" => Curve::P521,
                    _ => return Err(KeyFault::UnsupportedType),
                };
                Ok(Self::Ec { curve, point: bytes.to_vec() })
            }
            "1.3.101.112" => Ok(Self::Ed25519(bytes.to_vec())),
            "1.3.101.113" => Ok(Self::Ed448(bytes.to_vec())),
            _ => Err(KeyFault::UnsupportedType),
        }
    }

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        Self::Rsa { modulus: without_leading_zeros(modulus), exponent: without_leading_zeros(exponent) }
    }

    /// Reads a JWK (RFC 7517) that is meant for verifying: private members are ignored, `use`, `key_ops` and `crv` are
    /// enforced. Yields the algorithm the key names for itself, too.
    ///
    /// # Errors
    /// Why the key is not to be used.
    pub fn from_jwk(json: &serde_json::Value) -> Result<(Self, Option<Algorithm>), KeyFault> {
        let jwk: Jwk = serde::Deserialize::deserialize(json).map_err(|_| KeyFault::Malformed)?;
        if jwk.common.public_key_use.as_ref().is_some_and(|intended| *intended != PublicKeyUse::Signature) {
            return Err(KeyFault::Use);
        }
        if jwk.common.key_operations.as_ref().is_some_and(|operations| !operations.contains(&KeyOperations::Verify)) {
            return Err(KeyFault::Use);
        }
        let key = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => Self::rsa(&decode(&rsa.n)?, &decode(&rsa.e)?),
            AlgorithmParameters::EllipticCurve(ec) => {
                let curve = match ec.curve {
                    EllipticCurve::P256 => Curve::P256,
                    EllipticCurve::P384 => Curve::P384,
                    EllipticCurve::P521 => Curve::P521,
                    _ => return Err(KeyFault::UnsupportedType),
                };
                let (x, y) = (decode(&ec.x)?, decode(&ec.y)?);
                // RFC 7518 section 6.2.1.2: the length is that of the curve, leading zeros included.
                if x.len() != curve.coordinate() || y.len() != curve.coordinate() {
                    return Err(KeyFault::Malformed);
                }
                Self::Ec { curve, point: [&[4], x.as_slice(), y.as_slice()].concat() }
            }
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                Self::Ed25519(decode(&pair.x)?)
            }
            AlgorithmParameters::OctetKey(_) => return Err(KeyFault::Symmetric),
            // The library knows no Ed448.
            AlgorithmParameters::Other(_)
                if member(json, "kty") == Some("OKP") && member(json, "crv") == Some("Ed448") =>
            {
                Self::Ed448(decode(member(json, "x").ok_or(KeyFault::Malformed)?)?)
            }
            _ if member(json, "kty") == Some("oct") => return Err(KeyFault::Symmetric),
            _ => return Err(KeyFault::UnsupportedType),
        };
        let algorithm = match json.get("alg") {
            None => None,
            Some(name) => Some(name.as_str().and_then(Algorithm::from_name).ok_or(KeyFault::Algorithm)?),
        };
        Ok((key, algorithm))
    }

    /// As a JWK: only the members that make the key (RFC 7517, RFC 7518 section 6, RFC 8037).
    pub fn to_jwk(&self) -> Map<String, Value> {
        let encode = |bytes: &[u8]| base64url::encode(bytes);
        let members = match self {
            Self::Rsa { modulus, exponent } => {
                vec![("kty", "RSA".into()), ("n", encode(modulus)), ("e", encode(exponent))]
            }
            Self::Ec { curve, point } => {
                // After the octet that says that it is not compressed, both coordinates at full length.
                let coordinates = point.get(1..).unwrap_or_default();
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                let curve = match curve {
                    Curve::P256 => "P-256",
                    Curve::P384 => "P-384",
                    Curve::P521 => "P-521",
                };
                vec![("kty", "EC".into()), ("crv", curve.into()), ("x", encode(x)), ("y", encode(y))]
            }
            Self::Ed25519(point) => vec![("kty", "OKP".into()), ("crv", "Ed25519".into()), ("x", encode(point))],
            Self::Ed448(point) => vec![("kty", "OKP".into()), ("crv", "Ed448".into()), ("x", encode(point))],
        };
        members.into_iter().map(|(name, value): (&str, String)| (name.to_owned(), Value::String(value))).collect()
    }

    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rsa { .. } => "RSA",
            Self::Ec { curve: Curve::P256, .. } => "P-256",
            Self::Ec { curve: Curve::P384, .. } => "P-384",
            Self::Ec { curve: Curve::P521, .. } => "P-521",
            Self::Ed25519(_) => "Ed25519",
            Self::Ed448(_) => "Ed448",
        }
    }

    /// The algorithms such a key can be used with.
    pub fn algorithms(&self) -> &'static [Algorithm] {
        use Algorithm::*;
        match self {
            Self::Rsa { .. } => &[Rs256, Rs384, Rs512, Ps256, Ps384, Ps512],
            Self::Ec { curve: Curve::P256, .. } => &[Es256],
            Self::Ec { curve: Curve::P384, .. } => &[Es384],
            Self::Ec { curve: Curve::P521, .. } => &[Es512],
            Self::Ed25519(_) | Self::Ed448(_) => &[EdDsa],
        }
    }

    /// Whether the key is of the type the algorithm takes, and strong enough.
    pub(super) fn check(&self, algorithm: Algorithm) -> Result<(), KeyFault> {
        let fits = match self {
            Self::Rsa { .. } => matches!(algorithm.family(), Family::Rsa | Family::RsaPss),
            Self::Ec { curve, .. } => curve.algorithm() == algorithm,
            Self::Ed25519(_) | Self::Ed448(_) => algorithm.family() == Family::EdDsa,
        };
        if !fits {
            return Err(KeyFault::WrongType { is: self.kind(), algorithm });
        }
        let Self::Rsa { modulus, exponent } = self else { return Ok(()) };
        let bits = bit_length(modulus);
        if bits < *RSA_BITS.start() {
            return Err(KeyFault::TooSmall(bits));
        }
        if bits > *RSA_BITS.end() {
            return Err(KeyFault::TooLarge(bits));
        }
        if exponent.last().is_none_or(|last| last % 2 == 0) || exponent.as_slice() == [1] {
            return Err(KeyFault::Exponent);
        }
        if roca::is_roca(modulus) {
            return Err(KeyFault::Roca);
        }
        Ok(())
    }
}

fn member<'j>(json: &'j serde_json::Value, name: &str) -> Option<&'j str> {
    json.get(name).and_then(serde_json::Value::as_str)
}

fn decode(text: &str) -> Result<Vec<u8>, KeyFault> {
    base64url::decode(text).map_err(|_| KeyFault::Malformed)
}

fn without_leading_zeros(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|&byte| byte == 0).collect()
}

fn bit_length(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests;
