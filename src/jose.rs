//! JOSE: compact JWS, algorithms, prepared keys, key sets, minting.
//!
//! Owns strict parsing (RFC 7515, RFC 7519) and signature verification over keys prepared at load, on aws-lc. Knows
//! neither HTTP nor Kong, and no time: `now` is the caller's. Parsing and verification are hot: one allocation for the
//! decoded token, one a JSON object.

mod algorithm;
pub mod base64url;
mod compact;
mod ed448;
mod header;
pub mod hmac;
pub mod json;
mod key;
mod key_set;
mod public_key;
mod registered;
mod roca;
mod sign;

pub use self::{
    algorithm::{Algorithm, Family},
    compact::{Compact, Fault, Jws},
    header::Header,
    json::{Object, Value},
    key::{Identity, VerificationKey},
    key_set::{KeySet, Lookup, Rejected, SetFault},
    public_key::{Curve, KeyFault, PublicKey},
    registered::{Moment, Registered},
    sign::{SigningFault, SigningKey},
};
