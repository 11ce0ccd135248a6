//! `POST …/oauth2/authorize`: called by the trusted login page, answers where to send the browser.

use http::StatusCode;
use serde_json::{Map, Value};

use super::config::Pkce;
use super::reply::{Fault, endpoint_reply, unavailable};
use super::store::{Code, Digest, StoreFault};
use super::token::{random_token, seconds};
use super::{Oauth2, reply, scope};
use crate::auth::arguments::Arguments;
use crate::auth::{Reason, Rejection, Request};
use crate::entity::{Oauth2ClientType, Oauth2Credential};

/// Seconds a code can be redeemed.
const CODE_LIFE: u64 = 300;

impl Oauth2 {
    pub(super) async fn authorize(&self, request: &Request<'_>) -> Box<Rejection> {
        let arguments = Self::arguments(request);
        let state = arguments.text("state").filter(|state| !state.is_empty());
        let refused = |fault: &Fault| self.shared.metrics.refused("authorize", fault.error);
        let address = request.client.address;
        if self.shared.clients.is_over_budget(address, None) {
            return self.too_many_attempts("authorize");
        }
        if let Err(fault) = self.check_caller(request, &arguments) {
            refused(&fault);
            if fault.error == "invalid_provision_key" {
                self.shared.clients.failed(address, None);
            }
            return fault.reply(state);
        }
        let client_id = arguments.text("client_id").unwrap_or_default();
        let client = request.directory.oauth2.get(client_id);
        let Some((client, registered)) =
            client.and_then(|client| Some((client, client.redirect_uris.as_deref().filter(|uris| !uris.is_empty())?)))
        else {
            let fault = Fault::client();
            refused(&fault);
            return fault.reply(state);
        };
        // All of these are looked at, and the last fault is told.
        let mut fault = None;
        let response_type = self.response_type(&arguments).unwrap_or_else(|found| {
            fault = Some(found);
            ResponseType::Code
        });
        let scope = scope::requested(&self.config, &arguments).unwrap_or_else(|found| {
            fault = Some(found);
            None
        });
        let first = registered.first().map(String::as_str).unwrap_or_default();
        let mut redirect_uri = arguments.text("redirect_uri").unwrap_or(first);
        if !registered.iter().any(|there| there == redirect_uri) {
            fault = Some(Fault::new("invalid_request", MISMATCH));
            redirect_uri = first;
        }
        let challenge = match response_type {
            ResponseType::Code => self.challenge(&arguments, client).unwrap_or_else(|found| {
                fault = Some(found);
                None
            }),
            ResponseType::Token => None,
        };
        let service = self.bound_service(request).unwrap_or_else(|found| {
            fault = Some(found);
            None
        });
        let userid = arguments.text("authenticated_userid");
        let granted = Granted { client, service, scope, challenge, userid };
        let outcome = match fault {
            Some(fault) => {
                refused(&fault);
                Err(fault)
            }
            None => match self.grant(request, response_type, granted).await {
                Ok(members) => {
                    self.shared.metrics.issued(match response_type {
                        ResponseType::Code => "code",
                        ResponseType::Token => "implicit",
                    });
                    Ok(members)
                }
                Err(fault) => {
                    self.shared.metrics.refused("authorize", "store");
                    return unavailable(&fault);
                }
            },
        };
        let status = if outcome.is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        let reason = outcome.as_ref().err().map_or(Reason::Answered, |fault| fault.reason);
        let in_fragment = outcome.is_ok() && response_type == ResponseType::Token;
        let mut members = outcome.unwrap_or_else(|fault| fault.members());
        members.extend(state.map(|state| ("state".to_owned(), Value::from(state))));
        let mut reply = Map::new();
        reply.insert("redirect_uri".into(), with_parameters(redirect_uri, members, in_fragment).into());
        endpoint_reply(reason, status, reply)
    }

    /// HTTPS, the shared secret, and whom the login page vouches for.
    fn check_caller(&self, request: &Request<'_>, arguments: &Arguments) -> Result<(), Fault> {
        self.check_https(request)?;
        self.check_provision_key(arguments)?;
        check_userid(arguments)
    }

    pub(super) fn check_provision_key(&self, arguments: &Arguments) -> Result<(), Fault> {
        let given = arguments.text("provision_key").unwrap_or_default();
        match super::secret::verify_plain(&self.config.provision_key, given) {
            true => Ok(()),
            false => Err(Fault::new("invalid_provision_key", "Invalid provision_key")),
        }
    }

    fn response_type(&self, arguments: &Arguments) -> Result<ResponseType, Fault> {
        match arguments.text("response_type") {
            Some("code") if self.config.enable_authorization_code => Ok(ResponseType::Code),
            Some("token") if self.config.enable_implicit_grant => Ok(ResponseType::Token),
            _ => Err(Fault::new("unsupported_response_type", "Invalid response_type")),
        }
    }

