//! Identity headers: which ones a client may never send through, and which ones a service gets.

use std::cell::RefCell;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::changes::KeptValue;
use super::state::{Caller, Credential};
use super::{Authenticated, Principal};
use crate::entity::Consumer;

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

/// Whether CGI and WSGI make one variable of two names: case does not count, `-` and `_` are the same to them.
pub fn is_same_variable(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().map(fold).eq(other.bytes().map(fold))
}

fn fold(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}

/// Headers, and whom they were made for.
struct Made {
    caller: Arc<Caller>,
    /// Those of the consumer and the credential.
    own: Fields,
    /// Those of the token that was issued here.
    issued: Fields,
    /// How many requests of others it outlives.
    staying: u8,
    /// Whose request came last after those, as consumer and credential are told apart by where they lie. It takes the place if it comes
    /// again before any other: of callers that come in turns none does, and nothing is made for them that none would use.
    rival: [usize; 2],
}

type Fields = Box<[(&'static HeaderName, HeaderValue)]>;

impl Made {
    fn of(caller: &Arc<Caller>) -> Self {
        let (own, issued) = (own_headers(caller).collect(), issued_headers(caller).collect());
        Self { caller: caller.clone(), own, issued, staying: STAYING, rival: [0; 2] }
    }

    /// The same value: a client's tokens mostly have one scope.
    fn issued(&self, value: &KeptValue) -> Option<HeaderValue> {
        self.issued.iter().map(|(_, made)| made).find(|made| made.as_bytes() == value.as_bytes()).cloned()
    }
}

/// Whether two callers are one consumer with one credential: then they differ in the token at most.
fn is_same_client(one: &Caller, other: &Caller) -> bool {
    // The very same consumer in memory, which does not change while somebody has it.
    one.consumer.as_ref().map(Arc::as_ptr) == other.consumer.as_ref().map(Arc::as_ptr)
        && one.credential == other.credential
}

/// Callers whose headers a thread keeps: those that are busy. They are few, so that they stay in the processor's caches; what is kept
/// for each token or consumer does not, and is slower to fetch than to make.
const KEPT: usize = 64;
/// A caller may be replaced when as many requests of others have met it.
const STAYING: u8 = 4;

thread_local! {
    static MADE: RefCell<[Option<Made>; KEPT]> = const { RefCell::new([const { None }; KEPT]) };
}

/// Hands out the headers a service learns the caller from, one by one: [`headers`], made anew only for a caller that is not busy.
///
/// # Errors
/// What `put` says.
pub fn each_header<E>(
    authenticated: &Authenticated,
    mut put: impl FnMut(&'static HeaderName, HeaderValue) -> Result<(), E>,
) -> Result<(), E> {
    let Principal::Authenticated(caller) = authenticated.principal() else {
        return headers(authenticated).try_for_each(|(name, value)| put(name, value));
    };
    let address = caller.consumer.as_ref().map_or(0, |consumer| Arc::as_ptr(consumer).addr());
    let credential = caller.credential.as_ref().map_or(0, Credential::place);
    // Allocations are 16 bytes apart at least.
    let place = (address >> 4 ^ address >> 10 ^ credential >> 4) % KEPT;
    let found = MADE.try_with(|kept| {
        let mut kept = kept.try_borrow_mut().ok()?;
        let slot = kept.get_mut(place)?;
        let mut again = |fields: &Fields| fields.iter().try_for_each(|(name, value)| put(name, value.clone()));
        match slot {
            Some(made) if Arc::ptr_eq(&made.caller, caller) => {
                made.staying = STAYING;
                Some(again(&made.own).and_then(|()| again(&made.issued)))
            }
            Some(made) if is_same_client(&made.caller, caller) => {
                made.staying = STAYING;
                let own = again(&made.own);
                Some(own.and_then(|()| {
                    issued_values(caller)
                        .try_for_each(|(name, value)| put(name, made.issued(value).unwrap_or_else(|| value.get())))
                }))
            }
            Some(made) if made.staying > 0 => {
                made.staying -= 1;
                None
            }
            Some(made) if made.rival != [address, credential] => {
                made.rival = [address, credential];
                None
            }
            _ => {
                let made = slot.insert(Made::of(caller));
                Some(again(&made.own).and_then(|()| again(&made.issued)))
            }
        }
    });
    match found {
        Ok(Some(result)) => result,
        _ => headers(authenticated).try_for_each(|(name, value)| put(name, value)),
    }
}

/// The headers a service learns the caller from. A name or identifier with control characters cannot be a header's
/// value and is left out.
pub fn headers(authenticated: &Authenticated) -> impl Iterator<Item = (&'static HeaderName, HeaderValue)> + use<'_> {
    let (caller, anonymous) = match authenticated.principal() {
        Principal::Authenticated(caller) => (Some(&**caller), None),
        Principal::Anonymous(consumer) => (None, Some(consumer)),
    };
    let anonymous = anonymous.into_iter().flat_map(|consumer| {
        consumer_headers(Some(consumer)).chain([(&X_ANONYMOUS_CONSUMER, HeaderValue::from_static("true"))])
    });
    caller.into_iter().flat_map(|caller| own_headers(caller).chain(issued_headers(caller))).chain(anonymous)
}

fn own_headers(caller: &Caller) -> impl Iterator<Item = (&'static HeaderName, HeaderValue)> {
    let credential = value(caller.credential.as_deref()).map(|value| (&X_CREDENTIAL_IDENTIFIER, value));
    consumer_headers(caller.consumer.as_deref()).chain(credential)
}

fn issued_headers(caller: &Caller) -> impl Iterator<Item = (&'static HeaderName, HeaderValue)> {
    issued_values(caller).map(|(name, value)| (name, value.get()))
}

fn issued_values(caller: &Caller) -> impl Iterator<Item = (&'static HeaderName, &KeptValue)> {
    let issued = caller.issued.as_deref();
    [
        (&X_AUTHENTICATED_SCOPE, issued.and_then(|issued| issued.scope.as_ref())),
        (&X_AUTHENTICATED_USERID, issued.and_then(|issued| issued.userid.as_ref())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

fn consumer_headers(consumer: Option<&Consumer>) -> impl Iterator<Item = (&'static HeaderName, HeaderValue)> + use<> {
    let id = consumer.and_then(|consumer| {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        HeaderValue::from_str(consumer.id.hyphenated().encode_lower(&mut text)).ok()
    });
    [
        (&X_CONSUMER_ID, id),
        (&X_CONSUMER_CUSTOM_ID, consumer.and_then(|consumer| value(consumer.custom_id.as_deref()))),
        (&X_CONSUMER_USERNAME, consumer.and_then(|consumer| value(consumer.username.as_deref()))),
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
    fn headers_that_are_kept_are_for_the_one_they_were_made_for() {
        let shown = |principal| {
            let mut shown = Vec::new();
            let put = |name: &HeaderName, value: HeaderValue| {
                shown.push(format!("{name}: {}", value.to_str().unwrap()));
                Ok::<(), ()>(())
            };
            each_header(&Authenticated::new(principal), put).unwrap();
            shown
        };
        let of = |consumer: &Arc<Consumer>, credential: &str| known(Some(consumer.clone()), credential);
        let alice = Arc::new(testing::consumer(1, Some("alice"), None));
        // The same consumer, renamed by a reload.
        let alicia = Arc::new(testing::consumer(1, Some("alicia"), None));
        let tokens = [(Some("read"), Some("u1")), (Some("read"), Some("u2")), (Some("write"), None), (None, None)]
            .map(|(scope, userid)| Arc::new(testing::issued("t", scope, userid)));
        let id = "x-consumer-id: 00000000-0000-4000-8000-000000000001";
        for _ in 0..2 {
            for (consumer, name) in [(&alice, "alice"), (&alicia, "alicia")] {
                let expected = |key: &str| {
                    [id.to_owned(), format!("x-consumer-username: {name}"), format!("x-credential-identifier: {key}")]
                };
                for key in ["k", "k", "other"] {
                    assert_eq!(shown(of(consumer, key)), expected(key));
                }
            }
            assert_eq!(shown(known(None, "k")), ["x-credential-identifier: k"]);
            assert_eq!(shown(Principal::Anonymous(alice.clone())).last().unwrap(), "x-anonymous-consumer: true");
            // One client's tokens differ in what they say.
            for token in &tokens {
                let (consumer, credential) = (Some(alice.clone()), Some(Credential::Text("k".into())));
                let caller = Caller::new(consumer, credential, Some(token));
                let seen = shown(Principal::Authenticated(Arc::new(caller)));
                let said = seen.iter().filter_map(|line| line.strip_prefix("x-authenticated-")).collect::<Vec<_>>();
                let expected = [("scope", &token.scope), ("userid", &token.userid)];
                let expected =
                    expected.iter().filter_map(|(name, value)| Some(format!("{name}: {}", value.as_deref()?)));
                assert_eq!(said, expected.collect::<Vec<_>>());
            }
        }
        // More than are kept, all of them busy.
        let many: Vec<_> = (0..500).map(|n| Arc::new(testing::consumer(n, Some(&format!("user-{n}")), None))).collect();
        for n in (0..2000).map(|n| n * 7 % many.len()) {
            assert_eq!(shown(of(&many[n], "k"))[1], format!("x-consumer-username: user-{n}"));
        }
    }

    fn known(consumer: Option<Arc<Consumer>>, credential: &str) -> Principal {
        Principal::Authenticated(Arc::new(Caller::new(consumer, Some(Credential::Text(credential.into())), None)))
    }

    #[test]
    fn a_principal_becomes_headers() {
        let shown = |principal| {
            let authenticated = Authenticated::new(principal);
            headers(&authenticated)
                .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
                .collect::<Vec<_>>()
        };
        let alice = Arc::new(testing::consumer(1, Some("alice"), Some("a-1")));
        assert_eq!(
            shown(known(Some(alice.clone()), "k")),
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
            shown(known(Some(odd), "café")),
            ["x-consumer-id: 00000000-0000-4000-8000-000000000002", "x-credential-identifier: café"]
        );
        assert_eq!(shown(known(None, "sub")), ["x-credential-identifier: sub"]);
    }
}
