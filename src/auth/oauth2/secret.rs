//! Client secrets: plain, or hashed in PHC format.
//!
//! Kong writes `$pbkdf2-sha512$i=10000,l=32$salt$hash`; argon2 strings are read as well. Hashes are slow on purpose: they are
//! verified off the serving threads. They are written by the table of `oauth2_credentials`.

use std::num::NonZeroU32;

use argon2::{Argon2, PasswordVerifier};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Rounds that Kong's hashes take.
const ROUNDS: u32 = 10_000;
/// More would let a configuration stall the gateway.
const MOST_ROUNDS: u32 = 1_000_000;

/// Whether this is a hash and not a plain secret.
pub fn is_hash(stored: &str) -> bool {
    stored.starts_with("$pbkdf2-sha512$") || stored.starts_with("$argon2")
}

/// Verifies a secret against a stored hash. Takes milliseconds.
pub fn verify_hash(stored: &str, secret: &str) -> bool {
    if stored.starts_with("$argon2") {
        return argon2::PasswordHash::new(stored)
            .is_ok_and(|hash| Argon2::default().verify_password(secret.as_bytes(), &hash).is_ok());
    }
    parse_pbkdf2(stored).is_some_and(|(rounds, salt, hash)| {
        pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA512, rounds, &salt, secret.as_bytes(), &hash).is_ok()
    })
}

/// Verifies a secret against a plain one, in time that depends on neither.
pub fn verify_plain(stored: &str, secret: &str) -> bool {
    verify_slices_are_equal(stored.as_bytes(), secret.as_bytes()).is_ok()
}

/// As much work as [`verify_hash`]: a failure takes as long whether the client exists or not.
pub fn verify_nothing(secret: &str) {
    let rounds = NonZeroU32::new(ROUNDS).unwrap_or(NonZeroU32::MIN);
    let mut out = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, rounds, &[0; 16], secret.as_bytes(), &mut out);
    std::hint::black_box(out);
}

fn parse_pbkdf2(stored: &str) -> Option<(NonZeroU32, Vec<u8>, Vec<u8>)> {
    let mut parts = stored.strip_prefix("$pbkdf2-sha512$")?.split('$');
    let (parameters, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let rounds = parameters.split(',').find_map(|parameter| parameter.strip_prefix("i="))?.parse().ok()?;
    let rounds = NonZeroU32::new(rounds).filter(|rounds| rounds.get() <= MOST_ROUNDS)?;
    let decode = |text: &str| STANDARD_NO_PAD.decode(text).ok();
    Some((rounds, decode(salt)?, decode(hash).filter(|hash| hash.len() >= 16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_verifies_its_secret_alone() {
        let stored = "$pbkdf2-sha512$i=10000,l=32$AAECAwQFBgcICQoLDA0ODw$+N2Gk+D0xYA7PuI4LmxAZrFPh9yQUmyz8AqtiCXrDn8";
        assert!(is_hash(stored) && verify_hash(stored, "s2") && !verify_hash(stored, "s3"));
        assert!(!verify_hash("$pbkdf2-sha512$i=10000,l=32$$", ""));
        assert!(!verify_hash("$pbkdf2-sha512$i=4000000000,l=32$AAAA$AAAAAAAAAAAAAAAAAAAAAA", "x"));
    }

    #[test]
    fn argon2_is_read() {
        use argon2::PasswordHasher;
        let stored = Argon2::default().hash_password(b"s2").unwrap().to_string();
        assert!(is_hash(&stored) && verify_hash(&stored, "s2") && !verify_hash(&stored, "s3"));
    }

    #[test]
    fn plain_secrets() {
        assert!(verify_plain("s1", "s1") && !verify_plain("s1", "s11") && !verify_plain("s1", ""));
    }
}
