//! Authentication: who is calling, and may they.
//!
//! Owns the vocabulary that every plugin speaks — [`Request`] (what came in), [`State`] (what has been found out and what is
//! to change on the way to the service), [`Flow`] (what a plugin decides), [`Rejection`] (why not) — and a room for each way
//! of authenticating. Plugins are plain functions over these values, without a socket.
//! Must not know Pingora, storage engines, or where the configuration came from.

pub mod arguments;
pub mod directory;
pub mod jwt;
pub mod plugin;
pub mod reason;
pub mod request;
pub mod state;

pub use self::{
    directory::Directory,
    plugin::{Flow, Plugin, Wants},
    reason::{Reason, Rejection},
    request::{Client, Request, Scheme},
    state::{Authenticated, Principal, State, Verdict, Verification},
};
