//! JOSE: compact JWS, algorithms, prepared keys, key sets, claims.
//!
//! Owns strict parsing (RFC 7515) and signature verification over keys prepared at load. Knows neither HTTP nor Kong, and no
//! time: `now` is passed in.

mod algorithm;
mod key;

pub use self::{
    algorithm::Algorithm,
    key::{KeyFault, VerificationKey},
};
