//! `POST …/oauth2/token`: the grants.

use http::StatusCode;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::authorize::{MISMATCH, check_userid};
use super::config::Pkce;
use super::reply::{Fault, endpoint_reply, too_many_attempts, unavailable};
use super::store::{Code, Digest, Gone, Redemption, Spare, StoreFault, Token};
use super::{Oauth2, scope};
use crate::auth::arguments::{Argument, Arguments};
use crate::auth::{Reason, Rejection, Request};
use crate::entity::{Oauth2ClientType, Oauth2Credential};

/// Seconds within which a client that asks again with the same code is taken to have missed the answer.
const RETRY: u64 = 10;

/// A token to be issued.
pub(super) struct Issue {
    pub credential: Uuid,
    pub service: Option<Uuid>,
    pub userid: Option<Box<str>>,
    pub scope: Option<Box<str>>,
    pub with_refresh: bool,
    pub code: Option<Digest>,
}

/// Why an endpoint gives no token.
enum Refused {
    Fault(Fault),
    /// Too many failed attempts came before.
    Attempts,
    Store(StoreFault),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<StoreFault> for Refused {
    fn from(fault: StoreFault) -> Self {
        Self::Store(fault)
    }
}

type Members = Vec<(String, Value)>;

impl Oauth2 {
    pub(super) async fn issue(&self, request: &Request<'_>) -> Box<Rejection> {
        let arguments = Self::arguments(request);
        let state = arguments.text("state").filter(|state| !state.is_empty());
        let presented = self.presented(request, &arguments);
        let client_id = presented.client_id.as_deref();
        let (clients, address) = (&self.shared.clients, request.client.address);
        if clients.is_over_budget(address, client_id) {
            return self.too_many_attempts("token");
        }
        match self.token(request, &arguments, presented.client_id.as_deref(), &presented).await {
            Ok(mut members) => {
                self.shared.metrics.issued(arguments.text("grant_type").unwrap_or_default());
                members.extend(state.map(|state| ("state".to_owned(), Value::from(state))));
                endpoint_reply(Reason::Answered, StatusCode::OK, members.into_iter().collect::<Map<_, _>>())
            }
            Err(Refused::Store(fault)) => {
                self.shared.metrics.refused("token", "store");
                unavailable(&fault)
            }
            Err(Refused::Attempts) => self.too_many_attempts("token"),
            Err(Refused::Fault(fault)) => {
                self.shared.metrics.refused("token", fault.error);
                // Whatever a guess would get wrong; wrong secrets were counted where they were verified.
                let guessed = matches!(fault.error, "invalid_grant" | "invalid_provision_key")
                    || fault.reason == Reason::GrantUnknown;
                if guessed {
                    clients.failed(address, client_id);
                }
                fault.reply(state)
            }
        }
    }

    pub(super) fn too_many_attempts(&self, endpoint: &str) -> Box<Rejection> {
        self.shared.metrics.refused(endpoint, "attempts");
        too_many_attempts()
    }

    async fn token(
        &self,
        request: &Request<'_>,
        arguments: &Arguments,
        client_id: Option<&str>,
        presented: &super::client::Presented,
    ) -> Result<Members, Refused> {
        self.check_https(request)?;
        let grant = arguments.text("grant_type").unwrap_or_default();
        let enabled = match grant {
            "authorization_code" | "refresh_token" => true,
            "client_credentials" => self.config.enable_client_credentials,
            "password" => self.config.enable_password_grant,
            _ => false,
        };
        // Later faults replace earlier ones, as in Kong.
        let mut fault = (!enabled).then(|| Fault::new("unsupported_grant_type", "Invalid grant_type"));
        let client = client_id.and_then(|id| request.directory.oauth2.get(id));
        let challenged = || Fault { challenge: presented.from_header, ..Fault::client() };
        if grant != "client_credentials" {
            match client.and_then(|client| client.redirect_uris.as_deref()).filter(|uris| !uris.is_empty()) {
                None => fault = Some(challenged()),
                Some(registered) => {
                    let given = arguments.text("redirect_uri");
                    if given.is_some_and(|given| !registered.iter().any(|there| there == given)) {
                        fault = Some(Fault::new("invalid_request", MISMATCH));
                    }
                }
            }
        }
        let secret = presented.client_secret.as_deref();
        let verify = |client| self.verify_client(request, client, presented);
        match client.map(|client| client.client_type) {
            Some(Oauth2ClientType::Public) => {
                if secret.is_some_and(|secret| !secret.is_empty()) {
                    fault = Some(Fault::new("invalid_request", "client_secret is disallowed for public clients"));
                }
            }
            Some(Oauth2ClientType::Confidential) => {
                if !verify(client).await? {
                    fault = Some(challenged());
                }
            }
            None => drop(verify(None).await?),
        }
        if let Some(fault) = fault {
            return Err(fault.into());
        }
        match grant {
            "client_credentials" => self.client_credentials(request, arguments, client).await,
            // A grant that got here has a client: it was found with its redirect URIs.
            _ => match client {
                Some(client) if grant == "authorization_code" => {
                    self.authorization_code(request, arguments, client).await
                }
                Some(client) if grant == "password" => self.password(request, arguments, client).await,
                Some(client) => self.refresh(request, arguments, client).await,
                None => Err(Fault::client().into()),
            },
        }
    }

