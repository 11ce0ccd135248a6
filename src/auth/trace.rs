//! A record of the checks a plugin makes: what `explain` shows.
//!
//! Plugins are generic over [`Trace`]; requests run with [`NoTrace`], for which every call compiles to nothing, so
//! details and hints may be as costly as they are helpful. A trace never holds a secret or a token.

use serde::Serialize;

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Whether the plugin has anything to do with this request.
    Applies,
    /// Where a credential was looked for, and what was found.
    Sources,
    /// Its size.
    Size,
    /// Segments, base64url, JSON.
    Structure,
    /// `alg`, `crit` and other members of the header.
    Header,
    /// The claim that names the credential.
    KeyClaim,
    Credential,
    /// Whether `alg` is the credential's.
    Algorithm,
    /// Whether the credential's key can be used.
    Key,
    Signature,
    /// `exp`, `nbf` and the like.
    Claims,
    Consumer,
    Anonymous,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Failed,
    /// Nothing was decided.
    Noted,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    pub check: Check,
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
    /// What is probably wrong, when the failure is a near miss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Step {
    pub fn passed(check: Check, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Passed, detail: detail.into(), hint: None }
    }

    pub fn failed(check: Check, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Failed, detail: detail.into(), hint: None }
    }

    pub fn noted(check: Check, detail: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Noted, detail: detail.into(), hint: None }
    }

    /// Adds what is probably wrong, if anything is known.
    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// Takes the steps as they happen.
pub trait Trace {
    fn record(&mut self, step: impl FnOnce() -> Step);
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
}
