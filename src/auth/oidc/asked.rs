//! Tokens that the provider is asked about: what introspection and the userinfo endpoint say of them.

use std::sync::Arc;

use super::Oidc;
use super::answers::Answers;
use super::attempt::{Accepted, Attempt, Halt, Need};
use super::claims::Times;
use super::issuers::pairs;
use super::provider::Metadata;
use super::remote::{self, Told};
use crate::auth::trace::{Check, Trace};
use crate::auth::{Reason, Verification};
use crate::jose::{Object, Registered};

impl Oidc {
    /// Decides about an opaque token by introspection.
    pub(super) fn by_introspection<T: Trace>(
        &self,
        at: &mut Attempt<'_, T>,
        accepted: Accepted<'_>,
    ) -> Result<(), Halt> {
        let text = self.introspected(at, accepted.token)?;
        self.admit_told(at, &text, accepted)
    }

    /// Decides about an opaque token by what the userinfo endpoint says to it.
    pub(super) fn by_user_info<T: Trace>(&self, at: &mut Attempt<'_, T>, accepted: Accepted<'_>) -> Result<(), Halt> {
        let told = match &at.have.user_info {
            Some(told) => told.clone(),
            None => self.ask_user_info(at, accepted.token)?,
        };
        let text = self.claims_of(at, told)?;
        self.admit_told(at, &text, accepted)
    }

    /// What introspection says about a token, if it is good.
    pub(super) fn introspected<T: Trace>(&self, at: &mut Attempt<'_, T>, token: &str) -> Result<Arc<[u8]>, Halt> {
        let told = match &at.have.introspected {
            Some(told) => told.clone(),
            None => self.ask_introspection(at, token)?,
        };
        self.claims_of(at, told)
    }

    fn admit_told<T: Trace>(&self, at: &mut Attempt<'_, T>, text: &[u8], accepted: Accepted<'_>) -> Result<(), Halt> {
        let Ok(claims) = Object::parse(text) else {
            return Err(self.refuse(at, Check::Provider, Reason::IdpError, || "the answer is not a JSON object"));
        };
        if let Some(times) = self.times {
            let times = Times { expires: false, ..times };
            let now = at.request.now;
            match times.check(&Registered::of(true, &claims), now) {
                Ok(()) => at.passed(Check::Claims, || times.told(&claims, now)),
                Err(reason) => return Err(self.refuse(at, Check::Claims, reason, || times.told(&claims, now))),
            }
        }
        self.admit(at, &claims, accepted)
    }

    fn claims_of<T: Trace>(&self, at: &mut Attempt<'_, T>, told: Told) -> Result<Arc<[u8]>, Halt> {
        at.state.verification = Some(Verification {
            algorithm: None,
            took: std::time::Duration::ZERO,
            cached: false,
            valid: matches!(told, Told::Claims(_)),
        });
        match told {
            Told::Claims(text) => {
                at.passed(Check::Provider, || "the provider knows the token");
                Ok(text)
            }
            Told::Refused => Err(self.refuse(
                at,
                Check::Provider,
                Reason::OpaqueUnknown,
                || "the provider says the token is not good",
            )),
            Told::Failed => {
                Err(self.refuse(at, Check::Provider, Reason::IdpError, || "the provider could not be asked, or failed"))
            }
        }
    }

    fn ask_introspection<T: Trace>(&self, at: &mut Attempt<'_, T>, token: &str) -> Result<Told, Halt> {
        let Some(client) = self.chosen(at).cloned() else {
            return Err(self.misconfigured(at, "introspection needs client_id and client_secret"));
        };
        let key = self.key("introspection", &[&client.id, token]);
        if self.config.cache_introspection != Some(false)
            && let Some(told) = self.lent.registry.told.get(&key)
        {
            return Ok(told);
        }
        let configured = self.config.introspection_endpoint.as_deref();
        let mut call = self.remote(at, token, configured, |metadata| metadata.introspection_endpoint.as_deref())?;
        call.answers = self.answers("introspection", self.config.introspection_accept.as_deref(), Some(&client.id));
        call.headers = pairs(&self.config.introspection_headers_names, &self.config.introspection_headers_values);
        call.arguments = pairs(&self.config.introspection_post_args_names, &self.config.introspection_post_args_values);
        Err(Halt::Need(Box::new(Need::Introspection { key, call, client })))
    }

    fn ask_user_info<T: Trace>(&self, at: &mut Attempt<'_, T>, token: &str) -> Result<Told, Halt> {
        let key = self.key("userinfo", &[token]);
        if self.config.cache_user_info != Some(false)
            && let Some(told) = self.lent.registry.told.get(&key)
        {
            return Ok(told);
        }
        let configured = self.config.userinfo_endpoint.as_deref();
        let mut call = self.remote(at, token, configured, |metadata| metadata.userinfo_endpoint.as_deref())?;
        let client = self.clients.first().map(|client| &*client.id);
        call.answers = self.answers("userinfo", self.config.userinfo_accept.as_deref(), client);
        call.headers = pairs(&self.config.userinfo_headers_names, &self.config.userinfo_headers_values);
        call.arguments = pairs(&self.config.userinfo_query_args_names, &self.config.userinfo_query_args_values);
        Err(Halt::Need(Box::new(Need::UserInfo { key, call })))
    }

    /// How answers of an endpoint are taken.
    fn answers(&self, endpoint: &'static str, accept: Option<&str>, client: Option<&str>) -> Answers {
        Answers {
            endpoint,
            accept: accept.unwrap_or("application/json").to_owned(),
            client: client.map(str::to_owned),
            verify: self.config.verify_signature != Some(false)
                && !self.config.ignore_signature.iter().any(|name| name == endpoint),
            times: self.times.map(|times| Times { expires: false, max_age: None, ..times }),
            issuers: self.issuers.clone(),
            secrets: self.secrets.clone(),
        }
    }

    fn remote<T: Trace>(
        &self,
        at: &mut Attempt<'_, T>,
        token: &str,
        configured: Option<&str>,
        named: impl FnOnce(&Metadata) -> Option<&str>,
    ) -> Result<Box<remote::Call>, Halt> {
        let (endpoint, metadata) = self.endpoint(at, configured, named)?;
        let provider = &self.issuers.main;
        Ok(Box::new(remote::Call {
            http: provider.http().clone(),
            endpoint,
            metadata,
            token: token.to_owned(),
            headers: Vec::new(),
            arguments: Vec::new(),
            answers: self.answers("", None, None),
            series: provider.series.clone(),
            lives: self.lives,
            now: at.request.now,
        }))
    }
}
