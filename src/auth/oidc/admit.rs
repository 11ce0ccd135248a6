//! What follows verification: rights, consumer, credential, headers; for the claims of whatever was accepted.

use std::sync::Arc;

use super::Oidc;
use super::attempt::{Accepted, Attempt, Halt};
use super::claims::text;
use super::present::hide;
use crate::auth::state::Credential;
use crate::auth::trace::{Check, Trace, shown};
use crate::auth::{Reason, Request};
use crate::entity::Consumer;
use crate::jose::Object;

/// What a claim says about the consumer.
enum Mapped {
    /// None is wanted.
    Unasked,
    Found(Arc<Consumer>),
    /// One is, and there is none.
    Missing,
}

impl Oidc {
    pub(super) fn admit<T: Trace>(
        &self,
        at: &mut Attempt<'_, T>,
        claims: &Object<'_>,
        accepted: Accepted<'_>,
    ) -> Result<(), Halt> {
        self.check_rights(at, claims)?;
        let consumer = self.map_consumer(at, claims)?;
        let credential = claims.path(&self.config.credential_claim).and_then(text);
        self.pass_on(at, claims, accepted);
        at.state.authenticate(consumer, credential.map(|text| Credential::Text(text.into())));
        Ok(())
    }

    /// Audience, scopes, groups, roles, and claims that may not be there.
    pub(super) fn check_rights<T: Trace>(&self, at: &mut Attempt<'_, T>, claims: &Object<'_>) -> Result<(), Halt> {
        for rule in &self.rules {
            if !rule.holds(claims) {
                at.failed(Check::Rights, || rule.told(claims));
                return Err(self.replies.forbidden(rule.reason).into());
            }
            at.passed(Check::Rights, || rule.told(claims));
        }
        if let Some(name) = self.config.claims_forbidden.iter().find(|name| claims.get(name).is_some()) {
            at.failed(Check::Rights, || format!("the claim `{name}` is there, and is in claims_forbidden"));
            return Err(self.replies.forbidden(Reason::ClaimRule).into());
        }
        Ok(())
    }

    fn map_consumer<T: Trace>(
        &self,
        at: &mut Attempt<'_, T>,
        claims: &Object<'_>,
    ) -> Result<Option<Arc<Consumer>>, Halt> {
        match self.find_consumer(at.request, claims) {
            Mapped::Unasked => Ok(None),
            Mapped::Found(consumer) => {
                at.passed(Check::Consumer, || {
                    let name = consumer.username.as_deref().or(consumer.custom_id.as_deref()).unwrap_or_default();
                    format!("{} {name}", consumer.id)
                });
                Ok(Some(consumer))
            }
            Mapped::Missing if self.config.consumer_optional => {
                at.noted(Check::Consumer, || "none, which consumer_optional allows");
                Ok(None)
            }
            Mapped::Missing => {
                at.failed(Check::Consumer, || {
                    let (claim, by) = (self.config.consumer_claim.join("."), self.config.consumer_by.join(", "));
                    match claims.path(&self.config.consumer_claim).and_then(text) {
                        Some(value) => format!("no consumer whose {by} is `{}`, the claim `{claim}`", shown(&value)),
                        None => format!("the token has no claim `{claim}` to find a consumer by"),
                    }
                });
                Err(self.replies.forbidden(Reason::ConsumerUnknown).into())
            }
        }
    }

    fn find_consumer(&self, request: &Request<'_>, claims: &Object<'_>) -> Mapped {
        if self.config.consumer_claim.is_empty() {
            return Mapped::Unasked;
        }
        let value = claims.path(&self.config.consumer_claim).and_then(text).filter(|value| !value.is_empty());
        let Some(value) = value else { return Mapped::Missing };
        let directory = request.directory;
        let found = self.config.consumer_by.iter().find_map(|by| match by.as_str() {
            "id" => uuid::Uuid::try_parse(&value).ok().and_then(|id| directory.consumer(id)),
            "custom_id" => directory.by_custom_id.get(&*value),
            "username" => directory.by_username.get(&*value).or_else(|| {
                // Costs a look at every consumer, so only after the exact name was not found.
                let same = |name: &str| name.to_lowercase() == value.to_lowercase();
                let ignoring = self.config.by_username_ignore_case;
                let mut all = directory.consumers.iter().filter(|_| ignoring);
                all.find(|consumer| consumer.username.as_deref().is_some_and(same))
            }),
            _ => None,
        });
        found.cloned().map_or(Mapped::Missing, Mapped::Found)
    }

    pub(super) fn pass_on<T: Trace>(&self, at: &mut Attempt<'_, T>, claims: &Object<'_>, accepted: Accepted<'_>) {
        let Accepted { token, refresh, place } = accepted;
        if self.config.hide_credentials {
            hide(at.request, at.state, place, self.config.bearer_token_cookie_name.as_deref());
        }
        self.passing.pass(at.request.headers, at.state, claims, token, refresh);
    }
}
