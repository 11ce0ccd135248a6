//! What is probably wrong with a token that the plugin refuses. For traces only: costly, and never part of a decision.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Oidc;
use super::provider::Provider;
use crate::auth::hints::{self, Loose};
use crate::auth::trace::{Check, Hint, HintCode, Step, Time, Verdict, moment, shown};
use crate::auth::{Reason, Request, State};
use crate::jose::{Algorithm, Jws, Lookup, VerificationKey};

impl Oidc {
    /// Adds to the steps of a decision the times that were looked at, and what is probably wrong.
    pub(super) fn annotate(&self, request: &Request<'_>, state: &State, reason: Option<Reason>, steps: &mut [Step]) {
        let token = state.token.as_deref().unwrap_or_default();
        let read = Loose::read(token.as_bytes());
        let claims = read.claims.clone().unwrap_or_default();
        for step in steps.iter_mut().filter(|step| step.check == Check::Claims) {
            self.describe_times(&claims, request.now, reason, step);
        }
        let Some(reason) = reason else { return };
        let failed = steps.iter_mut().rev().find(|step| step.verdict == Verdict::Failed);
        let Some(step) = failed else { return };
        if step.hint.is_none() {
            step.hint = self.hint(request, token, &read, &claims, reason);
        }
    }

    fn describe_times(&self, claims: &Map<String, Value>, now: u64, reason: Option<Reason>, step: &mut Step) {
        let Some(times) = self.times else { return };
        let at = |name: &str| claims.get(name).and_then(Value::as_f64);
        let looked_at = |name: &'static str| {
            let value = at(name);
            let ok = match (name, value) {
                (_, None) => claims.get(name).is_none() && name != "exp",
                ("exp", Some(at)) => (now as f64) < at + times.leeway,
                ("auth_time", Some(at)) => times.max_age.is_none_or(|most| now as f64 <= at + most + times.leeway),
                (_, Some(at)) => at <= now as f64 + times.leeway,
            };
            Time { claim: name, ok, leeway: times.leeway }
        };
        let names = ["exp", "nbf", "iat"].into_iter().chain(times.max_age.map(|_| "auth_time"));
        step.times = names.filter(|name| claims.contains_key(*name) || *name == "exp").map(looked_at).collect();
        let told: Vec<String> = step
            .times
            .iter()
            .map(|time| match at(time.claim) {
                Some(at) => format!("{} {}", time.claim, moment(at, now)),
                None => format!("{} is not a number", time.claim),
            })
            .collect();
        if reason.is_none_or(|reason| reason != Reason::ClaimRule) || step.verdict != Verdict::Failed {
            step.detail = format!("{}; leeway is {} s", told.join("; "), times.leeway);
        }
    }

    fn hint(
        &self,
        request: &Request<'_>,
        token: &str,
        read: &Loose,
        claims: &Map<String, Value>,
        reason: Reason,
    ) -> Option<Hint> {
        let kid = read.header.as_ref().and_then(|header| header.get("kid")).and_then(Value::as_str);
        match reason {
            Reason::NoToken => elsewhere(request),
            Reason::Malformed | Reason::BadBase64 | Reason::BadJson | Reason::OpaqueUnknown => {
                hints::malformed(token.as_bytes())
            }
            Reason::AlgNone => Some(hints::alg_none()),
            Reason::TypMismatch => Some(other_kind(claims)),
            Reason::IssuerUnknown => Some(self.other_issuer(claims)),
            Reason::KidUnknown => Some(self.unknown_kid(kid, claims)),
            Reason::KidMissing => Some(Hint::new(
                HintCode::KidMissing,
                format!("the issuer has several keys: the token must name one of {} in `kid`", self.kids(claims)),
            )),
            Reason::AlgKeyMismatch | Reason::AlgNotAllowed => {
                let token = read.algorithm().map_or("another algorithm", |algorithm| algorithm.name());
                Some(Hint::new(
                    HintCode::AlgMismatch,
                    format!("the token is signed with {token}; the issuer's keys are {}", self.algorithms(claims)),
                ))
            }
            Reason::SignatureInvalid => self.other_key(token, kid, claims),
            Reason::Expired | Reason::NotYetValid | Reason::ClaimType | Reason::MaxLifetime => {
                self.time(claims, request.now, reason)
            }
            Reason::Audience => {
                near_word(HintCode::AudienceSlash, claims, &self.config.audience_claim, &self.config.audience_required)
            }
            Reason::Scope => {
                near_word(HintCode::ScopeCase, claims, &self.config.scopes_claim, &self.config.scopes_required)
            }
            Reason::Role => {
                near_word(HintCode::RoleCase, claims, &self.config.roles_claim, &self.config.roles_required).or_else(
                    || near_word(HintCode::RoleCase, claims, &self.config.groups_claim, &self.config.groups_required),
                )
            }
            Reason::JwksUnavailable | Reason::IdpError => Some(Hint::new(
                HintCode::KeysMissing,
                "the provider does not answer as it should: GET /live/issuers and the log say how",
            )),
            Reason::ConsumerUnknown => self.near_consumer(request, claims),
            _ => None,
        }
    }

    /// The provider whose keys count for these claims.
    fn provider(&self, claims: &Map<String, Value>) -> &Arc<Provider> {
        let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        match self.issuers.whose(issuer) {
            super::issuers::Whose::Of(provider) => provider,
            _ => &self.issuers.main,
        }
    }

    fn kids(&self, claims: &Map<String, Value>) -> String {
        let published = self.provider(claims).published();
        let sets = published.iter().flat_map(|published| &published.keys);
        let kids: Vec<String> = sets.flat_map(|keys| keys.set.kids().map(str::to_owned)).collect();
        hints::listed(kids.iter().map(String::as_str))
    }

    fn algorithms(&self, claims: &Map<String, Value>) -> String {
        let keys = keys(self.provider(claims));
        let mut names: Vec<&str> = keys.iter().map(|(_, key)| key.algorithm().name()).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() { "not known".into() } else { names.join(", ") }
    }

    fn other_issuer(&self, claims: &Map<String, Value>) -> Hint {
        let Some(issuer) = claims.get("iss").and_then(Value::as_str) else {
            return Hint::new(
                HintCode::ClaimMissing,
                "the token has no `iss`: it says nobody's name, and so is nobody's here",
            );
        };
        let published = self.issuers.main.published();
        let own = published.as_deref().map_or(self.issuers.main.source.name.as_str(), |there| &there.metadata.issuer);
        let allowed = self.config.issuers_allowed.iter().map(String::as_str);
        if let Some((name, why)) = allowed.chain([own]).find_map(|name| Some((name, hints::near(issuer, name)?))) {
            let text = format!(
                "this route takes the tokens of `{name}`: {why}, and names of issuers are compared letter by letter"
            );
            return Hint::new(HintCode::IssuerSlash, text);
        }
        let elsewhere = self.lent.registry.in_use().iter().any(|provider| provider.source.is_named(issuer));
        let known = if elsewhere { "; that issuer is configured for another route" } else { "" };
        Hint::new(
            HintCode::OtherIssuer,
            format!("the token is of `{}`; this route takes those of `{own}`{known}", shown(issuer)),
        )
    }

    fn unknown_kid(&self, kid: Option<&str>, claims: &Map<String, Value>) -> Hint {
        let own = self.provider(claims);
        let others = self.lent.registry.in_use();
        let other = others.iter().filter(|other| !Arc::ptr_eq(other, own)).find(|other| {
            let published = other.published();
            kid.is_some_and(|kid| {
                published
                    .iter()
                    .flat_map(|published| &published.keys)
                    .any(|keys| keys.set.kids().any(|there| there == kid))
            })
        });
        if let (Some(other), Some(kid)) = (other, kid) {
            let text =
                format!("the key `{}` is one of `{}`, not of the token's issuer", shown(kid), other.source.issuer);
            return Hint::new(HintCode::KidOtherIssuer, text);
        }
        let text = format!(
            "the issuer has the keys {}: was the token signed by another one, or has it changed its keys just now?",
            self.kids(claims)
        );
        Hint::new(HintCode::KidUnknown, text)
    }

    /// The key that a signature was made with, of this issuer or another.
    fn other_key(&self, token: &str, kid: Option<&str>, claims: &Map<String, Value>) -> Option<Hint> {
        let mut scratch = Vec::new();
        let jws = Jws::parse(token.as_bytes(), &mut scratch).ok()?;
        let own = self.provider(claims);
        let signed = |keys: &[(String, VerificationKey)]| {
            keys.iter().find(|(_, key)| jws.verify(key)).map(|(name, _)| name.clone())
        };
        let own_keys = keys(own);
        if let Some(name) = signed(&own_keys) {
            let text = format!(
                "the signature is good with the issuer's key `{}`, but the token names `{}`",
                shown(&name),
                shown(kid.unwrap_or_default())
            );
            return Some(Hint::new(HintCode::OtherKey, text));
        }
        let mut named = own_keys.iter().filter(|(name, _)| kid.is_none_or(|kid| kid == name));
        if let Some(hint) = named.find_map(|(_, key)| hints::public_signature(key, jws.signing_input, jws.signature)) {
            return Some(hint);
        }
        let others = self.lent.registry.in_use();
        let other = others
            .iter()
            .filter(|other| !Arc::ptr_eq(other, own))
            .find_map(|other| Some((signed(&keys(other))?, other)));
        if let Some((name, other)) = other {
            let text = format!("the signature is that of the key `{}` of `{}`", shown(&name), other.source.issuer);
            return Some(Hint::new(HintCode::KidOtherIssuer, text));
        }
        (jws.signature.is_empty()).then(|| Hint::new(HintCode::Truncated, "the signature is empty"))
    }

    fn time(&self, claims: &Map<String, Value>, now: u64, reason: Reason) -> Option<Hint> {
        let times = self.times?;
        let at = |name: &str| claims.get(name).and_then(Value::as_f64);
        let wrong = |name: &&str| match reason {
            Reason::Expired => *name == "exp",
            Reason::NotYetValid => *name != "exp" && at(name).is_some_and(|at| at > now as f64 + times.leeway),
            Reason::MaxLifetime => *name == "auth_time",
            _ => at(name).is_none() && (claims.contains_key(*name) || *name == "exp" || *name == "auth_time"),
        };
        let name = ["exp", "nbf", "iat", "auth_time"].into_iter().find(wrong)?;
        if reason == Reason::MaxLifetime {
            return Some(Hint::new(
                HintCode::MaxLifetime,
                "the login is longer ago than `max_age` allows: log in again",
            ));
        }
        Some(hints::time(name, at(name), times.leeway, now))
    }

    fn near_consumer(&self, request: &Request<'_>, claims: &Map<String, Value>) -> Option<Hint> {
        let mut value = claims.get(self.config.consumer_claim.first()?)?;
        for name in self.config.consumer_claim.iter().skip(1) {
            value = value.get(name)?;
        }
        let value = value.as_str()?;
        let directory = request.directory;
        for (by, found) in [
            ("custom_id", directory.by_custom_id.get(value)),
            ("username", directory.by_username.get(value)),
            ("id", uuid::Uuid::try_parse(value).ok().and_then(|id| directory.consumer(id))),
        ] {
            if found.is_some() {
                let text = format!("there is a consumer whose {by} it is: add `{by}` to consumer_by");
                return Some(Hint::new(HintCode::CredentialNear, text));
            }
        }
        let near = directory.consumers.iter().find_map(|consumer| {
            let name = consumer.username.as_deref()?;
            Some((name, hints::near(value, name)?))
        })?;
        Some(Hint::new(HintCode::CredentialNear, format!("there is a consumer `{}`: {}", shown(near.0), near.1)))
    }
}

