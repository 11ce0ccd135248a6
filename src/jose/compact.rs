//! The compact serialisation of RFC 7515 section 7.1, read strictly.
//!
//! [`Compact`] is the three decoded parts; [`Jws`] additionally has header and claims as JSON objects and a known
//! algorithm. The checks run in the order in which Kong's `jwt_parser` makes them, so that the first fault found is the
//! one Kong reports.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use super::base64url;
use super::header::{self, Header};
use super::json::{Object, Value};
use super::{Algorithm, Registered, VerificationKey};

/// Why a token is not a JWS that can be verified, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("not three segments")]
    Segments,
    #[error("the header is not canonical base64url")]
    HeaderBase64,
    #[error("the header is not a JSON object")]
    HeaderJson,
    #[error("the payload is not canonical base64url")]
    PayloadBase64,
    #[error("the payload is not JSON")]
    PayloadJson,
    /// `alg` is absent, not a string, or unknown; also a header that is an array or a string, which has no `alg`.
    #[error("`alg` is absent or unknown")]
    Algorithm,
    /// `alg` is `none`, in any spelling.
    #[error("`alg` is none")]
    AlgorithmNone,
    /// The payload is a number, `true`, `false` or `null`.
    #[error("the payload is a bare value")]
    PayloadScalar,
    /// Also when there are more than three segments: the rest belongs to the third.
    #[error("the signature is not canonical base64url")]
    SignatureBase64,
    /// `crit`, or `b64` other than `true` (RFC 7515 section 4.1.11, RFC 7797): no extension is understood.
    #[error("an extension is critical that is not understood")]
    Critical,
    /// The payload is an array or a string.
    #[error("the payload is not a JSON object")]
    PayloadNotObject,
}

/// A token split and decoded, its JSON not yet looked at.
#[derive(Clone, Copy, Debug)]
pub struct Compact<'a> {
    /// The first two segments as they were sent, the dot between them included: what is signed.
    pub signing_input: &'a [u8],
    pub header: &'a [u8],
    pub payload: &'a [u8],
    /// `None` when it is not canonical base64url.
    pub signature: Option<&'a [u8]>,
}

impl<'a> Compact<'a> {
    /// Splits and decodes. `scratch` is filled with the decoded parts; its capacity can be used again.
    ///
    /// # Errors
    /// When there are fewer than three segments, or header or payload are not canonical base64url.
    pub fn decode(token: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<Self, Fault> {
        let segments = Segments::of(token).ok_or(Fault::Segments)?;
        let room = room(token, scratch);
        let (header, room) = decode(segments.header, room).ok_or(Fault::HeaderBase64)?;
        let (payload, room) = decode(segments.payload, room).ok_or(Fault::PayloadBase64)?;
        let signature = decode(segments.signature, room).map(|(signature, _)| signature);
        Ok(Self { signing_input: segments.signing_input, header, payload, signature })
    }
}

/// A token's segments as they were sent.
struct Segments<'a> {
    header: &'a [u8],
    payload: &'a [u8],
    /// Everything after the second dot.
    signature: &'a [u8],
    signing_input: &'a [u8],
}

impl<'a> Segments<'a> {
    fn of(token: &'a [u8]) -> Option<Self> {
        let mut dots = memchr::memchr_iter(b'.', token);
        let (header_end, payload_end) = (dots.next()?, dots.next()?);
        Some(Self {
            header: token.get(..header_end)?,
            payload: token.get(header_end + 1..payload_end)?,
            signature: token.get(payload_end + 1..)?,
            signing_input: token.get(..payload_end)?,
        })
    }
}

/// Where a token's segments can be decoded to.
fn room<'b>(token: &[u8], scratch: &'b mut Vec<u8>) -> &'b mut [MaybeUninit<u8>] {
    scratch.clear();
    // Every started group of four characters makes at most three bytes; one more group a segment.
    scratch.reserve(token.len() / 4 * 3 + 12);
    scratch.spare_capacity_mut()
}

fn decode<'b>(segment: &[u8], room: &'b mut [MaybeUninit<u8>]) -> Option<(&'b [u8], &'b mut [MaybeUninit<u8>])> {
    let (own, rest) = room.split_at_mut_checked(base64url::decoded_length(segment)?)?;
    Some((base64url::decode_into(segment, own).ok()?, rest))
}

/// A JSON Web Signature whose payload is a claims set, not yet verified.
#[derive(Clone, Debug)]
pub struct Jws<'a> {
    pub header: Header<'a>,
    /// Owned by who has just parsed it, borrowed by who remembers it.
    pub claims: Cow<'a, Object<'a>>,
    pub registered: Registered,
    /// What the header says; a key is bound to its own.
    pub algorithm: Algorithm,
    pub signing_input: &'a [u8],
    pub signature: &'a [u8],
}

impl<'a> Jws<'a> {
    /// Parses a token. `scratch` holds the decoded parts and lives as long as the result.
    ///
    /// # Errors
    /// The first fault, in the order of [`Fault`].
    pub fn parse(token: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<Self, Fault> {
        let segments = Segments::of(token).ok_or(Fault::Segments)?;
        let known = header::known(segments.header);
        let room = room(token, scratch);
        let (header, room) = match &known {
            Some(_) => (&[][..], room),
            None => decode(segments.header, room).ok_or(Fault::HeaderBase64)?,
        };
        let (payload, room) = decode(segments.payload, room).ok_or(Fault::PayloadBase64)?;
        let header = match &known {
            Some(_) => Value::Null,
            None => Value::parse(header).map_err(|_| Fault::HeaderJson)?,
        };
        let claims = Value::parse(payload).map_err(|_| Fault::PayloadJson)?;
        let (header, algorithm, is_of_access_token, is_critical) = match (known, header) {
            (Some(known), _) => {
                let (algorithm, is_of_access_token) = (known.algorithm(), known.is_of_access_token());
                (Header::Known(known), algorithm, is_of_access_token, false)
            }
            (None, Value::Object(members)) => {
                let algorithm = header::algorithm(&members)?;
                let (access, critical) = (header::is_access(&members), header::is_critical(&members));
                (Header::Read(members), algorithm, access, critical)
            }
            (None, Value::Array(_) | Value::String(_)) => return Err(Fault::Algorithm),
            (None, Value::Null | Value::Bool(_) | Value::Number(_)) => return Err(Fault::HeaderJson),
        };
        if matches!(claims, Value::Null | Value::Bool(_) | Value::Number(_)) {
            return Err(Fault::PayloadScalar);
        }
        let (signature, _) = decode(segments.signature, room).ok_or(Fault::SignatureBase64)?;
        if is_critical {
            return Err(Fault::Critical);
        }
        if let Header::Read(members) = &header {
            header::remember(segments.header, members, algorithm);
        }
        let Value::Object(claims) = claims else { return Err(Fault::PayloadNotObject) };
        let registered = Registered::of(is_of_access_token, &claims);
        let claims = Cow::Owned(claims);
        Ok(Self { header, claims, registered, algorithm, signing_input: segments.signing_input, signature })
    }

    /// Whether the key's algorithm is the header's and the signature is the key's.
    pub fn verify(&self, key: &VerificationKey) -> bool {
        key.algorithm() == self.algorithm && key.verify(self.signing_input, self.signature)
    }

    /// The key id of the header, if it is a string.
    pub fn key_id(&self) -> Option<&str> {
        self.header.str("kid")
    }
}

#[cfg(test)]
mod tests;