    /// The PKCE challenge of the request (RFC 7636 section 4.3), normalised to base64url without padding.
    fn challenge(&self, arguments: &Arguments, client: &Oauth2Credential) -> Result<Option<Box<str>>, Fault> {
        let invalid = |description: &str| Err(Fault::new("invalid_request", description));
        let challenge = arguments.text("code_challenge").filter(|challenge| !challenge.is_empty());
        match arguments.get("code_challenge_method").map(|method| method.text().unwrap_or_default()) {
            Some(method) if !method.eq_ignore_ascii_case("S256") => {
                return invalid("code_challenge_method is not supported, must be S256");
            }
            Some(_) if challenge.is_none() => return invalid("code_challenge is required when code_method is present"),
            _ => {}
        }
        let Some(challenge) = challenge else {
            return match (self.config.pkce.unwrap_or_default(), client.client_type) {
                (Pkce::Lax | Pkce::Strict, Oauth2ClientType::Public) => {
                    invalid("code_challenge is required for public clients")
                }
                (Pkce::Strict, Oauth2ClientType::Confidential) => {
                    invalid("code_challenge is required for confidential clients")
                }
                _ => Ok(None),
            };
        };
        Ok(Some(challenge.trim_end_matches('=').replace('+', "-").replace('/', "_").into()))
    }

    async fn grant(
        &self,
        request: &Request<'_>,
        response_type: ResponseType,
        granted: Granted<'_>,
    ) -> Result<Vec<(String, Value)>, StoreFault> {
        let service = granted.service;
        if response_type == ResponseType::Token {
            let issue = super::token::Issue {
                credential: granted.client.id,
                service,
                userid: granted.userid.map(Into::into),
                scope: granted.scope,
                with_refresh: false,
                code: None,
            };
            return self.issue_new(request.now, issue).await;
        }
        let code = random_token();
        let kept = Code {
            digest: Digest::of(&code),
            credential: granted.client.id,
            service,
            plugin: self.id,
            userid: granted.userid.map(Into::into),
            scope: granted.scope,
            challenge: granted.challenge,
            expires_at: seconds(request.now, CODE_LIFE),
        };
        self.shared.tokens.put_code(kept).await?;
        Ok(vec![("code".into(), code.into())])
    }
}

/// Kong's words for a redirect URI that is not the client's.
pub(super) const MISMATCH: &str =
    "Invalid redirect_uri that does not match with any redirect_uri created with the application";

/// What the browser is to bring back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseType {
    Code,
    Token,
}

struct Granted<'a> {
    client: &'a Oauth2Credential,
    service: Option<uuid::Uuid>,
    scope: Option<Box<str>>,
    challenge: Option<Box<str>>,
    userid: Option<&'a str>,
}

pub(super) fn check_userid(arguments: &Arguments) -> Result<(), Fault> {
    match arguments.text("authenticated_userid").is_some_and(|userid| !userid.trim().is_empty()) {
        true => Ok(()),
        false => Err(reply::Fault::new("invalid_authenticated_userid", "Missing authenticated_userid parameter")),
    }
}

/// A registered URI with parameters: merged into its query and sorted, or as its fragment.
fn with_parameters(uri: &str, members: Vec<(String, Value)>, in_fragment: bool) -> String {
    let (base, query) = uri.split_once('?').unwrap_or((uri, ""));
    let mut pairs: Vec<(String, String)> = if in_fragment { Vec::new() } else { own_pairs(query) };
    for (name, value) in members {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        pairs.retain(|(there, _)| *there != name);
        pairs.push((name, value));
    }
    pairs.sort();
    let encoded: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    let encoded = encoded.join("&");
    match (in_fragment, query) {
        (false, _) => format!("{base}?{encoded}"),
        (true, "") => format!("{base}#{encoded}"),
        (true, query) => format!("{base}?{query}#{encoded}"),
    }
}

fn own_pairs(query: &str) -> Vec<(String, String)> {
    let owned = |(name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| (name.into(), value.into());
    crate::auth::arguments::form_pairs(query).map(owned).collect()
}

/// Everything but letters, digits and `_` as `%xx`, in lower case as Kong writes it.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02x}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_merged_sorted_and_escaped() {
        let code = vec![("code".to_owned(), Value::from("C")), ("state".to_owned(), Value::from("a b&"))];
        assert_eq!(with_parameters("http://a/cb?x=1", code.clone(), false), "http://a/cb?code=C&state=a%20b%26&x=1");
        assert_eq!(with_parameters("http://a/cb", code.clone(), false), "http://a/cb?code=C&state=a%20b%26");
        assert_eq!(with_parameters("http://a/cb?x=1", code, true), "http://a/cb?x=1#code=C&state=a%20b%26");
    }
}
