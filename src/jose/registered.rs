//! What nearly every request asks of a token, read in one walk over its members.

use super::json::{Object, Value};

/// A member that is a time, in seconds since the UNIX epoch (RFC 7519 section 2, `NumericDate`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment {
    Absent,
    /// Not a number.
    Other,
    At(f64),
}

impl Moment {
    fn of(value: &Value<'_>) -> Self {
        value.as_f64().map_or(Self::Other, Self::At)
    }

    pub fn seconds(self) -> Option<f64> {
        match self {
            Self::At(seconds) => Some(seconds),
            Self::Absent | Self::Other => None,
        }
    }
}

/// The times of a token (RFC 7519 section 4.1, OpenID Connect Core 1.0 section 2), and whether it is meant as an access token.
#[derive(Clone, Copy, Debug)]
pub struct Registered {
    pub exp: Moment,
    pub nbf: Moment,
    pub iat: Moment,
    pub auth_time: Moment,
    /// By its header's `typ`, by Keycloak's claim of that name, and by claims that only ID and logout tokens have (RFC 8725
    /// section 3.11, RFC 9068).
    pub is_access_token: bool,
}

impl Registered {
    /// `is_access_token`: what the header says of that.
    pub fn of(is_access_token: bool, claims: &Object<'_>) -> Self {
        let mut found = Self {
            exp: Moment::Absent,
            nbf: Moment::Absent,
            iat: Moment::Absent,
            auth_time: Moment::Absent,
            is_access_token,
        };
        for (name, value) in claims.iter() {
            match name {
                "exp" => found.exp = Moment::of(value),
                "nbf" => found.nbf = Moment::of(value),
                "iat" => found.iat = Moment::of(value),
                "auth_time" => found.auth_time = Moment::of(value),
                "typ" => {
                    found.is_access_token &= value.as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
                }
                "at_hash" | "c_hash" | "s_hash" | "events" => found.is_access_token = false,
                _ => {}
            }
        }
        found
    }
}

pub(super) fn is_typ_of_access_token(typ: &Value<'_>) -> bool {
    typ.as_str().is_some_and(|typ| {
        let typ = typ.strip_prefix("application/").unwrap_or(typ);
        typ.eq_ignore_ascii_case("jwt") || typ.eq_ignore_ascii_case("at+jwt")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::header;

    fn of(header: &str, claims: &str) -> Registered {
        let is_access_token = header::is_access(&Object::parse(header.as_bytes()).unwrap());
        Registered::of(is_access_token, &Object::parse(claims.as_bytes()).unwrap())
    }

    #[test]
    fn times_are_numbers_of_their_own_names() {
        let found = of("{}", r#"{"exp":1,"nbf":"2","auth_time":-4.5,"x":{"iat":3}}"#);
        let shown = [found.exp, found.nbf, found.iat, found.auth_time];
        assert_eq!(shown, [Moment::At(1.0), Moment::Other, Moment::Absent, Moment::At(-4.5)]);
        assert_eq!(shown.map(Moment::seconds), [Some(1.0), None, None, Some(-4.5)]);
        assert_eq!(of("{}", r#"{"iat":null}"#).iat, Moment::Other);
    }

    #[test]
    fn other_kinds_of_token_are_told_apart() {
        let is = |header: &str, claims: &str| of(header, claims).is_access_token;
        assert!(is("{}", "{}"));
        assert!(is(r#"{"typ":"JWT"}"#, r#"{"typ":"Bearer"}"#));
        assert!(is(r#"{"typ":"application/at+jwt"}"#, "{}"));
        for header in [r#"{"typ":"dpop+jwt"}"#, r#"{"typ":"logout+jwt"}"#, r#"{"typ":1}"#] {
            assert!(!is(header, "{}"), "{header}");
            assert!(!is(header, r#"{"typ":"Bearer"}"#), "{header}");
        }
        for claims in [r#"{"typ":"ID"}"#, r#"{"typ":"Refresh"}"#, r#"{"at_hash":"x"}"#, r#"{"events":{}}"#] {
            assert!(!is("{}", claims), "{claims}");
        }
    }
}
