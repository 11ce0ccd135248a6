//! Metadata of a protected resource (RFC 9728): where its tokens come from and what they need, made from the configuration.
//!
//! The resource's name is the configured one; what a client says of the host never gets into a document.

use bytes::Bytes;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::calls;
use super::issuers::Issuers;
use super::registry::Options;
use crate::auth::plugin::Place;
use crate::diagnostic::Diagnostic;

/// Where metadata is, in front of the resource's own path.
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// `protected_resource` of the configuration.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    resource: String,
    #[serde(default)]
    scopes_supported: Option<Vec<String>>,
    #[serde(default)]
    resource_name: Option<String>,
    #[serde(default)]
    resource_documentation: Option<String>,
}

/// A resource that tells what it needs.
#[derive(Debug)]
pub struct Resource {
    /// The document's URL, for challenges.
    pub metadata: Url,
    /// The same as requests bring it.
    pub place: Place,
    /// The document without the issuers, whose exact names their own documents say.
    members: Map<String, Value>,
}

impl Resource {
    /// `None` where nothing is configured.
    ///
    /// # Errors
    /// When the resource cannot be one.
    pub fn new(config: &super::config::Config, options: &Options) -> Result<Option<Self>, Vec<Diagnostic>> {
        let Some(given) = &config.protected_resource else { return Ok(None) };
        let path = "protected_resource.resource";
        let fault = |message: &str| vec![Diagnostic::error("invalid-value", path, message.to_owned())];
        let resource = Url::parse(&given.resource).map_err(|_| fault("not a URL"))?;
        if !calls::permitted(&resource, options.plain_http) {
            return Err(fault("a resource is reached over https"));
        }
        if resource.query().is_some() || resource.fragment().is_some() {
            return Err(fault("a resource has neither a query nor a fragment"));
        }
        let host = resource.host_str().ok_or_else(|| fault("a resource has a host"))?;
        let mut metadata = resource.clone();
        metadata.set_path(&format!("{WELL_KNOWN}{}", resource.path().trim_end_matches('/')));
        let place = Place { host: host.to_ascii_lowercase().into(), path: metadata.path().into() };
        let scopes = given.scopes_supported.clone().unwrap_or_else(|| {
            let mut words: Vec<String> = Vec::new();
            for word in config.scopes_required.iter().flat_map(|entry| entry.split_whitespace()) {
                if !words.iter().any(|there| there == word) {
                    words.push(word.to_owned());
                }
            }
            words
        });
        let methods = config.bearer_token_param_type.iter().filter(|kind| *kind != "cookie");
        let mut members = Map::new();
        members.insert("resource".into(), given.resource.clone().into());
        members.insert("authorization_servers".into(), json!([]));
        members.insert("bearer_methods_supported".into(), methods.cloned().collect());
        if !scopes.is_empty() {
            members.insert("scopes_supported".into(), scopes.into());
        }
        for (name, text) in
            [("resource_name", &given.resource_name), ("resource_documentation", &given.resource_documentation)]
        {
            members.extend(text.clone().map(|text| (name.to_owned(), text.into())));
        }
        Ok(Some(Self { metadata, place, members }))
    }

    /// The document.
    pub fn document(&self, issuers: &Issuers) -> Bytes {
        let mut members = self.members.clone();
        members.insert("authorization_servers".into(), issuers.names().into());
        Value::Object(members).to_string().into()
    }
}
