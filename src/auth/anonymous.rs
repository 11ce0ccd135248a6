//! How several authenticating plugins on one route combine: Kong's `anonymous`, in one place for all of
//! them.
//!
//! Without `anonymous` each plugin must succeed (AND). With it, a plugin steps back when another has authenticated the
//! request before, and lets it go on as the anonymous consumer when its own attempt fails (OR).

use http::StatusCode;

use super::trace::{Check, Hint, HintCode, Step, Trace};
use super::{Reason, Rejection, Request, State};

/// A plugin's `anonymous`: the id or username of a consumer, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Anonymous(Option<Box<str>>);

impl Anonymous {
    pub fn new(name: Option<String>) -> Self {
        Self(name.filter(|name| !name.is_empty()).map(Into::into))
    }

    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the plugin has nothing to do, since another one authenticated the request already. An anonymous consumer
    /// does not count.
    pub fn steps_back(&self, state: &State) -> bool {
        self.is_set() && state.has_credential()
    }

    /// What an attempt comes to: a failure becomes the anonymous consumer, if there is one to become.
    ///
    /// # Errors
    /// The attempt's own, or 500 when the consumer does not exist.
    pub fn settle(
        &self,
        attempt: Result<(), Box<Rejection>>,
        request: &Request<'_>,
        state: &mut State,
        trace: &mut impl Trace,
    ) -> Result<(), Box<Rejection>> {
        let (rejection, name) = match (attempt, &self.0) {
            (Ok(()), _) => return Ok(()),
            (Err(rejection), None) => return Err(rejection),
            (Err(rejection), Some(name)) => (rejection, name),
        };
        if let Some(consumer) = request.directory.consumer_by_name(name) {
            trace.record(|| Step::noted(Check::Anonymous, format!("goes on as the anonymous consumer `{name}`")));
            state.anonymous(consumer.clone(), rejection.reason);
            return Ok(());
        }
        trace.record(|| {
            Step::failed(Check::Anonymous, format!("the anonymous consumer `{name}` does not exist"))
                .hint(Hint::new(HintCode::AnonymousUnknown, "`anonymous` takes a consumer's id or username"))
        });
        Err(Box::new(Rejection {
            reason: Reason::Misconfigured,
            status: StatusCode::INTERNAL_SERVER_ERROR,
            body: super::reason::Body::Negotiated("An unexpected error occurred".into()),
            headers: Vec::new(),
        }))
    }

