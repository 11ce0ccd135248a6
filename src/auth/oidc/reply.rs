//! Refusals: Kong's bodies, RFC 6750's challenges, with the place of RFC 9728's metadata where that is set.

use std::borrow::Cow;

use http::header::{LOCATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use super::config::Config;
use super::resource::Resource;
use crate::auth::challenge::quoted;
use crate::auth::{Reason, Rejection};
use crate::diagnostic::Diagnostic;

#[derive(Debug)]
pub struct Replies {
    unauthorized: Cow<'static, str>,
    forbidden: Cow<'static, str>,
    /// Whether bodies say why.
    display: bool,
    /// Without a credential, with a bad one, and with one that is not enough.
    missing: HeaderValue,
    invalid: HeaderValue,
    insufficient: HeaderValue,
    unauthorized_location: Option<HeaderValue>,
    forbidden_location: Option<HeaderValue>,
}

impl Replies {
    /// # Errors
    /// When something cannot stand in a header.
    pub fn new(config: &Config, resource: Option<&Resource>) -> Result<Self, Vec<Diagnostic>> {
        let fault = |path: &str| vec![Diagnostic::error("invalid-value", path, "cannot stand in a header")];
        let host = reqwest::Url::parse(&config.issuer).ok().and_then(|url| url.host_str().map(str::to_owned));
        let realm = quoted(&host.unwrap_or_else(|| config.issuer.clone()));
        let challenge = |error: &str| {
            let error = if error.is_empty() || config.expose_error_code == Some(false) {
                String::new()
            } else {
                format!(", error=\"{error}\"")
            };
            let metadata =
                resource.map(|resource| format!(", resource_metadata={}", quoted(resource.metadata.as_str())));
            let text = format!("Bearer realm={realm}{error}{}", metadata.unwrap_or_default());
            HeaderValue::from_str(&text).map_err(|_| fault("issuer"))
        };
        let location = |path: &str, uris: &[String]| {
            uris.first().map(|uri| HeaderValue::from_str(uri)).transpose().map_err(|_| fault(path))
        };
        let text = |given: &Option<String>, default| given.clone().map_or(Cow::Borrowed(default), Cow::Owned);
        Ok(Self {
            unauthorized: text(&config.unauthorized_error_message, "Unauthorized"),
            forbidden: text(&config.forbidden_error_message, "Forbidden"),
            display: config.display_errors,
            missing: challenge("")?,
            invalid: challenge("invalid_token")?,
            insufficient: challenge("insufficient_scope")?,
            unauthorized_location: location("unauthorized_redirect_uri", &config.unauthorized_redirect_uri)?,
            forbidden_location: location("forbidden_redirect_uri", &config.forbidden_redirect_uri)?,
        })
    }

    /// `presented`: there was a credential.
    pub fn unauthorized(&self, reason: Reason, presented: bool) -> Box<Rejection> {
        if let Some(location) = &self.unauthorized_location {
            return redirect(reason, location);
        }
        let challenge = if presented { &self.invalid } else { &self.missing };
        Rejection::message(reason, StatusCode::UNAUTHORIZED, self.text(&self.unauthorized, reason))
            .header(WWW_AUTHENTICATE, challenge.clone())
    }

    pub fn forbidden(&self, reason: Reason) -> Box<Rejection> {
        if let Some(location) = &self.forbidden_location {
            return redirect(reason, location);
        }
        Rejection::message(reason, StatusCode::FORBIDDEN, self.text(&self.forbidden, reason))
            .header(WWW_AUTHENTICATE, self.insufficient.clone())
    }

    #[expect(clippy::ptr_arg, reason = "a static text is given on without a copy")]
    fn text(&self, message: &Cow<'static, str>, reason: Reason) -> Cow<'static, str> {
        if self.display { format!("{message} ({})", reason.label()).into() } else { message.clone() }
    }
}

fn redirect(reason: Reason, location: &HeaderValue) -> Box<Rejection> {
    Rejection::message(reason, StatusCode::FOUND, "").header(LOCATION, location.clone())
}
