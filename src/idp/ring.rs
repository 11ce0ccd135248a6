//! The provider's keys: the one that signs, the next, and those that are still published.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::jose::{Algorithm, PublicKey, SigningFault, SigningKey, base64url};

/// A key pair and its id.
pub struct Pair {
    pub kid: String,
    pub key: SigningKey,
    jwk: Value,
}

impl Pair {
    fn new(algorithm: Algorithm) -> Result<Self, SigningFault> {
        let key = SigningKey::generate(algorithm)?;
        let kid = crate::schema::token();
        let public = key.public_pem().and_then(|pem| PublicKey::from_pem(&pem).ok()).ok_or(SigningFault::Failed)?;
        let mut jwk = public.to_jwk();
        jwk.extend([("kid", &*kid), ("use", "sig"), ("alg", algorithm.name())].map(|(k, v)| (k.to_owned(), json!(v))));
        Ok(Self { kid, key, jwk: Value::Object(jwk) })
    }
}

/// All keys of a provider.
pub struct Ring {
    algorithm: Algorithm,
    keep: usize,
    pub signing: Pair,
    next: Option<Pair>,
    /// Newest first.
    retired: VecDeque<Value>,
}

impl Ring {
    /// # Errors
    /// When no key can be made.
    pub fn new(algorithm: Algorithm, keep: usize, ahead: bool) -> Result<Self, SigningFault> {
        let next = ahead.then(|| Pair::new(algorithm)).transpose()?;
        Ok(Self { algorithm, keep, signing: Pair::new(algorithm)?, next, retired: VecDeque::new() })
    }

    /// # Errors
    /// When no key can be made; then the old one goes on.
    pub fn rotate(&mut self) -> Result<String, SigningFault> {
        let fresh = Pair::new(self.algorithm)?;
        let taking_over = match self.next.take() {
            Some(next) => {
                self.next = Some(fresh);
                next
            }
            None => fresh,
        };
        let old = std::mem::replace(&mut self.signing, taking_over);
        self.retired.push_front(old.jwk);
        self.retired.truncate(self.keep);
        Ok(self.signing.kid.clone())
    }

    /// What is published, after `extra` keys that nobody signs with.
    pub fn published(&self, extra: usize) -> Value {
        let unused = (0..extra).map(|number| {
            let mut point = [0u8; 32];
            point.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
            json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url::encode(point), "kid": format!("unused-{number}"),
                "use": "sig", "alg": "EdDSA" })
        });
        let own =
            std::iter::once(&self.signing.jwk).chain(self.next.as_ref().map(|next| &next.jwk)).chain(&self.retired);
        json!({ "keys": unused.chain(own.cloned()).collect::<Vec<_>>() })
    }
}
