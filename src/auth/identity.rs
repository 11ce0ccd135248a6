//! Identity headers: which ones a client may never send through, and which ones a service gets.

use http::{HeaderName, HeaderValue};

use super::{Authenticated, Principal};

pub static X_CONSUMER_ID: HeaderName = HeaderName::from_static("x-consumer-id");
pub static X_CONSUMER_CUSTOM_ID: HeaderName = HeaderName::from_static("x-consumer-custom-id");
pub static X_CONSUMER_USERNAME: HeaderName = HeaderName::from_static("x-consumer-username");
pub static X_CREDENTIAL_IDENTIFIER: HeaderName = HeaderName::from_static("x-credential-identifier");
pub static X_ANONYMOUS_CONSUMER: HeaderName = HeaderName::from_static("x-anonymous-consumer");
pub static X_AUTHENTICATED_SCOPE: HeaderName = HeaderName::from_static("x-authenticated-scope");
pub static X_AUTHENTICATED_USERID: HeaderName = HeaderName::from_static("x-authenticated-userid");

/// What identity headers begin with, after `x-`.
const FAMILIES: [&str; 4] = ["consumer-", "credential-", "anonymous-", "authenticated-"];

/// Whether a header says who the caller is: only we may set it. Case does not count, and `_` is `-`: CGI and WSGI make
/// the same variable of `X_Consumer_Id`. Cheap for the names that are not, which is nearly all of them.
pub fn is_identity_header(name: &str) -> bool {
    let [b'x' | b'X', b'-' | b'_', rest @ ..] = name.as_bytes() else { return false };
    matches!(rest.first(), Some(b'c' | b'C' | b'a' | b'A'))
        && FAMILIES.iter().any(|family| {
            rest.len() >= family.len() && rest.iter().zip(family.bytes()).all(|(there, wanted)| fold(*there) == wanted)
        })
}

fn fold(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}

/// The headers a service learns the caller from. A name or identifier with control characters cannot be a header's
/// value and is left out.
pub fn headers(authenticated: &Authenticated) -> impl Iterator<Item = (&'static HeaderName, HeaderValue)> + use<> {
    let principal = authenticated.principal();
    let consumer = principal.consumer();
    let (credential, anonymous) = match principal {
        Principal::Authenticated { credential, .. } => (credential.as_deref(), None),
        Principal::Anonymous(_) => (None, Some(HeaderValue::from_static("true"))),
    };
    let id = consumer.and_then(|consumer| {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        HeaderValue::from_str(consumer.id.hyphenated().encode_lower(&mut text)).ok()
    });
    [
        (&X_CONSUMER_ID, id),
        (&X_CONSUMER_CUSTOM_ID, consumer.and_then(|consumer| value(consumer.custom_id.as_deref()))),
        (&X_CONSUMER_USERNAME, consumer.and_then(|consumer| value(consumer.username.as_deref()))),
        (&X_CREDENTIAL_IDENTIFIER, value(credential)),
        (&X_ANONYMOUS_CONSUMER, anonymous),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

/// UTF-8 goes out as it is, as in Kong.
fn value(text: Option<&str>) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text?.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::auth::testing;

    #[test]
    fn spoofed_names_are_recognised_in_every_spelling() {
        for name in [
            "x-consumer-id",
            "X-Consumer-ID",
            "X_Consumer_ID",
            "x-consumer_username",
            "X-CONSUMER-GROUPS",
            "x-credential-identifier",
            "X_Credential_Username",
            "x-anonymous-consumer",
            "X-Anonymous_Consumer",
            "x-authenticated-scope",
            "x-authenticated-userid",
            "X-AUTHENTICATED-GROUPS",
            "x-consumer-",
        ] {
            assert!(is_identity_header(name), "{name}");
        }
        for name in [
            "",
            "x",
            "x-",
            "x-c",
            "authorization",
            "x-consumer",
            "x-consumers-id",
            "x-forwarded-for",
            "consumer-id",
            "xx-consumer-id",
            "x.consumer-id",
        ] {
            assert!(!is_identity_header(name), "{name}");
        }
        for name in [&X_CONSUMER_ID, &X_ANONYMOUS_CONSUMER, &X_AUTHENTICATED_SCOPE, &X_CREDENTIAL_IDENTIFIER] {
            assert!(is_identity_header(name.as_str()));
        }
    }

    #[test]
    fn a_principal_becomes_headers() {
        let shown = |principal| {
            let headers = headers(&Authenticated::new(principal));
            headers
                .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
                .collect::<Vec<_>>()
        };
        let alice = Arc::new(testing::consumer(1, Some("alice"), Some("a-1")));
        assert_eq!(
            shown(Principal::Authenticated { consumer: Some(alice.clone()), credential: Some("k".into()) }),
            [
                "x-consumer-id: 00000000-0000-4000-8000-000000000001",
                "x-consumer-custom-id: a-1",
                "x-consumer-username: alice",
                "x-credential-identifier: k",
            ]
        );
        assert_eq!(
            shown(Principal::Anonymous(alice)).split_off(3),
            ["x-anonymous-consumer: true"],
            "an anonymous consumer has no credential"
        );
        let odd = Arc::new(testing::consumer(2, Some("line\nbreak"), None));
        assert_eq!(
            shown(Principal::Authenticated { consumer: Some(odd), credential: Some("café".into()) }),
            ["x-consumer-id: 00000000-0000-4000-8000-000000000002", "x-credential-identifier: café"]
        );
        assert_eq!(
            shown(Principal::Authenticated { consumer: None, credential: Some("sub".into()) }),
            ["x-credential-identifier: sub"]
        );
    }
}
