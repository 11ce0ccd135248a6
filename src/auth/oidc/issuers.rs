//! Whose tokens a plugin takes, and which keys may verify them: an issuer's name picks its provider, and only that one's keys.
//!
//! Key ids are an issuer's own: two issuers that use the same one are never mixed up. Owns which provider there is for which
//! name; knows nothing of requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::calls;
use super::config::Config;
use super::provider::{Provider, Published, Source};
use super::registry::{Options, Registry};
use crate::diagnostic::Diagnostic;
use crate::jose::{Algorithm, KeySet, Lookup, VerificationKey};

/// The suffix of discovery documents (OpenID Connect Discovery 1.0 section 4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// The issuers of a plugin.
#[derive(Debug)]
pub struct Issuers {
    /// The configured one, whose endpoints are called.
    pub main: Arc<Provider>,
    /// `issuers_allowed`; empty where the configured one is the only one.
    named: HashMap<Box<str>, Arc<Provider>>,
    /// The configured issuer's keys out of the configuration.
    fixed: Option<KeySet>,
}

/// Whose a token is, by its `iss`.
#[derive(Debug)]
pub enum Whose<'a> {
    /// This provider's.
    Of(&'a Arc<Provider>),
    /// The configured one's perhaps; its document, which has its exact name, is not there yet.
    Unclear,
    Nobodys,
}

/// What is known about a token's key.
#[derive(Debug)]
pub enum Found<'a> {
    Key(&'a VerificationKey),
    OtherAlgorithm,
    UnknownKid,
    KidMissing,
    /// No keys have been fetched yet.
    NoKeys,
}

impl Issuers {
    /// # Errors
    /// What of the configuration cannot be used.
    pub fn new(config: &Config, registry: &Registry) -> Result<Self, Vec<Diagnostic>> {
        let sources = Sources::new(config, &registry.options)?;
        let provider = |source: Source| {
            let fault = |message| vec![Diagnostic::error("invalid-value", "issuer", message)];
            registry.provider(source).map_err(fault)
        };
        let main = provider(sources.main)?;
        let mut named: HashMap<Box<str>, _> = HashMap::new();
        for name in sources.aliases {
            named.insert(name.into(), main.clone());
        }
        for source in sources.others {
            named.insert(source.name.clone().into(), provider(source)?);
        }
        Ok(Self { main, named, fixed: fixed(config)? })
    }

    /// The names of all of them, as they call themselves.
    pub fn names(&self) -> Vec<String> {
        let main = self.main.published().as_deref().map(|published| published.metadata.issuer.clone());
        let mut names = vec![main.unwrap_or_else(|| self.main.source.name.clone())];
        let others = self.named.values().filter(|other| !Arc::ptr_eq(other, &self.main));
        let mut others: Vec<String> = others.map(|other| other.source.name.clone()).collect();
        others.sort();
        names.extend(others);
        names
    }

    /// Whose tokens of this name are. Names are compared as they are.
    pub fn whose(&self, issuer: &str) -> Whose<'_> {
        if !self.named.is_empty() {
            return self.named.get(issuer).map_or(Whose::Nobodys, Whose::Of);
        }
        let name = match self.main.published().as_deref() {
            Some(published) if self.main.source.discovery.is_some() => published.metadata.issuer == issuer,
            _ if self.main.source.name == issuer => true,
            // A token of another issuer need not wait for the document.
            _ if self.main.source.discovery.is_some() && self.main.source.is_named(issuer) => return Whose::Unclear,
            _ => false,
        };
        if name { Whose::Of(&self.main) } else { Whose::Nobodys }
    }

    /// The key for a token of this provider, in `published`, which is the provider's.
    pub fn find<'k>(
        &'k self,
        provider: &Arc<Provider>,
        published: Option<&'k Published>,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Found<'k> {
        let fixed = self.fixed.iter().filter(|_| Arc::ptr_eq(provider, &self.main));
        let fetched = published.iter().flat_map(|published| &published.keys);
        // What the document of another issuer names is that issuer's, also when it is configured a second time.
        let own = fetched.filter(|keys| !keys.extra || !self.is_anothers(provider, &keys.url));
        let mut found = if published.is_none() { Found::NoKeys } else { Found::UnknownKid };
        for set in fixed.chain(own.map(|keys| &*keys.set)) {
            match set.find(kid, algorithm) {
                Lookup::Key(key) => return Found::Key(key),
                Lookup::OtherAlgorithm => found = Found::OtherAlgorithm,
                Lookup::KidMissing if !matches!(found, Found::OtherAlgorithm | Found::NoKeys) => {
                    found = Found::KidMissing;
                }
                Lookup::KidMissing | Lookup::UnknownKid => {}
            }
        }
        found
    }

    /// Whether the keys of any of them have outlived the time that their provider gave them.
    pub fn is_stale(&self) -> bool {
        self.main.is_stale() || self.named.values().any(|provider| provider.is_stale())
    }

    fn is_anothers(&self, provider: &Arc<Provider>, url: &Url) -> bool {
        let others = self.named.values().chain([&self.main]).filter(|other| !Arc::ptr_eq(other, provider));
        others.into_iter().any(|other| {
            let published = other.published();
            published.iter().flat_map(|published| &published.keys).any(|keys| !keys.extra && keys.url == *url)
        })
    }
}

