//! Answers of the introspection and userinfo endpoints: JSON, or a JWT that the provider has signed (RFC 9701, OpenID Connect
//! Core 1.0 section 5.3.2). A JWT is verified with the configured issuer's keys before anything in it counts.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::calls::{Answer, Fault};
use super::claims::Times;
use super::issuers::{Found, Issuers, Whose};
use super::provider::{Asked, PATIENCE};
use crate::jose::{Jws, Object, Value, VerificationKey};

/// How answers are taken.
#[derive(Clone, Debug)]
pub struct Answers {
    /// `introspection` or `userinfo`.
    pub endpoint: &'static str,
    /// What is asked for. When it is a JWT, nothing else is taken.
    pub accept: String,
    /// Whom a JWT must be for.
    pub client: Option<String>,
    /// Whether signatures are verified.
    pub verify: bool,
    pub times: Option<Times>,
    pub issuers: Arc<Issuers>,
    /// Keys for HMAC signatures.
    pub secrets: Arc<[VerificationKey]>,
}

impl Answers {
    /// The JSON object that was answered.
    ///
    /// # Errors
    /// When it is not of the type that was asked for, or a JWT that does not do.
    pub async fn read(&self, answer: Answer, now: u64) -> Result<Bytes, Fault> {
        let kind = answer.media_type();
        if kind == "application/jwt" || kind.ends_with("+jwt") {
            return self.verified(&answer.body, now).await;
        }
        if self.accept == "application/json" {
            return Ok(answer.json()?.body);
        }
        Err(Fault::Content("a JWT was asked for, and something else came"))
    }

    async fn verified(&self, body: &[u8], now: u64) -> Result<Bytes, Fault> {
        let token = body.trim_ascii();
        let mut scratch = Vec::new();
        let jws = Jws::parse(token, &mut scratch).map_err(|_| Fault::Content("the answer is no signed JWT"))?;
        if self.verify {
            self.check_signature(&jws).await?;
        }
        self.check_claims(&jws, now)?;
        let claims = match jws.claims.get("token_introspection") {
            Some(Value::Object(inner)) => inner,
            Some(_) => return Err(Fault::Content("the JWT's `token_introspection` is no object")),
            None if self.accept.ends_with("token-introspection+jwt") => {
                return Err(Fault::Content("the JWT has no `token_introspection`"));
            }
            None => &jws.claims,
        };
        let text = serde_json::to_vec(claims).map_err(|_| Fault::Content("the JWT's claims cannot be written"))?;
        Ok(text.into())
    }

    async fn check_signature(&self, jws: &Jws<'_>) -> Result<(), Fault> {
        if jws.algorithm.is_hmac() {
            let valid = self.secrets.iter().any(|key| jws.verify(key));
            return if valid { Ok(()) } else { Err(Fault::Content("the JWT's signature does not verify")) };
        }
        let main = &self.issuers.main;
        let kid = match jws.header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(&**kid),
            Some(_) => return Err(Fault::Content("the JWT's `kid` is not a text")),
        };
        let deadline = Instant::now() + PATIENCE;
        for _ in 0..3 {
            // Apart from the wait below: what is read here is not held across it.
            let verified = {
                let published = main.published();
                match self.issuers.find(main, published.as_deref(), kid, jws.algorithm) {
                    Found::Key(key) => Some(jws.verify(key)),
                    Found::UnknownKid | Found::NoKeys => None,
                    Found::OtherAlgorithm | Found::KidMissing => Some(false),
                }
            };
            match verified {
                Some(true) => return Ok(()),
                Some(false) => return Err(Fault::Content("the JWT's signature does not verify")),
                None => match main.ask(kid) {
                    Asked::Waiting(waiting) => waiting.wait(deadline).await,
                    Asked::Cooldown | Asked::KnownUnknown => break,
                },
            }
        }
        Err(Fault::Content("the issuer has no key for the JWT"))
    }

    fn check_claims(&self, jws: &Jws<'_>, now: u64) -> Result<(), Fault> {
        let introspection = self.endpoint == "introspection";
        let typ = jws.header.str("typ").map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
        if self.accept.ends_with("token-introspection+jwt")
            && !typ.is_some_and(|typ| typ.eq_ignore_ascii_case("token-introspection+jwt"))
        {
            return Err(Fault::Content("the JWT is not of the type token-introspection+jwt"));
        }
        let Some(times) = self.times else { return Ok(()) };
        let ours = match jws.claims.str("iss").map(|issuer| self.issuers.whose(issuer)) {
            Some(Whose::Of(provider)) => Arc::ptr_eq(provider, &self.issuers.main),
            Some(_) => false,
            None => !introspection && jws.claims.get("iss").is_none(),
        };
        if !ours {
            return Err(Fault::Content("the JWT is another issuer's"));
        }
        if !is_for(&jws.claims, self.client.as_deref(), introspection) {
            return Err(Fault::Content("the JWT is for another client"));
        }
        times.check(&jws.registered, now).map_err(|_| Fault::Content("the JWT has expired, or is not valid yet"))
    }
}

/// Whether `aud` names the client; where it need not be there, its absence does.
fn is_for(claims: &Object<'_>, client: Option<&str>, needed: bool) -> bool {
    let same = |value: &Value<'_>| value.as_str().is_some_and(|audience| Some(audience) == client);
    match claims.get("aud") {
        None => !needed,
        Some(Value::Array(all)) => all.iter().any(same),
        Some(one) => same(one),
    }
}
