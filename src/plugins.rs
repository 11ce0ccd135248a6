//! The registry of plugins: name, priority, and how a configuration becomes a [`crate::auth::Plugin`].
//!
//! A new plugin is one file with its table under `plugins/tables`, one file that implements `auth::Plugin`, and one line here.
//! Must not know snapshots or Pingora.

pub mod request_termination;
pub mod tables;
pub mod unusable;

use std::sync::Arc;

use crate::auth;
use crate::auth::jwt::{self, Jwt};
use crate::auth::key_auth::KeyAuth;
use crate::auth::oauth2::{self, Oauth2};
use crate::auth::oidc::{self, Oidc};
use crate::auth::verified::Verified;
use crate::diagnostic::Diagnostic;
use crate::entity;

use self::request_termination::RequestTermination;

/// What outlives a snapshot and is lent to plugins when they are compiled.
#[derive(Clone, Debug)]
pub struct Registries {
    /// Longest token that is looked at, in bytes.
    pub token_limit: usize,
    /// Signatures of tokens that were verified before.
    pub verified: Arc<Verified>,
    /// Issued tokens, and what is remembered of clients.
    pub oauth2: oauth2::Shared,
    /// Identity providers, and what they said.
    pub oidc: Arc<oidc::Registry>,
}

impl Registries {
    /// Empty ones, over a store of tokens.
    pub fn new(tokens: Arc<dyn oauth2::TokenStore>) -> Self {
        Self {
            token_limit: 16 * 1024,
            verified: Arc::default(),
            oauth2: oauth2::Shared::new(tokens),
            oidc: Arc::default(),
        }
    }
}

/// Compiles one plugin entity; its configuration is complete and has passed its table. Adds what is to be warned of.
type Compile = fn(&entity::Plugin, &Registries, &mut Vec<Diagnostic>) -> Result<Arc<dyn auth::Plugin>, Vec<Diagnostic>>;

/// One supported plugin.
#[derive(Debug)]
pub struct Registered {
    pub name: &'static str,
    /// Kong's: plugins of a request run from high to low.
    pub priority: i32,
    /// Whether it authenticates: its results are counted in `portcullis_auth_requests_total`.
    pub authenticates: bool,
    compile: Compile,
}

/// Every supported plugin.
pub static PLUGINS: &[Registered] = &[
    Registered {
        name: "jwt",
        priority: 1450,
        authenticates: true,
        compile: |plugin, registries, _| {
            let lent = jwt::Lent { token_limit: registries.token_limit, verified: registries.verified.clone() };
            compiled(Jwt::compile(&plugin.config, lent))
        },
    },
    Registered {
        name: "key-auth",
        priority: 1250,
        authenticates: true,
        compile: |plugin, _, _| compiled(KeyAuth::compile(&plugin.config)),
    },
    Registered {
        name: "oauth2",
        priority: 1400,
        authenticates: true,
        compile: |plugin, registries, _| Ok(Arc::new(Oauth2::compile(plugin, &registries.oauth2)?)),
    },
    Registered {
        name: "openid-connect",
        priority: 1050,
        authenticates: true,
        compile: |plugin, registries, warnings| {
            let lent = oidc::Lent {
                token_limit: registries.token_limit,
                verified: registries.verified.clone(),
                registry: registries.oidc.clone(),
                tokens: registries.oauth2.tokens.clone(),
            };
            compiled(Oidc::compile(&plugin.config, lent, warnings))
        },
    },
    Registered {
        name: "request-termination",
        priority: 2,
        authenticates: false,
        compile: |plugin, _, _| compiled(RequestTermination::compile(&plugin.config)),
    },
];

fn compiled<P: auth::Plugin + 'static>(
    plugin: Result<P, Vec<Diagnostic>>,
) -> Result<Arc<dyn auth::Plugin>, Vec<Diagnostic>> {
    Ok(Arc::new(plugin?))
}

/// The plugin of a name, if it is enabled.
pub fn find(name: &str) -> Option<&'static Registered> {
    tables::plugin_table(name)?;
    PLUGINS.iter().find(|plugin| plugin.name == name)
}

impl Registered {
    /// Warnings, too, have their path inside `config`.
    ///
    /// # Errors
    /// What of the configuration cannot be used, with the path inside `config`.
    pub fn compile(
        &self,
        plugin: &entity::Plugin,
        registries: &Registries,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<Arc<dyn auth::Plugin>, Vec<Diagnostic>> {
        (self.compile)(plugin, registries, warnings)
    }
}