/// The issuer's keys that stand in the configuration.
fn fixed(config: &Config) -> Result<Option<KeySet>, Vec<Diagnostic>> {
    let Some(jwks) = &config.jwks else { return Ok(None) };
    let fault = |path: String, message: String| vec![Diagnostic::error("invalid-value", path, message)];
    let set = KeySet::parse(jwks.to_string().as_bytes()).map_err(|found| fault("jwks".into(), found.to_string()))?;
    // Somebody wrote them down one by one: one that is no use is a mistake.
    if let Some(rejected) = set.rejected.first() {
        let why = rejected.fault.as_ref().map_or_else(|| "a second key has its kid".to_owned(), ToString::to_string);
        return Err(fault(format!("jwks.keys[{}]", rejected.index + 1), why));
    }
    if set.is_empty() {
        return Err(fault("jwks".into(), "has no keys".into()));
    }
    Ok(Some(set))
}

/// What is to be fetched for a plugin.
struct Sources {
    main: Source,
    /// Names of `issuers_allowed` that the configured issuer goes by.
    aliases: Vec<String>,
    others: Vec<Source>,
}

impl Sources {
    fn new(config: &Config, options: &Options) -> Result<Self, Vec<Diagnostic>> {
        for (path, endpoint) in [
            ("token_endpoint", &config.token_endpoint),
            ("introspection_endpoint", &config.introspection_endpoint),
            ("userinfo_endpoint", &config.userinfo_endpoint),
        ] {
            endpoint.as_deref().map(|text| callable(path, text, options)).transpose()?;
        }
        let extra = config.extra_jwks_uris.iter().map(|text| callable("extra_jwks_uris", text, options));
        let extra = extra.collect::<Result<Vec<_>, _>>()?;
        let issuer = config.issuer.strip_suffix(WELL_KNOWN).unwrap_or(&config.issuer);
        let discovery = if config.using_pseudo_issuer { None } else { Some(document(issuer, "issuer", options)?) };
        let jwks = config.jwks_endpoint.as_deref().map(|text| callable("jwks_endpoint", text, options)).transpose()?;
        let allowed = &config.issuers_allowed;
        let same = |name: &&String| name.trim_end_matches('/') == issuer.trim_end_matches('/');
        // The configured one by another name, where it is not in the list: the first.
        let name = allowed.iter().find(same).or(allowed.first()).map_or(issuer, String::as_str);
        let main = Source {
            issuer: issuer.to_owned(),
            name: name.to_owned(),
            discovery,
            jwks,
            extra: extra.clone(),
            headers: pairs(&config.discovery_headers_names, &config.discovery_headers_values),
            way: way(config),
            cooldown: cooldown(config),
            plain: options.plain_http,
        };
        let mut all = Self { main, aliases: Vec::new(), others: Vec::new() };
        for name in allowed {
            let own = Url::parse(name).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
            if all.main.is_named(name) || !own {
                all.aliases.push(name.clone());
                continue;
            }
            // An issuer that cannot be asked may have its keys among the configured ones.
            let discovery = match document(name, "issuers_allowed", options) {
                _ if config.using_pseudo_issuer => None,
                Err(_) if !extra.is_empty() => None,
                found => Some(found?),
            };
            all.others.push(Source {
                issuer: name.clone(),
                name: name.clone(),
                discovery,
                jwks: None,
                headers: Vec::new(),
                ..all.main.clone()
            });
        }
        let keyless = config.using_pseudo_issuer && all.main.jwks.is_none() && config.jwks.is_none();
        if !all.others.is_empty() && !keyless {
            // They are there for the issuers beside the configured one, whose keys are known.
            all.main.extra.clear();
        }
        Ok(all)
    }
}

/// Where an issuer's document is.
fn document(issuer: &str, path: &str, options: &Options) -> Result<Url, Vec<Diagnostic>> {
    callable(path, &format!("{}{WELL_KNOWN}", issuer.trim_end_matches('/')), options)
}

/// A URL out of the configuration that may be called.
fn callable(path: &str, text: &str, options: &Options) -> Result<Url, Vec<Diagnostic>> {
    let fault = |message: &str| Diagnostic::error("invalid-value", path, message.to_owned());
    let url = Url::parse(text).map_err(|_| vec![fault("not a URL")])?;
    if calls::permitted(&url, options.plain_http) {
        Ok(url)
    } else {
        let help = "use https, or allow plain HTTP with the setting `idp_plain_http` where the network is trusted";
        Err(vec![fault("a provider beyond this machine is called over https only").help(help)])
    }
}

fn way(config: &Config) -> calls::Way {
    let proxy =
        |url: &Option<String>, authorization: &Option<String>| url.clone().map(|url| (url, authorization.clone()));
    let milliseconds = config.timeout.filter(|timeout| *timeout >= 1.0).unwrap_or(10_000.0).min(60_000.0);
    calls::Way {
        verify: config.ssl_verify.unwrap_or(true),
        keepalive: config.keepalive.unwrap_or(true),
        http_1_0: config.http_version == Some(1.0),
        timeout: Duration::from_secs_f64(milliseconds / 1000.0),
        http_proxy: proxy(&config.http_proxy, &config.http_proxy_authorization),
        https_proxy: proxy(&config.https_proxy, &config.https_proxy_authorization),
        no_proxy: config.no_proxy.clone(),
    }
}

fn cooldown(config: &Config) -> Duration {
    let seconds = config.rediscovery_lifetime.filter(|seconds| *seconds >= 0.0).unwrap_or(30.0).min(86_400.0);
    // Never none at all: a stream of made-up key ids must not become a stream of fetches.
    Duration::from_secs_f64(seconds.max(1.0))
}

pub fn pairs(names: &[String], values: &[String]) -> Vec<(String, String)> {
    names.iter().cloned().zip(values.iter().cloned()).collect()
}