    /// Whether the secret is the client's; as slow for a client that does not exist.
    async fn verify_client(
        &self,
        request: &Request<'_>,
        client: Option<&std::sync::Arc<Oauth2Credential>>,
        presented: &super::client::Presented,
    ) -> Result<bool, Refused> {
        let client_id = presented.client_id.as_deref();
        let verified = self.shared.clients.verify(request.client.address, client_id, client, presented).await;
        verified.ok_or(Refused::Attempts)
    }

    async fn client_credentials(
        &self,
        request: &Request<'_>,
        arguments: &Arguments,
        client: Option<&std::sync::Arc<Oauth2Credential>>,
    ) -> Result<Members, Refused> {
        if arguments.get("authenticated_userid").is_some() {
            self.check_provision_key(arguments)?;
        }
        let client = client.ok_or_else(Fault::client)?;
        let scope = scope::requested(&self.config, arguments)?;
        let userid = arguments.text("authenticated_userid").map(Into::into);
        let service = self.bound_service(request)?;
        let issue = Issue { credential: client.id, service, userid, scope, with_refresh: false, code: None };
        Ok(self.issue_new(request.now, issue).await?)
    }

    async fn password(
        &self,
        request: &Request<'_>,
        arguments: &Arguments,
        client: &Oauth2Credential,
    ) -> Result<Members, Refused> {
        self.check_provision_key(arguments)?;
        check_userid(arguments)?;
        let scope = scope::requested(&self.config, arguments)?;
        let userid = arguments.text("authenticated_userid").map(Into::into);
        let service = self.bound_service(request)?;
        let issue = Issue { credential: client.id, service, userid, scope, with_refresh: true, code: None };
        Ok(self.issue_new(request.now, issue).await?)
    }

    async fn authorization_code(
        &self,
        request: &Request<'_>,
        arguments: &Arguments,
        client: &Oauth2Credential,
    ) -> Result<Members, Refused> {
        let invalid = || Refused::from(Fault::grant("Invalid code"));
        let tokens = &self.shared.tokens;
        let digest = Digest::of(arguments.text("code").ok_or_else(invalid)?);
        let Some(code) = tokens.code(&digest, request.now).await? else {
            // Presented again after it was redeemed: what it gave out may be in the wrong hands.
            let spare = Spare { credential: client.id, since: request.now.saturating_sub(RETRY) };
            tokens.revoke_issued_for(&digest, spare).await?;
            return Err(invalid());
        };
        let service = self.bound_service(request)?;
        let global = self.config.global_credentials.unwrap_or(false);
        let mine =
            code.credential == client.id && (global || code.service == service) && (!global || code.plugin == self.id);
        if !mine {
            return Err(invalid());
        }
        self.check_verifier(arguments, client, &code)?;
        let issue = Issue {
            credential: client.id,
            service,
            userid: code.userid,
            scope: code.scope,
            with_refresh: true,
            code: Some(digest),
        };
        let (token, members) = self.new_token(request.now, issue);
        // Taken with the issue, in one step: of two redemptions at once, one finds it gone.
        match tokens.redeem(&digest, token).await? {
            Redemption::Taken => Ok(members),
            Redemption::Gone => Err(invalid()),
        }
    }

