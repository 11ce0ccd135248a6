//! Rules on claims: what must be there, what must not, and when.

use crate::auth::Reason;
use crate::auth::trace::shown;
use crate::jose::{Moment, Object, Registered, Value};

/// A claim that must hold certain words: `X_claim` and `X_required`.
#[derive(Debug)]
pub struct Rule {
    pub reason: Reason,
    /// The claim's place, outermost member first.
    path: Vec<String>,
    /// One of these must hold; each needs all its words.
    any: Vec<Vec<String>>,
}

impl Rule {
    /// `None` when nothing is required.
    pub fn new(reason: Reason, path: Vec<String>, required: &[String]) -> Option<Self> {
        let any: Vec<Vec<String>> = required
            .iter()
            .map(|words| words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .filter(|words| !words.is_empty())
            .collect();
        (!any.is_empty()).then_some(Self { reason, path, any })
    }

    /// What is required and what is there, for people.
    pub fn told(&self, claims: &Object<'_>) -> String {
        let wanted: Vec<String> = self.any.iter().map(|words| words.join(" and ")).collect();
        let there = claims.path(&self.path).and_then(|value| serde_json::to_string(value).ok());
        let there = there.map_or_else(|| "absent".to_owned(), |value| shown(&value));
        format!("`{}` needs {}; it is {there}", self.path.join("."), wanted.join(", or "))
    }

    pub fn holds(&self, claims: &Object<'_>) -> bool {
        let value = claims.path(&self.path);
        self.any.iter().any(|words| words.iter().all(|word| value.is_some_and(|value| has_word(value, word))))
    }
}

/// Whether a claim holds a word: one of a text's, one of a list, or the value itself.
fn has_word(value: &Value<'_>, word: &str) -> bool {
    match value {
        Value::String(text) => text.split(' ').any(|there| there == word),
        Value::Array(items) => items.iter().any(|item| text(item).is_some_and(|there| there == word)),
        other => text(other).is_some_and(|there| there == word),
    }
}

/// A scalar as text.
pub fn text(value: &Value<'_>) -> Option<String> {
    match value {
        Value::String(text) => Some(text.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// When a token is good.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Seconds.
    pub leeway: f64,
    /// Seconds since `auth_time`.
    pub max_age: Option<f64>,
    /// Whether `exp` must be there.
    pub expires: bool,
}

impl Times {
    /// The times of a token and now, for people.
    pub fn told(&self, claims: &Object<'_>, now: u64) -> String {
        let mut parts = vec![format!("now {now}")];
        for name in ["exp", "nbf", "iat", "auth_time"] {
            let value = claims.get(name).and_then(|value| serde_json::to_string(value).ok());
            parts.extend(value.map(|value| format!("{name} {}", shown(&value))));
        }
        if self.leeway > 0.0 {
            parts.push(format!("leeway {}", self.leeway));
        }
        parts.join(", ")
    }

    /// The first fault.
    pub fn check(&self, times: &Registered, now: u64) -> Result<(), Reason> {
        // Exact far beyond any date: 2^53 seconds.
        let now = now as f64;
        match times.exp {
            Moment::Absent if !self.expires => {}
            Moment::Absent | Moment::Other => return Err(Reason::ClaimType),
            Moment::At(exp) if now >= exp + self.leeway => return Err(Reason::Expired),
            Moment::At(_) => {}
        }
        for at in [times.nbf, times.iat] {
            match at {
                Moment::Other => return Err(Reason::ClaimType),
                Moment::At(at) if at > now + self.leeway => return Err(Reason::NotYetValid),
                Moment::Absent | Moment::At(_) => {}
            }
        }
        if let Some(max_age) = self.max_age {
            let at = times.auth_time.seconds().ok_or(Reason::ClaimType)?;
            if now > at + max_age + self.leeway {
                return Err(Reason::MaxLifetime);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(path: &[&str], required: &[&str], claims: &str) -> bool {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let rule = Rule::new(Reason::Scope, own(path), &own(required)).unwrap();
        rule.holds(&Object::parse(claims.as_bytes()).unwrap())
    }

    #[test]
    fn words_of_one_entry_are_and_entries_are_or() {
        for (required, claim, expected) in [
            (&["a"][..], r#""a""#, true),
            (&["a"], r#""b a""#, true),
            (&["a"], r#""ab""#, false),
            (&["a b"], r#""a""#, false),
            (&["a b"], r#""b a""#, true),
            (&["a b", "c"], r#""c""#, true),
            (&["a"], r#"["x","a"]"#, true),
            (&["a"], r#"["a b"]"#, false),
            (&["7"], "7", true),
            (&["a"], "{}", false),
            (&["a"], "null", false),
        ] {
            assert_eq!(
                holds(&["scope"], required, &format!(r#"{{"scope":{claim}}}"#)),
                expected,
                "{required:?} {claim}"
            );
        }
        assert!(holds(&["realm_access", "roles"], &["admin"], r#"{"realm_access":{"roles":["admin"]}}"#));
        assert!(!holds(&["realm_access", "roles"], &["admin"], r#"{"roles":["admin"]}"#));
        assert!(!holds(&["scope"], &["a"], "{}"));
        assert!(Rule::new(Reason::Scope, Vec::new(), &[" ".into()]).is_none());
    }

    #[test]
    fn times_with_leeway() {
        let check = |claims: &str, leeway: f64, max_age: Option<f64>| {
            let times = Times { leeway, max_age, expires: true };
            times.check(&Registered::of(true, &Object::parse(claims.as_bytes()).unwrap()), 1000)
        };
        assert_eq!(check(r#"{"exp":1001}"#, 0.0, None), Ok(()));
        assert_eq!(check(r#"{"exp":1000}"#, 0.0, None), Err(Reason::Expired));
        assert_eq!(check(r#"{"exp":1000}"#, 1.0, None), Ok(()));
        assert_eq!(check(r#"{"exp":-1e300}"#, 0.0, None), Err(Reason::Expired));
        for exp in [r#""1001""#, "null", "true", "[]", "{}"] {
            assert_eq!(check(&format!(r#"{{"exp":{exp}}}"#), 0.0, None), Err(Reason::ClaimType), "{exp}");
        }
        assert_eq!(check("{}", 0.0, None), Err(Reason::ClaimType));
        for name in ["nbf", "iat"] {
            let with = |at: &str, leeway| check(&format!(r#"{{"exp":2000,"{name}":{at}}}"#), leeway, None);
            assert_eq!(with("1000", 0.0), Ok(()));
            assert_eq!(with("1001", 0.0), Err(Reason::NotYetValid));
            assert_eq!(with("1001", 1.0), Ok(()));
            assert_eq!(with(r#""1""#, 0.0), Err(Reason::ClaimType));
        }
        assert_eq!(check(r#"{"exp":2000,"auth_time":900}"#, 0.0, Some(100.0)), Ok(()));
        assert_eq!(check(r#"{"exp":2000,"auth_time":899}"#, 0.0, Some(100.0)), Err(Reason::MaxLifetime));
        assert_eq!(check(r#"{"exp":2000}"#, 0.0, Some(100.0)), Err(Reason::ClaimType));
    }
}
