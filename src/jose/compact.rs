//! The compact serialisation of RFC 7515 section 7.1, read strictly.
//!
//! [`Compact`] is the three decoded parts; [`Jws`] additionally has header and claims as JSON objects and a known
//! algorithm. The checks run in the order in which Kong's `jwt_parser` makes them, so that the first fault found is the
//! one Kong reports.

use std::borrow::Cow;

use super::base64url;
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
        let (header_end, payload_end) = dots(token).ok_or(Fault::Segments)?;
        let (signing_input, signature) = token.split_at_checked(payload_end).ok_or(Fault::Segments)?;
        let (header, payload) = signing_input.split_at_checked(header_end).ok_or(Fault::Segments)?;
        let (payload, signature) = (without_dot(payload), without_dot(signature));

        scratch.clear();
        // Every started group of four characters makes at most three bytes; one more group a segment.
        scratch.resize(token.len() / 4 * 3 + 12, 0);
        let (header, rest) = decode_one(header, scratch).ok_or(Fault::HeaderBase64)?;
        let (payload, rest) = decode_one(payload, rest).ok_or(Fault::PayloadBase64)?;
        let signature = decode_one(signature, rest).map(|(signature, _)| signature);
        Ok(Self { signing_input, header, payload, signature })
    }
}

/// Where the first two dots are.
fn dots(token: &[u8]) -> Option<(usize, usize)> {
    let mut dots = memchr::memchr_iter(b'.', token);
    Some((dots.next()?, dots.next()?))
}

fn without_dot(segment: &[u8]) -> &[u8] {
    segment.split_first().map_or(segment, |(_, rest)| rest)
}

fn decode_one<'b>(text: &[u8], buffer: &'b mut [u8]) -> Option<(&'b [u8], &'b mut [u8])> {
    let length = base64url::decode_into(text, buffer).ok()?;
    let (decoded, rest) = buffer.split_at_mut_checked(length)?;
    Some((decoded, rest))
}

/// A JSON Web Signature whose payload is a claims set, not yet verified.
#[derive(Clone, Debug)]
pub struct Jws<'a> {
    /// Owned by who has just parsed it, borrowed by who remembers it.
    pub header: Cow<'a, Object<'a>>,
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
        let compact = Compact::decode(token, scratch)?;
        let header = Value::parse(compact.header).map_err(|_| Fault::HeaderJson)?;
        let claims = Value::parse(compact.payload).map_err(|_| Fault::PayloadJson)?;
        let header = match header {
            Value::Object(header) => header,
            Value::Array(_) | Value::String(_) => return Err(Fault::Algorithm),
            Value::Null | Value::Bool(_) | Value::Number(_) => return Err(Fault::HeaderJson),
        };
        let algorithm = algorithm(&header)?;
        if matches!(claims, Value::Null | Value::Bool(_) | Value::Number(_)) {
            return Err(Fault::PayloadScalar);
        }
        let signature = compact.signature.ok_or(Fault::SignatureBase64)?;
        if header.get("crit").is_some() || header.get("b64").is_some_and(|b64| *b64 != Value::Bool(true)) {
            return Err(Fault::Critical);
        }
        let Value::Object(claims) = claims else { return Err(Fault::PayloadNotObject) };
        let registered = Registered::of(&header, &claims);
        let (header, claims) = (Cow::Owned(header), Cow::Owned(claims));
        Ok(Self { header, claims, registered, algorithm, signing_input: compact.signing_input, signature })
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

fn algorithm(header: &Object<'_>) -> Result<Algorithm, Fault> {
    let name = header.str("alg").ok_or(Fault::Algorithm)?;
    Algorithm::from_name(name).ok_or_else(|| {
        let bare = name.trim_matches(|c: char| c.is_whitespace() || c.is_control());
        if bare.eq_ignore_ascii_case("none") { Fault::AlgorithmNone } else { Fault::Algorithm }
    })
}

#[cfg(test)]
mod tests;
