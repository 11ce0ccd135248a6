//! A record of the checks a plugin makes: what `explain` shows.
//!
//! Plugins are generic over [`Trace`]; requests run with [`NoTrace`], for which every call compiles to nothing, so
//! details and hints may be as costly as they are helpful. A trace never holds a secret or a token.

use serde::{Serialize, Serializer};

use crate::calendar;

macro_rules! labelled {
    ($(#[$doc:meta])* $name:ident { $($(#[$item:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$item])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in JSON and documentation.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)*
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.label())
            }
        }
    };
}

labelled! {
    /// What was looked at.
    Check {
        /// Which route the request belongs to.
        Route = "route",
        /// The route's protocols.
        Protocol = "protocol",
        /// Whether the plugin has anything to do with this request.
        Applies = "applies",
        /// Where a credential was looked for, and what was found.
        Sources = "sources",
        /// Its size.
        Size = "size",
        /// Segments, base64url, JSON.
        Structure = "structure",
        /// `alg`, `crit` and other members of the header.
        Header = "header",
        /// Whether it is an access token, and not an ID or refresh token.
        Kind = "token_type",
        /// The claim that names the credential.
        KeyClaim = "key_claim",
        Issuer = "issuer",
        Credential = "credential",
        /// Whether `alg` is the credential's.
        Algorithm = "algorithm",
        /// Whether there is a key, and it can be used.
        Key = "key",
        Signature = "signature",
        /// `exp`, `nbf` and the like.
        Claims = "claims",
        /// Audience, scopes, roles, groups, and claims that may not be there.
        Rights = "rights",
        /// What the identity provider was asked.
        Provider = "introspection",
        Consumer = "consumer",
        Anonymous = "anonymous",
        /// An answer in the service's place.
        Answer = "answer",
    }
}

impl Check {
    /// The name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Route => "Route",
            Self::Protocol => "Protocol",
            Self::Applies => "Applies",
            Self::Sources => "Where the token is",
            Self::Size => "Size",
            Self::Structure => "Structure",
            Self::Header => "Header",
            Self::Kind => "Kind of token",
            Self::KeyClaim => "Claim that names the credential",
            Self::Issuer => "Issuer",
            Self::Credential => "Credential",
            Self::Algorithm => "Algorithm",
            Self::Key => "Key",
            Self::Signature => "Signature",
            Self::Claims => "Times and claims",
            Self::Rights => "Audience, scopes and roles",
            Self::Provider => "What the provider says",
            Self::Consumer => "Consumer",
            Self::Anonymous => "Anonymous consumer",
            Self::Answer => "Answer",
        }
    }
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Failed,
    /// Nothing was decided.
    Noted,
    /// Nothing was looked at.
    Skipped,
}

labelled! {
    /// What is probably wrong, by its kind.
    HintCode {
        Expired = "expired",
        NotYetValid = "not_yet_valid",
        Milliseconds = "milliseconds",
        ClaimMissing = "claim_missing",
        ClaimType = "claim_type",
        MaxLifetime = "max_lifetime",
        SecretBase64 = "secret_base64",
        SecretPlain = "secret_plain",
        SecretWhitespace = "secret_whitespace",
        StandardBase64 = "standard_base64",
        Padding = "padding",
        Whitespace = "whitespace",
        Quotes = "quotes",
        BearerMissing = "bearer_missing",
        BearerTwice = "bearer_twice",
        BearerCase = "bearer_case",
        OtherScheme = "other_scheme",
        OtherSource = "other_source",
        SeveralTokens = "several_tokens",
        Jwe = "jwe",
        Opaque = "opaque",
        Truncated = "truncated",
        AlgNone = "alg_none",
        AlgMismatch = "alg_mismatch",
        HsWithPublicKey = "hs_with_public_key",
        DerSignature = "der_signature",
        KeyClaimPlace = "key_claim_place",
        KeyClaimCase = "key_claim_case",
        CredentialNear = "credential_near",
        OtherIssuer = "other_issuer",
        IssuerSlash = "issuer_slash",
        AudienceSlash = "audience_slash",
        ScopeCase = "scope_case",
        RoleCase = "role_case",
        KidOtherIssuer = "kid_other_issuer",
        KidUnknown = "kid_unknown",
        KidMissing = "kid_missing",
        PemCertificate = "pem_certificate",
        PemPrivateKey = "pem_private_key",
        KeyUnusable = "key_unusable",
        OtherKey = "other_key",
        IdToken = "id_token",
        RefreshToken = "refresh_token",
        OtherRoute = "other_route",
        ServiceBound = "service_bound",
        AnonymousUnknown = "anonymous_unknown",
        Https = "https",
        Changed = "changed",
        KeysMissing = "keys_missing",
    }
}