/// Every key of a provider, by its id.
fn keys(provider: &Provider) -> Vec<(String, VerificationKey)> {
    let published = provider.published();
    let sets = published.iter().flat_map(|published| &published.keys);
    sets.flat_map(|keys| {
        keys.set.kids().flat_map(move |kid| {
            Algorithm::ALL.iter().filter_map(move |algorithm| match keys.set.find(Some(kid), *algorithm) {
                Lookup::Key(key) => Some((kid.to_owned(), key.clone())),
                _ => None,
            })
        })
    })
    .collect()
}

/// A token in a place that is not looked at.
fn elsewhere(request: &Request<'_>) -> Option<Hint> {
    let token =
        |value: &str| hints::looks_like_a_token(value.trim()) || value.contains("=eyJ") || value.contains(" eyJ");
    let header = request.headers.iter().find(|(_, value)| value.to_str().is_ok_and(token));
    if let Some((name, value)) = header {
        let bare = *name == http::header::AUTHORIZATION
            && value.to_str().is_ok_and(|value| hints::looks_like_a_token(value.trim()));
        return Some(match bare {
            true => Hint::new(
                HintCode::BearerMissing,
                "`authorization` holds a bare token: write `Authorization: Bearer …`",
            ),
            false => Hint::new(
                HintCode::OtherSource,
                format!("the header `{name}` holds something like a token; bearer_token_param_type does not have it"),
            ),
        });
    }
    request.query.filter(|query| query.contains("=eyJ")).map(|_| {
        Hint::new(HintCode::OtherSource, "a query argument looks like a token; bearer_token_param_type does not have `query`, or its name is not access_token")
    })
}