    /// PKCE: the verifier belongs to the code's challenge (RFC 7636 section 4.6).
    fn check_verifier(&self, arguments: &Arguments, client: &Oauth2Credential, code: &Code) -> Result<(), Fault> {
        let invalid = |description: &str| Err(Fault::new("invalid_request", description));
        let demanded = match (self.config.pkce.unwrap_or_default(), client.client_type) {
            (Pkce::Strict, _) | (Pkce::Lax, Oauth2ClientType::Public) => true,
            (Pkce::None, _) | (Pkce::Lax, Oauth2ClientType::Confidential) => false,
        };
        if code.challenge.is_none() && !demanded {
            return match arguments.get("code_verifier") {
                // A verifier for a code without challenge is a downgrade (RFC 9700 section 2.1.1).
                Some(_) => Err(Fault::new("invalid_grant", "Invalid code")),
                None => Ok(()),
            };
        }
        let verifier = match arguments.get("code_verifier") {
            None => return invalid("code_verifier is required for PKCE authorization requests"),
            Some(Argument::Scalar | Argument::Other) => return invalid("code_verifier is not a string"),
            Some(Argument::Text(verifier)) => verifier,
        };
        if !(43..=128).contains(&verifier.len()) {
            return invalid("code_verifier must be between 43 and 128 characters");
        }
        let computed =
            base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, Digest::of(verifier).0);
        match code.challenge.as_deref().is_some_and(|challenge| super::secret::verify_plain(challenge, &computed)) {
            true => Ok(()),
            false => Err(Fault::new("invalid_grant", "Invalid code")),
        }
    }

    async fn refresh(
        &self,
        request: &Request<'_>,
        arguments: &Arguments,
        client: &Oauth2Credential,
    ) -> Result<Members, Refused> {
        let invalid = || Refused::from(Fault::grant("Invalid refresh_token"));
        let tokens = &self.shared.tokens;
        let presented = arguments.text("refresh_token").ok_or_else(invalid)?;
        let refresh = Digest::of(presented);
        let service = self.bound_service(request)?;
        let global = self.config.global_credentials.unwrap_or(false);
        let old = tokens.by_refresh(&refresh).await?;
        let old =
            old.filter(|old| (global || old.service == service) && !old.is_purged(request.now)).ok_or_else(invalid)?;
        if old.credential != client.id {
            return Err(Fault { reason: Reason::GrantUnknown, ..Fault::client() }.into());
        }
        if !scope::still_allowed(&self.config, old.scope.as_deref()) {
            return Err(Fault::new("invalid_scope", "Scope mismatch").into());
        }
        let issue = Issue {
            credential: old.credential,
            service: old.service,
            userid: old.userid.clone(),
            scope: old.scope.clone(),
            with_refresh: true,
            code: old.code,
        };
        let (mut new, mut members) = self.new_token(request.now, issue);
        if self.config.reuse_refresh_token {
            new.id = old.id;
            new.refresh = old.refresh;
            members.retain(|(name, _)| name != "refresh_token");
            members.push(("refresh_token".into(), presented.into()));
        }
        // Of two refreshes at once with a token that is used up, one finds it gone.
        match tokens.rotate(&refresh, new).await? {
            true => Ok(members),
            false => Err(invalid()),
        }
    }

    /// Issues a token; what the answer says.
    pub(super) async fn issue_new(&self, now: u64, issue: Issue) -> Result<Members, StoreFault> {
        let (token, members) = self.new_token(now, issue);
        self.shared.tokens.issue(token).await?;
        Ok(members)
    }

    fn new_token(&self, now: u64, issue: Issue) -> (Token, Members) {
        let access = random_token();
        let expires_in = whole(self.config.token_expiration);
        let refresh = (issue.with_refresh && expires_in > 0).then(random_token);
        let refresh_ttl = whole(self.config.refresh_token_ttl);
        let token = Token {
            id: Uuid::new_v4(),
            access: Digest::of(&access),
            refresh: refresh.as_deref().map(Digest::of),
            credential: issue.credential,
            service: issue.service,
            userid: issue.userid,
            scope: issue.scope,
            created_at: now,
            expires_in,
            purge_at: (expires_in > 0 && refresh_ttl > 0).then(|| seconds(now, refresh_ttl)),
            code: issue.code,
            gone: Gone::default(),
        };
        let mut members: Members = vec![("access_token".into(), access.into()), ("token_type".into(), "bearer".into())];
        if expires_in > 0 {
            members.push(("expires_in".into(), expires_in.into()));
        }
        members.extend(refresh.map(|refresh| ("refresh_token".to_owned(), Value::from(refresh))));
        (token, members)
    }
}

/// Seconds of a configuration number; a fraction counts as a whole one.
fn whole(seconds: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the schema bounds it; `as` saturates")]
    let whole = seconds.ceil() as u64;
    whole
}

/// A point in time that cannot wrap.
pub(super) fn seconds(now: u64, later: u64) -> u64 {
    now.saturating_add(later)
}

/// 32 letters and digits, as Kong's tokens: 190 bits.
pub(super) fn random_token() -> String {
    crate::schema::token()
}
