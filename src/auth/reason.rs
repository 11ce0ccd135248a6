//! The catalogue of reasons: every way a request can be refused, one name each.
//!
//! The same label stands in metrics, in the access log, in `explain` and in `docs/reasons.md`.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, StatusCode};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// Why a request was refused, or fell back to the anonymous consumer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name in metrics, logs and documentation.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }
    };
}

reasons! {
    /// No credential was sent.
    NoToken = "no_token",
    /// Several different tokens in one request.
    MultipleTokens = "multiple_tokens",
    /// Longer than the token limit.
    TokenTooLarge = "token_too_large",
    /// Not three segments.
    Malformed = "malformed",
    /// A segment is not canonical base64url.
    BadBase64 = "bad_base64",
    /// Header or payload is not a JSON object, or has duplicate members.
    BadJson = "bad_json",
    /// `alg` is missing or not one that is allowed here.
    AlgNotAllowed = "alg_not_allowed",
    /// `alg` is `none`.
    AlgNone = "alg_none",
    /// `typ` says another kind of token.
    TypMismatch = "typ_mismatch",
    /// A `crit` extension is not understood (RFC 7515 section 4.1.11).
    CritUnsupported = "crit_unsupported",
    /// The claim that names the credential is absent.
    KeyClaimMissing = "key_claim_missing",
    /// The claim that names the credential is empty or not a string.
    KeyClaimInvalid = "key_claim_empty",
    /// No credential of that name, or another secret than the client's.
    CredentialUnknown = "credential_unknown",
    /// The issuer is not one of this route's.
    IssuerUnknown = "issuer_unknown",
    /// No `kid`, and more than one key could be meant.
    KidMissing = "kid_missing",
    /// No key of that `kid`.
    KidUnknown = "kid_unknown",
    /// `alg` is not the credential's or key's.
    AlgKeyMismatch = "alg_key_mismatch",
    /// The credential's key cannot be used.
    KeyInvalid = "key_invalid",
    /// The signature does not verify.
    SignatureInvalid = "signature_invalid",
    /// `exp` has passed.
    Expired = "expired",
    /// `nbf` or `iat` lies in the future.
    NotYetValid = "not_yet_valid",
    /// A claim has the wrong type, or is absent where it is needed.
    ClaimType = "claim_type",
    /// `exp` lies further ahead than allowed.
    MaxLifetime = "max_lifetime",
    /// `aud` lacks a required audience.
    Audience = "audience",
    /// A required scope is lacking.
    Scope = "scope",
    /// A required role or group is lacking.
    Role = "role",
    /// Another rule on claims failed.
    ClaimRule = "claim_rule",
    /// No consumer for the credential or claim.
    ConsumerUnknown = "consumer_unknown",
    /// The consumer is not in an allowed group.
    AclDenied = "acl_denied",
    /// The token was revoked.
    Revoked = "revoked",
    /// No key set of the issuer is at hand.
    JwksUnavailable = "jwks_unavailable",
    /// The identity provider failed or refused.
    IdpError = "idp_error",
    /// An opaque token that is unknown or has ended.
    OpaqueUnknown = "opaque_unknown",
    /// An authorization code or refresh token that is unknown, used up or another client's.
    GrantUnknown = "grant_unknown",
    /// The store of issued tokens did not answer.
    StoreError = "store_error",
    /// Too many failed attempts at an oauth2 endpoint, of one client from one address, or from one address.
    VerifyBudget = "verify_budget",
    /// Too many requests.
    RateLimited = "rate_limited",
    /// TLS is required here.
    HttpsRequired = "https_required",
    /// Malformed parameters of an OAuth 2.0 endpoint.
    OauthRequest = "oauth_request",
    /// A plugin answered in the service's place (request-termination).
    Terminated = "terminated",
    /// Not a refusal: a plugin's own endpoint answered (the oauth2 token endpoint).
    Answered = "answered",
    /// The configuration cannot be honoured: an anonymous consumer that does not exist, a stored plugin unknown to this version.
    Misconfigured = "misconfigured",
    /// No route matches.
    NoRoute = "no_route",
    /// The route has no service, and no plugin answered in its place.
    NoService = "no_service",
    /// The request is malformed or ambiguous, so that it cannot be routed safely.
    BadRequest = "bad_request",
    /// A method that no service is sent: `TRACE`.
    MethodNotAllowed = "method_not_allowed",
    /// Too many header fields, or too many bytes of them.
    HeadersTooLarge = "headers_too_large",
    /// The request target is too long.
    TargetTooLong = "target_too_long",
    /// The body is larger than `client_max_body_size`.
    BodyTooLarge = "body_too_large",
    /// The body came in too slowly or not at all.
    BodyTimeout = "body_timeout",
    /// The route is for another protocol (gRPC).
    ProtocolMismatch = "protocol_mismatch",
    /// The upstream has no healthy target.
    NoPeer = "no_peer",
    /// The service's name does not resolve.
    NameResolution = "name_resolution",
    /// The service refused the connection or answered with something that is not HTTP.
    ServiceError = "service_error",
    /// The service took too long.
    ServiceTimeout = "service_timeout",
    /// The client went away before it was answered.
    ClientGone = "client_gone",
    /// A fault of ours.
    Internal = "internal",
}

