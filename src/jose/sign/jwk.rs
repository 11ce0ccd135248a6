//! Private keys as JWK (RFC 7517, RFC 7518 section 6, RFC 8037).

use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair};
use serde_json::Value;

use super::{Material, SigningFault, SigningKey, ecdsa_parameters};
use crate::jose::{Algorithm, Family, base64url};

impl SigningKey {
    /// Reads a private key. Its algorithm is the given one, else its own `alg`, else what its type is used with.
    ///
    /// # Errors
    /// When it is no private key, or not one for the algorithm.
    pub fn from_jwk(jwk: &Value, algorithm: Option<Algorithm>) -> Result<Self, SigningFault> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| base64url::decode(text(name).unwrap_or_default()).map_err(|_| SigningFault::NotAKey);
        let usual = match (text("kty"), text("crv")) {
            (Some("RSA"), _) => Algorithm::Rs256,
            (Some("EC"), Some("P-256")) => Algorithm::Es256,
            (Some("EC"), Some("P-384")) => Algorithm::Es384,
            (Some("EC"), Some("P-521")) => Algorithm::Es512,
            (Some("OKP"), Some("Ed25519")) => Algorithm::EdDsa,
            (Some("oct"), _) => Algorithm::Hs256,
            _ => return Err(SigningFault::NotAKey),
        };
        let algorithm = algorithm.or_else(|| text("alg").and_then(Algorithm::from_name)).unwrap_or(usual);
        let wrong = |_| SigningFault::WrongType;
        let material = match (text("kty"), algorithm.family()) {
            (Some("oct"), Family::Hmac) => return Self::from_secret(algorithm, &bytes("k")?),
            (Some("RSA"), Family::Rsa | Family::RsaPss) => {
                let (n, e, d) = (bytes("n")?, bytes("e")?, bytes("d")?);
                let (p, q) = (bytes("p")?, bytes("q")?);
                let (dp, dq, qi) = (bytes("dp")?, bytes("dq")?, bytes("qi")?);
                let components = KeyPairComponents {
                    public_key: PublicKeyComponents { n: &n[..], e: &e[..] },
                    d: &d[..],
                    p: &p[..],
                    q: &q[..],
                    dP: &dp[..],
                    dQ: &dq[..],
                    qInv: &qi[..],
                };
                Material::Rsa(RsaKeyPair::from_components(&components).map_err(wrong)?)
            }
            (Some("EC"), Family::Ecdsa) if usual == algorithm => {
                let parameters = ecdsa_parameters(algorithm).ok_or(SigningFault::WrongType)?;
                let point = [&[4], bytes("x")?.as_slice(), bytes("y")?.as_slice()].concat();
                let key = EcdsaKeyPair::from_private_key_and_public_key(parameters, &bytes("d")?, &point);
                Material::Ecdsa(key.map_err(wrong)?)
            }
            (Some("OKP"), Family::EdDsa) => {
                let key = Ed25519KeyPair::from_seed_and_public_key(&bytes("d")?, &bytes("x")?);
                Material::Ed25519(key.map_err(wrong)?)
            }
            _ => return Err(SigningFault::WrongType),
        };
        Ok(Self { algorithm, material })
    }
}
