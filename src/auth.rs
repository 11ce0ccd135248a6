//! Authentication: who is calling, and may they.
//!
//! Owns the vocabulary that every plugin speaks — [`Request`] (what came in), [`State`] (what has been found out and what is
//! to change on the way to the service), [`Flow`] (what a plugin decides), [`Rejection`] (why not) — and a room for each way
//! of authenticating. Plugins are plain functions over these values, without a socket.
//! Must not know Pingora, storage engines, or where the configuration came from.

pub mod anonymous;
pub mod arguments;
pub mod challenge;
mod changes;
mod decided;
pub mod directory;
pub mod hints;
pub mod identity;
pub mod jwt;
pub mod key_auth;
pub mod oauth2;
pub mod oidc;
pub mod plugin;
pub mod reason;
pub mod request;
pub mod sources;
pub mod state;
#[cfg(test)]
pub mod testing;
mod token_text;
pub mod trace;
pub mod uses;
pub mod verified;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use self::{
    directory::Directory,
    plugin::{Flow, Place, Plugin, Wants},
    reason::{Reason, Rejection},
    request::{Client, Request, Scheme},
    state::{Authenticated, Presented, Principal, State, Verdict, Verification},
};

use crate::diagnostic::Diagnostic;

/// Types a plugin's configuration that has passed its table.
///
/// # Errors
/// When it has not.
pub fn config<T: DeserializeOwned>(config: &Map<String, Value>) -> Result<T, Vec<Diagnostic>> {
    T::deserialize(config).map_err(|fault| vec![Diagnostic::error("schema", "config", fault.to_string())])
}
