//! How the gateway authenticates itself at a provider's endpoints (RFC 6749 section 2.3, RFC 7523).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::RequestBuilder;
use serde_json::{Map, Value, json};

use super::config::Config;
use super::provider::Metadata;
use crate::diagnostic::Diagnostic;
use crate::jose::{Algorithm, SigningKey};

/// A way of authenticating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Basic,
    Post,
    SecretJwt,
    PrivateKeyJwt,
    None,
}

impl Method {
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "client_secret_basic" => Some(Self::Basic),
            "client_secret_post" => Some(Self::Post),
            "client_secret_jwt" => Some(Self::SecretJwt),
            "private_key_jwt" => Some(Self::PrivateKeyJwt),
            "none" => Some(Self::None),
            _ => None,
        }
    }
}

/// A client at the provider.
#[derive(Clone)]
pub struct Client {
    pub id: String,
    pub secret: Option<String>,
    /// What the provider says it takes, unless set.
    method: Option<Method>,
    algorithm: Option<Algorithm>,
    key: Option<(Arc<SigningKey>, Option<String>)>,
}

impl std::fmt::Debug for Client {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("id", &self.id).field("method", &self.method).finish_non_exhaustive()
    }
}

impl Client {
    /// The configured clients; secrets, methods, algorithms and keys are paired with the ids by their places.
    ///
    /// # Errors
    /// When a key cannot be used, or what a method needs is not there.
    pub fn configured(config: &Config) -> Result<Vec<Self>, Vec<Diagnostic>> {
        let ids = config.client_id.iter().enumerate();
        ids.map(|(place, id)| Self::configured_at(config, place, id)).collect()
    }

    fn configured_at(config: &Config, place: usize, id: &str) -> Result<Self, Vec<Diagnostic>> {
        let method = config.client_auth.get(place).and_then(|name| Method::from_name(name));
        let algorithm = config.client_alg.get(place).and_then(|name| Algorithm::from_name(name));
        let key = match config.client_jwk.get(place) {
            Some(jwk) => {
                let key = SigningKey::from_jwk(jwk, algorithm)
                    .map_err(|fault| vec![Diagnostic::error("invalid-value", "client_jwk", fault.to_string())])?;
                Some((Arc::new(key), jwk.get("kid").and_then(Value::as_str).map(str::to_owned)))
            }
            None => None,
        };
        let secret = config.client_secret.get(place).filter(|secret| !secret.is_empty()).cloned();
        let named = [&config.token_endpoint_auth_method, &config.introspection_endpoint_auth_method];
        let methods =
            || method.into_iter().chain(named.into_iter().flatten().filter_map(|name| Method::from_name(name)));
        if key.is_none() && methods().any(|method| method == Method::PrivateKeyJwt) {
            return Err(vec![Diagnostic::error("invalid-value", "client_jwk", "private_key_jwt needs a private key")]);
        }
        let needs = |method| matches!(method, Method::Basic | Method::Post | Method::SecretJwt);
        if secret.is_none() && methods().any(needs) {
            return Err(vec![Diagnostic::error(
                "invalid-value",
                "client_secret",
                "the client's method needs a secret",
            )]);
        }
        Ok(Self { id: id.to_owned(), secret, method, algorithm, key })
    }

    /// A client that a request brings, authenticating as the configured one would.
    pub fn presented(id: String, secret: String, config: &Config) -> Self {
        let method = config.client_auth.first().and_then(|name| Method::from_name(name));
        let method = method.filter(|method| matches!(method, Method::Basic | Method::Post | Method::SecretJwt));
        let algorithm = config.client_alg.first().and_then(|name| Algorithm::from_name(name));
        Self { id, secret: Some(secret), method, algorithm, key: None }
    }

    fn method_at(&self, metadata: &Metadata) -> Method {
        if let Some(method) = self.method {
            return method;
        }
        let Some(_) = &self.secret else {
            return if self.key.is_some() { Method::PrivateKeyJwt } else { Method::None };
        };
        let supported = metadata.token_endpoint_auth_methods_supported.as_deref().unwrap_or_default();
        let has = |name: &str| supported.iter().any(|there| there == name);
        if !has("client_secret_basic") && has("client_secret_post") { Method::Post } else { Method::Basic }
    }

    /// Puts the client's proof into a request and its form.
    ///
    /// # Errors
    /// When nothing could be signed.
    pub fn prove(
        &self,
        over: Option<Method>,
        metadata: &Metadata,
        endpoint: &str,
        now: u64,
        request: RequestBuilder,
        form: &mut Vec<(String, String)>,
    ) -> Result<RequestBuilder, &'static str> {
        let secret = self.secret.as_deref().unwrap_or_default();
        let mut put = |name: &str, value: &str| form.push((name.to_owned(), value.to_owned()));
        let assertion = match over.unwrap_or_else(|| self.method_at(metadata)) {
            Method::Basic => {
                let encode = |text| utf8_percent_encode(text, UNRESERVED).to_string();
                let pair = STANDARD.encode(format!("{}:{}", encode(&self.id), encode(secret)));
                return Ok(request.header("authorization", format!("Basic {pair}")));
            }
            Method::Post => {
                put("client_id", &self.id);
                put("client_secret", secret);
                return Ok(request);
            }
            Method::None => {
                put("client_id", &self.id);
                return Ok(request);
            }
            Method::SecretJwt => {
                let algorithm = self.algorithm.filter(|algorithm| algorithm.is_hmac()).unwrap_or(Algorithm::Hs256);
                let key =
                    SigningKey::from_secret(algorithm, secret.as_bytes()).map_err(|_| "no secret to sign with")?;
                self.assertion(&key, None, endpoint, now)?
            }
            Method::PrivateKeyJwt => {
                let (key, kid) = self.key.as_ref().ok_or("no key to sign with")?;
                self.assertion(key, kid.as_deref(), endpoint, now)?
            }
        };
        put("client_id", &self.id);
        put("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        put("client_assertion", &assertion);
        Ok(request)
    }

    fn assertion(&self, key: &SigningKey, kid: Option<&str>, endpoint: &str, now: u64) -> Result<String, &'static str> {
        let header: Map<String, Value> = kid.map(|kid| ("kid".to_owned(), kid.into())).into_iter().collect();
        let claims = json!({
            "iss": self.id, "sub": self.id, "aud": endpoint, "jti": uuid::Uuid::new_v4(), "iat": now, "exp": now + 60,
        });
        let claims = claims.as_object().ok_or("signing failed")?;
        key.sign(&header, claims).map_err(|_| "signing failed")
    }
}

/// `application/x-www-form-urlencoded` before Basic (RFC 6749 section 2.3.1).
const UNRESERVED: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
