//! Minting tokens: for the command line, the demo and tests. No request is served by it.

mod jwk;

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use serde_json::{Map, Value};

use super::ed448::{self, KEY_LENGTH};
use super::{Algorithm, Family, base64url, hmac};

/// Why nothing was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningFault {
    #[error("not an unencrypted private key in PEM (PKCS#8, or PKCS#1 for RSA, SEC 1 for EC)")]
    NotAKey,
    #[error("the key is not of the type the algorithm takes")]
    WrongType,
    #[error("the secret is empty")]
    EmptySecret,
    #[error("signing failed")]
    Failed,
}

/// A key that signs with one algorithm.
pub struct SigningKey {
    algorithm: Algorithm,
    material: Material,
}

enum Material {
    Secret(Vec<u8>),
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Ed448([u8; KEY_LENGTH]),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// DER before the seed of a PKCS#8 Ed448 key and before the point of an SPKI one (RFC 8410).
const ED448_PKCS8: [u8; 16] = [0x30, 0x47, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x71, 4, 0x3b, 4, 0x39];
const ED448_SPKI: [u8; 12] = [0x30, 0x43, 0x30, 5, 6, 3, 0x2b, 0x65, 0x71, 3, 0x3a, 0];

impl SigningKey {
    /// # Errors
    /// When the secret is empty or the algorithm is not HMAC.
    pub fn from_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, SigningFault> {
        match (algorithm.is_hmac(), secret.is_empty()) {
            (false, _) => Err(SigningFault::WrongType),
            (true, true) => Err(SigningFault::EmptySecret),
            (true, false) => Ok(Self { algorithm, material: Material::Secret(secret.to_vec()) }),
        }
    }

