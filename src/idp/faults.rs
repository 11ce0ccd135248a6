//! What the provider does wrong, when it is told to.

use serde::{Deserialize, Serialize};

/// Faults of the provider's endpoints. As JSON at `/faults`; a field that is not given is off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Milliseconds before each answer.
    pub delay: u64,
    /// The status of every answer, which then has no content.
    pub status: Option<u16>,
    /// Tokens name a key that is not published.
    pub wrong_kid: bool,
    /// Keys that nobody uses, in front of the set's own.
    pub extra_keys: usize,
    /// The endpoints that `delay` and `status` are about: `discovery`, `jwks`, `token`, `introspect`, `revoke`, `userinfo`;
    /// none named: all.
    pub only: Vec<String>,
}

impl Faults {
    pub(super) fn concern(&self, endpoint: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == endpoint)
    }

    /// Says what cannot be done.
    ///
    /// # Errors
    /// A status that is none, an endpoint that is not there, more keys than anybody needs.
    pub fn check(&self) -> Result<(), String> {
        if let Some(status) = self.status.filter(|status| !(200..=599).contains(status)) {
            return Err(format!("status {status}: from 200 to 599"));
        }
        if self.extra_keys > 1_000_000 {
            return Err("extra_keys: up to 1000000".into());
        }
        match self.only.iter().find(|name| !super::serve::ENDPOINTS.contains(&name.as_str())) {
            Some(name) => Err(format!("only: no endpoint {name}; there are {}", super::serve::ENDPOINTS.join(", "))),
            None => Ok(()),
        }
    }
}
