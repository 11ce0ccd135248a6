//! What a token says, as far as it can be read, and its times beside the clock.

use serde::Serialize;
use serde_json::{Map, Value};

use super::try_out::Tried;
use crate::auth::hints::Loose;
use crate::auth::trace::Time;
use crate::calendar;
use crate::jose::Jws;

/// A token, without its signature.
#[derive(Clone, Debug, Serialize)]
pub struct Token {
    /// How the access log and the live rejects of this process name it.
    pub fingerprint: String,
    pub bytes: usize,
    /// `jws`, `jwe`, `opaque`, `unreadable`.
    pub kind: &'static str,
    pub header: Option<Map<String, Value>>,
    pub claims: Option<Map<String, Value>>,
    pub times: Vec<Moment>,
    /// Seconds, of the plugin that looked at them.
    pub leeway: Option<f64>,
}

/// One time claim.
#[derive(Clone, Debug, Serialize)]
pub struct Moment {
    pub claim: &'static str,
    /// Seconds since the UNIX epoch.
    pub at: Option<f64>,
    pub from_now: Option<f64>,
    /// Whether the route looks at it.
    pub checked: bool,
    pub ok: Option<bool>,
    pub text: Option<String>,
}

pub fn describe(token: &str, tried: &Tried<'_>, now: u64, fingerprint: &dyn Fn(&str) -> String) -> Token {
    let read = Loose::read(crate::auth::hints::cleaned(token).0.as_bytes());
    let mut scratch = Vec::new();
    let kind = match token.bytes().filter(|byte| *byte == b'.').count() {
        _ if Jws::parse(token.as_bytes(), &mut scratch).is_ok() => "jws",
        4 if read.header.is_some() => "jwe",
        0 => "opaque",
        _ => "unreadable",
    };
    let looked_at: Vec<Time> =
        tried.ran.iter().flat_map(|ran| &ran.steps).flat_map(|step| step.times.iter().copied()).collect();
    let times: Vec<Moment> = ["iat", "nbf", "auth_time", "exp"]
        .into_iter()
        .filter_map(|claim| {
            let value = read.claims.as_ref().and_then(|claims| claims.get(claim));
            let checked = looked_at.iter().rev().find(|time| time.claim == claim);
            if value.is_none() && checked.is_none() {
                return None;
            }
            let at = value.and_then(Value::as_f64);
            Some(Moment {
                claim,
                at,
                from_now: at.map(|at| at - now as f64),
                checked: checked.is_some(),
                ok: checked.map(|time| time.ok),
                text: at.filter(|at| (0.0..=253_402_300_799.0).contains(at)).map(|at| calendar::seconds(at as u64)),
            })
        })
        .collect();
    Token {
        fingerprint: fingerprint(token),
        bytes: token.len(),
        kind,
        times,
        leeway: looked_at.last().map(|time| time.leeway),
        header: read.header,
        claims: read.claims,
    }
}
