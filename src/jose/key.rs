//! Keys prepared for verification.

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("not a public key in PEM")]
    NotAKey,
}

/// A key that is ready to verify, bound to what it may be used for.
#[derive(Debug)]
pub struct VerificationKey;
