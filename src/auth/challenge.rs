//! `WWW-Authenticate`.

use http::header::WWW_AUTHENTICATE;
use http::{HeaderName, HeaderValue};

use crate::diagnostic::Diagnostic;

/// The challenges of a plugin, made when it is compiled.
#[derive(Clone, Debug)]
pub struct Challenge {
    /// No credential was sent.
    pub missing: HeaderValue,
    /// One was, and does not do.
    pub invalid: HeaderValue,
}

impl Challenge {
    /// `Bearer`, with `error="invalid_token"` for a token that was sent (RFC 6750 section 3).
    ///
    /// # Errors
    /// When the realm cannot stand in a header.
    pub fn bearer(realm: Option<&str>) -> Result<Self, Vec<Diagnostic>> {
        let missing = challenge("Bearer", realm, None)?;
        Ok(Self { missing, invalid: challenge("Bearer", realm, Some("invalid_token"))? })
    }

    /// `Key`, the same for every failure.
    ///
    /// # Errors
    /// When the realm cannot stand in a header.
    pub fn key(realm: Option<&str>) -> Result<Self, Vec<Diagnostic>> {
        let missing = challenge("Key", realm, None)?;
        Ok(Self { invalid: missing.clone(), missing })
    }

    pub fn for_missing(&self) -> (HeaderName, HeaderValue) {
        (WWW_AUTHENTICATE, self.missing.clone())
    }

    pub fn for_invalid(&self) -> (HeaderName, HeaderValue) {
        (WWW_AUTHENTICATE, self.invalid.clone())
    }
}

fn challenge(scheme: &str, realm: Option<&str>, error: Option<&str>) -> Result<HeaderValue, Vec<Diagnostic>> {
    let realm = realm.filter(|realm| !realm.is_empty()).map(|realm| format!("realm={}", quoted(realm)));
    let error = error.map(|error| format!("error={}", quoted(error)));
    let parameters: Vec<String> = realm.into_iter().chain(error).collect();
    let text = if parameters.is_empty() { scheme.to_owned() } else { format!("{scheme} {}", parameters.join(", ")) };
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| vec![Diagnostic::error("invalid-value", "config.realm", "a realm cannot hold control characters")])
}

/// A quoted-string (RFC 9110 section 5.6.4).
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_carry_realm_and_error() {
        let shown = |challenge: Challenge| {
            [challenge.missing, challenge.invalid].map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(shown(Challenge::bearer(None).unwrap()), ["Bearer", r#"Bearer error="invalid_token""#]);
        assert_eq!(
            shown(Challenge::bearer(Some("example")).unwrap()),
            [r#"Bearer realm="example""#, r#"Bearer realm="example", error="invalid_token""#]
        );
        assert_eq!(shown(Challenge::bearer(Some(r#"my "realm\"#)).unwrap())[0], r#"Bearer realm="my \"realm\\""#);
        assert_eq!(shown(Challenge::key(Some("r")).unwrap()), [r#"Key realm="r""#, r#"Key realm="r""#]);
        assert!(Challenge::key(Some("a\r\nSet-Cookie: x")).is_err());
    }
}