    /// # Errors
    /// When the text is no unencrypted private key in PEM, or not one for the algorithm.
    pub fn from_pem(algorithm: Algorithm, pem: &str) -> Result<Self, SigningFault> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| SigningFault::NotAKey)?;
        let der = pem.contents.as_slice();
        let material = match (pem.label.as_str(), algorithm.family()) {
            ("PRIVATE KEY", Family::Rsa | Family::RsaPss) => RsaKeyPair::from_pkcs8(der).map(Material::Rsa),
            ("RSA PRIVATE KEY", Family::Rsa | Family::RsaPss) => RsaKeyPair::from_der(der).map(Material::Rsa),
            ("PRIVATE KEY" | "EC PRIVATE KEY", Family::Ecdsa) => {
                let parameters = ecdsa_parameters(algorithm).ok_or(SigningFault::WrongType)?;
                EcdsaKeyPair::from_private_key_der(parameters, der).map(Material::Ecdsa)
            }
            ("PRIVATE KEY", Family::EdDsa) => match der.strip_prefix(&ED448_PKCS8).map(TryInto::try_into) {
                Some(seed) => Ok(Material::Ed448(seed.map_err(|_| SigningFault::NotAKey)?)),
                None => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Material::Ed25519),
            },
            (label, _) if label.ends_with("PRIVATE KEY") => return Err(SigningFault::WrongType),
            _ => return Err(SigningFault::NotAKey),
        };
        Ok(Self { algorithm, material: material.map_err(|_| SigningFault::WrongType)? })
    }

    /// A fresh key: 32, 48 or 64 random bytes, RSA of 2048 bits, the algorithm's curve, Ed25519.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn generate(algorithm: Algorithm) -> Result<Self, SigningFault> {
        let failed = |_| SigningFault::Failed;
        let material = match algorithm.family() {
            Family::Hmac => {
                let mut secret = vec![
                    0;
                    match algorithm {
                        Algorithm::Hs512 => 64,
                        Algorithm::Hs384 => 48,
                        _ => 32,
                    }
                ];
                fill(&mut secret).map_err(failed)?;
                Material::Secret(secret)
            }
            Family::Rsa | Family::RsaPss => Material::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?),
            Family::Ecdsa => {
                let parameters = ecdsa_parameters(algorithm).ok_or(SigningFault::WrongType)?;
                Material::Ecdsa(EcdsaKeyPair::generate(parameters).map_err(failed)?)
            }
            Family::EdDsa => Material::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
        };
        Ok(Self { algorithm, material })
    }

    /// A fresh Ed448 key.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn generate_ed448() -> Result<Self, SigningFault> {
        let mut seed = [0; KEY_LENGTH];
        fill(&mut seed).map_err(|_| SigningFault::Failed)?;
        Ok(Self { algorithm: Algorithm::EdDsa, material: Material::Ed448(seed) })
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key in PEM (SPKI); `None` for a secret.
    pub fn public_pem(&self) -> Option<String> {
        let x509 = |der: Result<PublicKeyX509Der<'_>, _>| der.ok().map(|der| der.as_ref().to_vec());
        let der = match &self.material {
            Material::Secret(_) => None,
            Material::Rsa(key) => x509(key.public_key().as_der()),
            Material::Ecdsa(key) => x509(key.public_key().as_der()),
            Material::Ed25519(key) => x509(key.public_key().as_der()),
            Material::Ed448(seed) => ed448::public_key(seed).map(|point| [&ED448_SPKI[..], &point].concat()),
        };
        Some(pem("PUBLIC KEY", &der?))
    }

    /// The private key in PEM (PKCS#8); `None` for a secret.
    pub fn private_pem(&self) -> Option<String> {
        let v1 = |der: Result<Pkcs8V1Der<'_>, _>| der.ok().map(|der| der.as_ref().to_vec());
        let der = match &self.material {
            Material::Secret(_) => None,
            Material::Rsa(key) => v1(key.as_der()),
            Material::Ecdsa(key) => key.to_pkcs8v1().ok().map(|der| der.as_ref().to_vec()),
            Material::Ed25519(key) => v1(key.as_der()),
            Material::Ed448(seed) => Some([&ED448_PKCS8[..], seed].concat()),
        };
        Some(pem("PRIVATE KEY", &der?))
    }

    /// The secret's bytes; `None` for a key pair.
    pub fn secret(&self) -> Option<&[u8]> {
        match &self.material {
            Material::Secret(secret) => Some(secret),
            _ => None,
        }
    }

    /// The signature of a message, as it stands in a token.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SigningFault> {
        let failed = |_| SigningFault::Failed;
        match &self.material {
            Material::Secret(secret) => hmac::sign(self.algorithm, secret, message).ok_or(SigningFault::WrongType),
            Material::Rsa(key) => {
                let encoding = rsa_encoding(self.algorithm).ok_or(SigningFault::WrongType)?;
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(encoding, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Material::Ecdsa(key) => Ok(key.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec()),
            Material::Ed25519(key) => Ok(key.try_sign(message).map_err(failed)?.as_ref().to_vec()),
            Material::Ed448(seed) => ed448::sign(seed, message).ok_or(SigningFault::Failed),
        }
    }

    /// A compact JWS over a payload of any kind. `alg` and, unless the header brings its own, `typ: JWT` are put into
    /// the header.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn sign_bytes(&self, header: &Map<String, Value>, payload: &[u8]) -> Result<String, SigningFault> {
        let mut full = Map::new();
        full.insert("alg".into(), self.algorithm.name().into());
        full.insert("typ".into(), "JWT".into());
        full.extend(
            header.iter().filter(|(name, _)| *name != "alg").map(|(name, value)| (name.clone(), value.clone())),
        );
        let mut token = base64url::encode(Value::Object(full).to_string());
        token.push('.');
        token.push_str(&base64url::encode(payload));
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        token.push_str(&base64url::encode(signature));
        Ok(token)
    }

    /// A JWT: a compact JWS over claims.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn sign(&self, header: &Map<String, Value>, claims: &Map<String, Value>) -> Result<String, SigningFault> {
        let claims = serde_json::to_vec(claims).map_err(|_| SigningFault::Failed)?;
        self.sign_bytes(header, &claims)
    }
}

fn ecdsa_parameters(algorithm: Algorithm) -> Option<&'static EcdsaSigningAlgorithm> {
    match algorithm {
        Algorithm::Es256 => Some(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::Es384 => Some(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::Es512 => Some(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
        _ => None,
    }
}

fn rsa_encoding(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    match algorithm {
        Algorithm::Rs256 => Some(&signature::RSA_PKCS1_SHA256),
        Algorithm::Rs384 => Some(&signature::RSA_PKCS1_SHA384),
        Algorithm::Rs512 => Some(&signature::RSA_PKCS1_SHA512),
        Algorithm::Ps256 => Some(&signature::RSA_PSS_SHA256),
        Algorithm::Ps384 => Some(&signature::RSA_PSS_SHA384),
        Algorithm::Ps512 => Some(&signature::RSA_PSS_SHA512),
        _ => None,
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for (at, character) in text.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str(&format!("\n-----END {label}-----\n"));
    pem
}

#[cfg(test)]
mod tests;