    /// Runs an attempt with both rules.
    ///
    /// # Errors
    /// As [`Self::settle`].
    pub fn guard<T: Trace>(
        &self,
        request: &Request<'_>,
        state: &mut State,
        trace: &mut T,
        attempt: impl FnOnce(&mut State, &mut T) -> Result<(), Box<Rejection>>,
    ) -> Result<(), Box<Rejection>> {
        if self.steps_back(state) {
            trace.record(|| Step::noted(Check::Applies, "another plugin has authenticated the request already"));
            return Ok(());
        }
        let outcome = attempt(state, trace);
        self.settle(outcome, request, state, trace)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::auth::jwt::{Jwt, Lent};
    use crate::auth::key_auth::KeyAuth;
    use crate::auth::testing::{Sent, api_key, caller, directory, get, jwt_secret, shown};
    use crate::auth::{Plugin, Reason};
    use crate::jose::{Algorithm, SigningKey};

    /// jwt and key-auth on one route, each with its `anonymous`.
    fn result(jwt: Option<&str>, key: Option<&str>, sent: &Sent) -> String {
        let directory =
            directory([jwt_secret(1000, 1, "k", Algorithm::Hs256, "secret", None)], [api_key(3000, 3, "key", None)]);
        let jwt = json!({ "key_claim_name": "iss", "header_names": ["authorization"], "anonymous": jwt });
        let key = json!({ "key_names": ["apikey"], "anonymous": key });
        let jwt = Jwt::compile(jwt.as_object().unwrap(), Lent::default()).unwrap();
        let key = KeyAuth::compile(key.as_object().unwrap()).unwrap();
        let plugins: [&dyn Plugin; 2] = [&jwt, &key];
        let (state, outcome) = sent.through(&plugins, &directory);
        outcome.map_or_else(|rejection| shown(&rejection), |()| caller(&state))
    }

    fn token() -> String {
        let key = SigningKey::from_secret(Algorithm::Hs256, b"secret").unwrap();
        key.sign(&Default::default(), json!({ "iss": "k" }).as_object().unwrap()).unwrap()
    }

    /// A request for each row: both credentials, the token, the key, none, and a bad one of each.
    fn rows() -> [Sent; 6] {
        let token = token();
        [
            get().bearer(&token).header("apikey", "key"),
            get().bearer(&token),
            get().header("apikey", "key"),
            get(),
            get().bearer("bad").header("apikey", "key"),
            get().bearer(&token).header("apikey", "bad"),
        ]
    }

    const ALICE: &str = "alice/k";
    const CAROL: &str = "carol/00000000-0000-4000-8000-000000000bb8";
    const ANYONE: &str = "anonymous:anonymous";
    const NO_TOKEN: &str = "401 {Unauthorized} www-authenticate: Bearer";
    const BAD_TOKEN: &str = r#"401 {Bad token; invalid JSON} www-authenticate: Bearer error="invalid_token""#;
    const NO_KEY: &str = "401 ~No API key found in request www-authenticate: Key";
    const BAD_KEY: &str = "401 ~Unauthorized www-authenticate: Key";

    #[test]
    fn both_or_either() {
        let anonymous = Some("anonymous");
        for (jwt, key, expected) in [
            (None, None, [CAROL, NO_KEY, NO_TOKEN, NO_TOKEN, BAD_TOKEN, BAD_KEY]),
            (anonymous, anonymous, [ALICE, ALICE, CAROL, ANYONE, CAROL, ALICE]),
            (anonymous, None, [CAROL, NO_KEY, CAROL, NO_KEY, CAROL, BAD_KEY]),
            (None, anonymous, [ALICE, ALICE, NO_TOKEN, NO_TOKEN, BAD_TOKEN, ALICE]),
        ] {
            let results = rows().map(|sent| result(jwt, key, &sent));
            assert_eq!(results, expected, "jwt {jwt:?}, key-auth {key:?}");
        }
    }

    #[test]
    fn the_consumer_is_named_by_id_or_username_and_must_exist() {
        let alone = |name: &str, sent: Sent| result(Some(name), Some(name), &sent);
        assert_eq!(alone("00000000-0000-4000-8000-000000000009", get()), ANYONE);
        assert_eq!(alone("", get()), NO_TOKEN, "an empty name is none");
        for missing in ["nobody", "00000000-0000-4000-8000-000000000077"] {
            assert_eq!(alone(missing, get()), "500 ~An unexpected error occurred");
            assert_eq!(alone(missing, get().bearer("bad")), "500 ~An unexpected error occurred");
            assert_eq!(alone(missing, get().bearer(&token())), ALICE, "looked for only when it is needed");
        }
        assert_eq!(result(Some("anonymous"), Some("alice"), &get()), "anonymous:alice", "the last one to fall back");
    }

    #[test]
    fn the_reason_of_the_failure_is_kept() {
        let directory = directory([], []);
        let config = json!({ "key_claim_name": "iss", "header_names": ["authorization"], "anonymous": "anonymous" });
        let plugin = Jwt::compile(config.as_object().unwrap(), Lent::default()).unwrap();
        let fallback = |sent: Sent| sent.through(&[&plugin], &directory).0.fallback;
        assert_eq!(fallback(get()), Some(Reason::NoToken));
        assert_eq!(fallback(get().bearer(&token())), Some(Reason::CredentialUnknown));
    }
}
