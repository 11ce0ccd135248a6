//! The key of a `jwt_secrets` credential.

use crate::entity::JwtSecret;
use crate::jose::{KeyFault, VerificationKey};

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
