//! Keys prepared for verification: parsed once, bound to one algorithm, shared.

use std::sync::Arc;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents};

use super::ed448::Ed448Key;
use super::{Algorithm, KeyFault, PublicKey, hmac};

/// What makes a key the same key: a digest over its algorithm and its bytes. Survives a reload that keeps the key.
pub type Identity = [u8; 32];

/// A key that is ready to verify with one algorithm. Cheap to clone.
#[derive(Clone, Debug)]
pub struct VerificationKey(Arc<Prepared>);

struct Prepared {
    algorithm: Algorithm,
    identity: Identity,
    material: Material,
}

enum Material {
    Secret(Box<[u8]>),
    Public(ParsedPublicKey),
    Ed448(Box<Ed448Key>),
}

impl std::fmt::Debug for Prepared {
    /// Without the material, which may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl VerificationKey {
    /// Binds a public key to an algorithm.
    ///
    /// # Errors
    /// When the key is not of the algorithm's type, too weak, or malformed.
    pub fn new(key: &PublicKey, algorithm: Algorithm) -> Result<Self, KeyFault> {
        key.check(algorithm)?;
        let malformed = |_| KeyFault::Malformed;
        let (material, identity) = match key {
            PublicKey::Rsa { modulus, exponent } => {
                let parameters = rsa_parameters(algorithm).ok_or(KeyFault::Algorithm)?;
                let components = RsaPublicKeyComponents { n: modulus.as_slice(), e: exponent.as_slice() };
                let key = components.to_parsed_public_key(parameters).map_err(malformed)?;
                (Material::Public(key), identity(algorithm, &[modulus, exponent]))
            }
            PublicKey::Ec { point, .. } => {
                let parameters = ecdsa_parameters(algorithm).ok_or(KeyFault::Algorithm)?;
                let key = ParsedPublicKey::new(parameters, point).map_err(malformed)?;
                (Material::Public(key), identity(algorithm, &[point]))
            }
            PublicKey::Ed25519(bytes) => {
                if bytes.len() != aws_lc_rs::signature::ED25519_PUBLIC_KEY_LEN {
                    return Err(KeyFault::Malformed);
                }
                let key = ParsedPublicKey::new(&signature::ED25519, bytes).map_err(malformed)?;
                (Material::Public(key), identity(algorithm, &[bytes]))
            }
            PublicKey::Ed448(bytes) => {
                let key = Ed448Key::new(bytes).ok_or(KeyFault::Malformed)?;
                (Material::Ed448(Box::new(key)), identity(algorithm, &[bytes]))
            }
        };
        Ok(Self(Arc::new(Prepared { algorithm, identity, material })))
    }

    /// Reads a public key in PEM and binds it to an algorithm.
    ///
    /// # Errors
    /// What the text is instead, or why the key does not do.
    pub fn from_pem(algorithm: Algorithm, pem: &str) -> Result<Self, KeyFault> {
        Self::new(&PublicKey::from_pem(pem)?, algorithm)
    }

    /// Reads a JWK for one algorithm.
    ///
    /// # Errors
    /// As [`PublicKey::from_jwk`] and [`Self::new`], and when the key names another algorithm for itself.
    pub fn from_jwk(algorithm: Algorithm, jwk: &serde_json::Value) -> Result<Self, KeyFault> {
        let (key, own) = PublicKey::from_jwk(jwk)?;
        if own.is_some_and(|own| own != algorithm) {
            return Err(KeyFault::Algorithm);
        }
        Self::new(&key, algorithm)
    }

    /// A shared secret. Where many are kept, [`hmac::verify`] over the bytes at hand costs no memory.
    ///
    /// # Errors
    /// When the secret is empty or the algorithm is not HMAC.
    pub fn from_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyFault> {
        if !algorithm.is_hmac() {
            return Err(KeyFault::WrongType { is: "shared secret", algorithm });
        }
        if secret.is_empty() {
            return Err(KeyFault::EmptySecret);
        }
        let (identity, material) = (identity(algorithm, &[secret]), Material::Secret(secret.into()));
        Ok(Self(Arc::new(Prepared { algorithm, identity, material })))
    }

    pub fn algorithm(&self) -> Algorithm {
        self.0.algorithm
    }

    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// Whether the signature is this key's over the message. One of another length is not.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0.material {
            Material::Secret(secret) => hmac::verify(self.0.algorithm, secret, message, signature),
            Material::Public(key) => key.verify_sig(message, signature).is_ok(),
            Material::Ed448(key) => key.verify(message, signature),
        }
    }
}

fn identity(algorithm: Algorithm, parts: &[&[u8]]) -> Identity {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(algorithm.name().as_bytes());
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut identity = Identity::default();
    for (to, from) in identity.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    identity
}

/// PSS: MGF1 with the same hash and a salt as long as the hash (RFC 7518 section 3.5), which aws-lc enforces.
fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}

/// Signatures are `r || s`, each as long as the curve's order.
fn ecdsa_parameters(algorithm: Algorithm) -> Option<&'static EcdsaVerificationAlgorithm> {
    match algorithm {
        Algorithm::Es256 => Some(&signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::Es384 => Some(&signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::Es512 => Some(&signature::ECDSA_P521_SHA512_FIXED),
        _ => None,
    }
}