/// What is probably wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hint {
    pub code: HintCode,
    pub text: String,
}

impl Hint {
    pub fn new(code: HintCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// A time that was compared with the clock.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Time {
    pub claim: &'static str,
    pub ok: bool,
    /// Seconds by which clocks may differ.
    pub leeway: f64,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    pub check: Check,
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
    /// What is probably wrong, when the failure is a near miss.
    pub hint: Option<Hint>,
    /// The times that were looked at.
    #[serde(skip)]
    pub times: Vec<Time>,
}

impl Step {
    pub fn new(check: Check, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self { check, verdict, detail: detail.into(), hint: None, times: Vec::new() }
    }

    pub fn passed(check: Check, detail: impl Into<String>) -> Self {
        Self::new(check, Verdict::Passed, detail)
    }

    pub fn failed(check: Check, detail: impl Into<String>) -> Self {
        Self::new(check, Verdict::Failed, detail)
    }

    pub fn noted(check: Check, detail: impl Into<String>) -> Self {
        Self::new(check, Verdict::Noted, detail)
    }

    /// Adds what is probably wrong, if anything is known.
    pub fn hint(mut self, hint: impl Into<Option<Hint>>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Adds the times that were looked at.
    pub fn times(mut self, times: Vec<Time>) -> Self {
        self.times = times;
        self
    }
}

/// Takes the steps as they happen.
pub trait Trace: Send {
    fn record(&mut self, step: impl FnOnce() -> Step);

    /// The decision is made again from its beginning, with more at hand.
    fn restart(&mut self) {}
}

/// Takes nothing: the trace of a served request.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTrace;

impl Trace for NoTrace {
    #[inline(always)]
    fn record(&mut self, _step: impl FnOnce() -> Step) {}
}

impl Trace for Vec<Step> {
    fn record(&mut self, step: impl FnOnce() -> Step) {
        self.push(step());
    }

    fn restart(&mut self) {
        self.clear();
    }
}

impl<T: Trace> Trace for &mut T {
    #[inline(always)]
    fn record(&mut self, step: impl FnOnce() -> Step) {
        (**self).record(step);
    }

    #[inline(always)]
    fn restart(&mut self) {
        (**self).restart();
    }
}

/// An attacker's text in a trace, at a length that can be read.
pub fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

/// A time for people, with its distance from now.
pub fn moment(at: f64, now: u64) -> String {
    let distance = at - now as f64;
    let away = span(distance.abs());
    let text = if (0.0..=253_402_300_799.0).contains(&at) { calendar::seconds(at as u64) } else { at.to_string() };
    if distance < 0.0 { format!("{text}, {away} ago") } else { format!("{text}, in {away}") }
}

/// A length of time for people.
pub fn span(seconds: f64) -> String {
    let whole = seconds.round();
    match whole {
        _ if whole < 120.0 => format!("{whole} s"),
        _ if whole < 7_200.0 => format!("{} min {} s", (whole / 60.0).floor(), whole % 60.0),
        _ if whole < 172_800.0 => format!("{:.1} h", whole / 3_600.0),
        _ if whole < 63_072_000.0 => format!("{:.0} days", whole / 86_400.0),
        _ => format!("{:.0} years", whole / 31_557_600.0),
    }
}

/// A consumer for people: its name and id.
pub fn consumer_name(consumer: &crate::entity::Consumer) -> String {
    match consumer.username.as_deref().or(consumer.custom_id.as_deref()) {
        Some(name) => format!("{} ({})", shown(name), consumer.id),
        None => consumer.id.to_string(),
    }
}
