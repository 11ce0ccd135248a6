//! The schema table of every entity: the only source of its fields, defaults and checks.
//!
//! A table is read like Kong's: one line a field. What a field's type means is the engine's ([`crate::schema`]); whether a value is
//! unique, and whether a reference leads anywhere, is checked where the entities are held. The plugins' own fields come from
//! [`crate::plugins::tables`], which is plain data as well.

mod certificate;
mod consumer;
mod credentials;
mod pem;
mod plugin;
mod route;
mod service;
mod upstream;

use std::sync::LazyLock;

use super::Kind;
use crate::schema::Table;

static CERTIFICATES: LazyLock<Table> = LazyLock::new(certificate::certificates);
static CA_CERTIFICATES: LazyLock<Table> = LazyLock::new(certificate::ca_certificates);
static SNIS: LazyLock<Table> = LazyLock::new(certificate::snis);
static CONSUMERS: LazyLock<Table> = LazyLock::new(consumer::consumers);
static SERVICES: LazyLock<Table> = LazyLock::new(service::services);
static UPSTREAMS: LazyLock<Table> = LazyLock::new(upstream::upstreams);
static TARGETS: LazyLock<Table> = LazyLock::new(upstream::targets);
static ROUTES: LazyLock<Table> = LazyLock::new(route::routes);
static PLUGINS: LazyLock<Table> = LazyLock::new(plugin::plugins);
static JWT_SECRETS: LazyLock<Table> = LazyLock::new(credentials::jwt_secrets);
static KEYAUTH_CREDENTIALS: LazyLock<Table> = LazyLock::new(credentials::keyauth_credentials);
static OAUTH2_CREDENTIALS: LazyLock<Table> = LazyLock::new(credentials::oauth2_credentials);
static OAUTH2_TOKENS: LazyLock<Table> = LazyLock::new(credentials::oauth2_tokens);

/// The table of a kind of entity.
pub fn table(kind: Kind) -> &'static Table {
    match kind {
        Kind::Certificate => &CERTIFICATES,
        Kind::CaCertificate => &CA_CERTIFICATES,
        Kind::Consumer => &CONSUMERS,
        Kind::Service => &SERVICES,
        Kind::Upstream => &UPSTREAMS,
        Kind::Sni => &SNIS,
        Kind::Route => &ROUTES,
        Kind::Target => &TARGETS,
        Kind::JwtSecret => &JWT_SECRETS,
        Kind::KeyAuthCredential => &KEYAUTH_CREDENTIALS,
        Kind::Oauth2Credential => &OAUTH2_CREDENTIALS,
        Kind::Oauth2Token => &OAUTH2_TOKENS,
        Kind::Plugin => &PLUGINS,
    }
}

/// The table of a collection by its name in Kong.
pub fn by_name(collection: &str) -> Option<&'static Table> {
    Kind::from_collection(collection).map(table)
}

#[cfg(test)]
mod tests;