/// An ID, refresh or logout token.
fn other_kind(claims: &Map<String, Value>) -> Hint {
    let typ = claims.get("typ").and_then(Value::as_str).unwrap_or_default();
    if typ.eq_ignore_ascii_case("refresh") || typ.eq_ignore_ascii_case("offline") {
        let text = "this is a refresh token, which is for the provider only: send the access token of the same answer";
        return Hint::new(HintCode::RefreshToken, text);
    }
    let text = "this is an ID token or another kind that is not for APIs: send the access token of the same answer";
    Hint::new(HintCode::IdToken, text)
}

/// A word that is required and nearly there, or in another claim.
fn near_word(code: HintCode, claims: &Map<String, Value>, path: &[String], required: &[String]) -> Option<Hint> {
    let mut value = Some(claims.get(path.first()?).unwrap_or(&Value::Null));
    for name in path.iter().skip(1) {
        value = value.and_then(|value| value.get(name));
    }
    let there = value.map(words).unwrap_or_default();
    let wanted: Vec<&str> = required.iter().flat_map(|entry| entry.split_whitespace()).collect();
    for word in &wanted {
        if let Some((near, why)) = there.iter().find_map(|there| Some((there, hints::near(there, word)?))) {
            return Some(Hint::new(code, format!("the token has `{}`, required is `{word}`: {why}", shown(near))));
        }
    }
    let elsewhere = claims.iter().find(|(name, value)| {
        Some(*name) != path.first() && words(value).iter().any(|there| wanted.contains(&there.as_str()))
    })?;
    Some(Hint::new(code, format!("the claim `{}` has it, but `{}` is looked at", shown(elsewhere.0), path.join("."))))
}

