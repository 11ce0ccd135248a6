//! Issued tokens and authorization codes: in memory, where a request looks them up without a lock, and behind it what survives.
//!
//! [`LocalTokens`] serves one gateway: memory alone, or with an append-only file. [`SqlTokens`] keeps them in the database of the
//! entities, for every gateway that shares it.

mod index;
mod journal;
mod local;
mod memory;
mod sql;

#[cfg(test)]
mod tests;

pub use self::journal::JournalFault;
pub use self::local::LocalTokens;
pub use self::sql::SqlTokens;
pub(in crate::store) use self::sql::{end_owned, put_in};