impl Reason {
    /// Whom it concerns: `auth` (credentials and rights), `routing` (which requests are served), `service` (what stands behind),
    /// `client` (a malformed or broken-off request).
    pub const fn group(self) -> &'static str {
        match self {
            Self::NoRoute | Self::ProtocolMismatch | Self::HttpsRequired | Self::Terminated | Self::Answered => {
                "routing"
            }
            Self::NoService
            | Self::NoPeer
            | Self::NameResolution
            | Self::ServiceError
            | Self::ServiceTimeout
            | Self::Internal => "service",
            Self::BadRequest
            | Self::HeadersTooLarge
            | Self::TargetTooLong
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::ClientGone => "client",
            _ => "auth",
        }
    }
}

/// The body of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// `{"message":"…"}`, compact, whatever the client accepts (Kong's `exit`).
    Message(Cow<'static, str>),
    /// A JSON text of another shape, e.g. `{"exp":"token expired"}`.
    Json(Cow<'static, str>),
    /// Negotiated by `Accept`, with a `request_id` (Kong's `error`).
    Negotiated(Cow<'static, str>),
    /// As [`Self::Negotiated`], for faults below routing: without `Accept` the request's `Content-Type` and then the configured
    /// `error_default_type` decide (nginx's error pages in Kong). The text is the one of the status.
    Generated,
    /// Any other body.
    Raw {
        content_type: Cow<'static, str>,
        bytes: bytes::Bytes,
    },
    Empty,
}

/// An answer given in the service's place: a refusal with its reason, or a plugin's own answer.
#[derive(Clone, Debug)]
pub struct Rejection {
    pub reason: Reason,
    pub status: StatusCode,
    pub body: Body,
    /// `WWW-Authenticate` and the like.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Rejection {
    /// `{"message":"…"}` with a status.
    pub fn message(reason: Reason, status: StatusCode, message: impl Into<Cow<'static, str>>) -> Box<Self> {
        Box::new(Self { reason, status, body: Body::Message(message.into()), headers: Vec::new() })
    }

    /// Adds a header.
    pub fn header(mut self: Box<Self>, name: HeaderName, value: HeaderValue) -> Box<Self> {
        self.headers.push((name, value));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn every_reason_is_documented() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reasons.md");
        let documented = std::fs::read_to_string(path).unwrap();
        for reason in Reason::ALL {
            let row = format!("| `{}` |", reason.label());
            assert!(documented.contains(&row), "{} is not in docs/reasons.md", reason.label());
        }
        assert_eq!(documented.matches("\n| `").count(), Reason::ALL.len());
    }
}