/// The words of a claim, and of what is inside it.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => text.split(' ').map(str::to_owned).collect(),
        Value::Array(items) => items.iter().flat_map(words).collect(),
        Value::Object(members) => members.values().flat_map(words).collect(),
        Value::Number(number) => vec![number.to_string()],
        Value::Bool(_) | Value::Null => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::oidc::Registry;
    use crate::auth::oidc::testing::{Idp, ed_jwk, told};
    use crate::auth::testing::{Sent, directory, get};
    use crate::auth::{Flow, Plugin};

    /// The last failed step's hint.
    async fn hint(plugin: &Oidc, sent: &Sent) -> (Option<HintCode>, String) {
        let directory = directory([], []);
        let request = sent.request(&directory);
        let (mut state, mut steps) = (State::default(), Vec::new());
        let refused = match plugin.trace(&request, &mut state, &mut steps) {
            Flow::Wait(decision) => decision.await.is_err(),
            Flow::Next | Flow::Stop(_) => panic!("it waits"),
        };
        assert!(refused);
        let step = steps.into_iter().rev().find(|step| step.verdict == Verdict::Failed).unwrap();
        (step.hint.as_ref().map(|hint| hint.code), step.hint.map(|hint| hint.text).unwrap_or_default())
    }

    #[tokio::test]
    async fn a_key_of_another_issuer_is_recognised() {
        let (one, two) = (Idp::start().await, Idp::start().await);
        two.publish(&[ed_jwk(&two.key, "two")]);
        let registry = Arc::new(Registry::default());
        let [plugin, other] = [&one, &two].map(|idp| idp.try_plugin(json!({}), &registry).unwrap().0);
        assert_eq!(told(&plugin, &get().bearer(&one.token(json!({})))).await, "ok");
        let good = two.token_by(&two.key, json!({ "kid": "two" }), json!({}));
        assert_eq!(told(&other, &get().bearer(&good)).await, "ok");

        let named = get().bearer(&one.token_by(&two.key, json!({ "kid": "two" }), json!({})));
        let (code, text) = hint(&plugin, &named).await;
        assert_eq!(code, Some(HintCode::KidOtherIssuer), "{text}");
        assert!(text.contains(&two.issuer), "{text}");
        let signed = get().bearer(&one.token_by(&two.key, json!({ "kid": "one" }), json!({})));
        assert_eq!(hint(&plugin, &signed).await.0, Some(HintCode::KidOtherIssuer));
        let (code, text) = hint(&plugin, &get().bearer(&good)).await;
        assert_eq!(code, Some(HintCode::OtherIssuer));
        assert!(text.ends_with("that issuer is configured for another route"), "{text}");

        let report = registry.report();
        let of = |issuer: &str| report.iter().find(|there| there["issuer"] == issuer).unwrap();
        let key = &of(&two.issuer)["keys"][0];
        assert_eq!((&key["kid"], &key["state"], &key["algorithm"]), (&json!("two"), &json!("active"), &json!("EdDSA")));
        assert_eq!(of(&one.issuer)["state"], "ok");
        assert!(of(&one.issuer)["next_refresh"].is_u64());
    }

    #[test]
    fn words_nearly_there_or_elsewhere() {
        let near = |claims: Value, path: &[&str], required: &str| {
            let own = path.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            near_word(HintCode::ScopeCase, claims.as_object().unwrap(), &own, &[required.to_owned()])
                .map(|hint| hint.text)
                .unwrap_or_default()
        };
        assert!(near(json!({"scope": "Read"}), &["scope"], "read").contains("upper and lower case"));
        assert!(near(json!({"scope": "x", "scp": ["read"]}), &["scope"], "read").starts_with("the claim `scp` has it"));
        let nested = json!({"realm_access": {"roles": ["Admin"]}});
        assert!(near(nested, &["realm_access", "roles"], "admin").contains("`Admin`"));
        assert_eq!(near(json!({"scope": "x"}), &["scope"], "read"), "");
    }
}
