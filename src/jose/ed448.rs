//! Ed448 (RFC 8032 section 5.2), which aws-lc does not have. Pure, without context, as RFC 8037 wants it.

use ed448_goldilocks::{Signature, SigningKey, VerifyingKey};

/// Length of a public key and of a private seed, in bytes.
pub const KEY_LENGTH: usize = 57;

/// A public key whose point was decompressed.
#[derive(Clone, Debug)]
pub struct Ed448Key(VerifyingKey);

impl Ed448Key {
    /// `None` when the bytes are not a point of the curve, or its neutral element.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        VerifyingKey::from_bytes(bytes.try_into().ok()?).ok().map(Self)
    }

    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.0.verify_raw(&signature, message).is_ok())
    }
}

/// Public key of a private seed.
pub fn public_key(seed: &[u8]) -> Option<[u8; KEY_LENGTH]> {
    Some(SigningKey::try_from(seed).ok()?.verifying_key().to_bytes())
}

pub fn sign(seed: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    Some(SigningKey::try_from(seed).ok()?.sign_raw(message).to_bytes().to_vec())
}
