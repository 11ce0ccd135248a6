//! The plugin's configuration; its table is `plugins::tables::oauth2`.

use serde::Deserialize;

/// What the `oauth2` plugin is told.
#[derive(Clone, Debug, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "Kong's fields")]
pub struct Config {
    /// Scopes that may be asked for; `None`: what is asked for is ignored.
    pub scopes: Option<Vec<String>>,
    pub mandatory_scope: bool,
    /// The secret shared with the login page or trusted backend.
    pub provision_key: String,
    /// Seconds an access token lives; 0 = for ever, and no refresh token.
    pub token_expiration: f64,
    pub enable_authorization_code: bool,
    pub enable_implicit_grant: bool,
    pub enable_client_credentials: bool,
    pub enable_password_grant: bool,
    pub hide_credentials: bool,
    pub accept_http_if_already_terminated: Option<bool>,
    pub anonymous: Option<String>,
    /// Tokens are good on every route whose plugin says so too, not on the issuing service alone.
    pub global_credentials: Option<bool>,
    pub auth_header_name: Option<String>,
    /// Seconds a token with a refresh token is kept; 0 = for ever.
    pub refresh_token_ttl: f64,
    pub reuse_refresh_token: bool,
    pub pkce: Option<Pkce>,
    pub realm: Option<String>,
}

/// Who has to use PKCE (RFC 7636).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pkce {
    /// Nobody.
    None,
    /// Public clients.
    #[default]
    Lax,
    /// Every client.
    Strict,
}
