//! The key of a `jwt_secrets` credential, and what is probably wrong when it does not do.

use crate::auth::Directory;
use crate::auth::directory::JwtCredential;
use crate::entity::JwtSecret;
use crate::jose::{Jws, KeyFault, VerificationKey, base64url, hmac};

/// What a credential verifies with.
#[derive(Clone, Debug)]
pub enum CredentialKey {
    /// The credential's `secret`, which is not kept twice.
    Secret,
    Public(VerificationKey),
}

/// The verification key of a credential.
///
/// # Errors
/// When the credential's key material does not fit its algorithm.
pub fn prepare_key(credential: &JwtSecret) -> Result<CredentialKey, KeyFault> {
    if credential.algorithm.is_hmac() {
        return if credential.secret.is_empty() { Err(KeyFault::EmptySecret) } else { Ok(CredentialKey::Secret) };
    }
    let pem = credential.rsa_public_key.as_deref().ok_or(KeyFault::Missing)?;
    VerificationKey::from_pem(credential.algorithm, pem).map(CredentialKey::Public)
}

/// A credential whose key differs only in case or outer white space. For traces only: it walks all of them.
pub(super) fn near_miss(key: &str, directory: &Directory) -> Option<String> {
    let near = directory.jwt.iter().find(|credential| credential.entity.key.trim().eq_ignore_ascii_case(key.trim()))?;
    Some(format!("there is one with the key `{}`: keys are compared byte by byte", near.entity.key))
}

/// What the signature would verify with.
pub(super) fn near_signature(credential: &JwtCredential, jws: &Jws<'_>, secret_is_base64: bool) -> Option<String> {
    if !jws.algorithm.is_hmac() {
        return None;
    }
    let verifies = |secret: &[u8]| hmac::verify(jws.algorithm, secret, jws.signing_input, jws.signature);
    let secret = &credential.entity.secret;
    if secret_is_base64 && verifies(secret.as_bytes()) {
        return Some("it verifies with the secret as it is stored: set secret_is_base64 to false".into());
    }
    if !secret_is_base64 && base64url::decode_lenient(secret.as_bytes()).is_some_and(|decoded| verifies(&decoded)) {
        return Some("it verifies with the secret decoded from base64url: set secret_is_base64 to true".into());
    }
    if secret.trim() != secret.as_ref() && verifies(secret.trim().as_bytes()) {
        return Some("it verifies without the white space around the stored secret".into());
    }
    if let Some(pem) = &credential.entity.rsa_public_key
        && verifies(pem.as_bytes())
    {
        return Some(
            "it was made with the public key as HMAC secret: an attack, or a client that mixes algorithms up".into(),
        );
    }
    None
}
