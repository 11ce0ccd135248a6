//! The text of a token, as a key of tables that are kept in memory.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Found by the bytes that a request brings, without a copy of them. Never shown: it is a secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct TokenText(pub Arc<str>);

impl Borrow<[u8]> for TokenText {
    fn borrow(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Hash for TokenText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_bytes().hash(state);
    }
}

impl std::fmt::Debug for TokenText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenText")
    }
}
