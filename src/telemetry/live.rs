//! What is going on now, for people who look: refusals of the last hour, uses of credentials, configurations.
//!
//! Bounded memory, kept in this process alone. A request that passes costs one look at the credential's last use; one that is
//! refused an atomic addition, and, up to a bound a second, a place among the last ones. Nothing here holds a token: only its
//! keyed fingerprint.

mod history;
mod rejects;
mod verifications;

pub use crate::auth::uses::Uses;

pub use self::{
    history::{Attempt, Difference, History, KindDifference, Names},
    rejects::{Refusal, Rejects},
    verifications::{Counts, Verifications, Window},
};

/// Everything that is kept for looking at.
#[derive(Debug, Default)]
pub struct Live {
    pub rejects: Rejects,
    pub uses: Uses,
    pub history: History,
    pub verifications: Verifications,
}

/// Seconds since the UNIX epoch.
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
