//! The `jwt` plugin.

use crate::entity::JwtSecret;
use crate::jose::{KeyFault, VerificationKey};

/// The verification key of a credential.
///
/// # Errors
/// When the credential's key material does not fit its algorithm.
pub fn prepare_key(_credential: &JwtSecret) -> Result<VerificationKey, KeyFault> {
    Err(KeyFault::NotAKey)
}
