//! Configurations that are valid and yet a trap, each with its remedy.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;
use uuid::Uuid;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::Places;
use crate::diagnostic::Diagnostic;
use crate::entity::{Dataset, JwtSecret, Kind, Plugin, Protocol, Route};
use crate::jose::Algorithm;
use crate::schema::Now;

/// Warns of traps. `path` of the warnings names the entity; [`super::Loaded::lint`] knows its place in the file.
pub fn lint(dataset: &Dataset, now: Now) -> Vec<Diagnostic> {
    placed(dataset, now, None)
}

pub fn placed(dataset: &Dataset, now: Now, places: Option<&Places>) -> Vec<Diagnostic> {
    let mut linter = Linter { dataset, now, found: Vec::new() };
    for plugin in dataset.plugins.iter().filter(|plugin| plugin.enabled) {
        linter.plugin(plugin);
    }
    linter.plain_http();
    linter.credentials();
    linter.certificates();
    match places {
        Some(places) => places.place(linter.found),
        None => linter.found.into_iter().map(|(_, _, _, diagnostic)| diagnostic).collect(),
    }
}

/// Warns of the traps of certain plugins alone.
pub fn lint_plugins(dataset: &Dataset, now: Now, wanted: &dyn Fn(Uuid) -> bool) -> Vec<(Uuid, Diagnostic)> {
    let mut linter = Linter { dataset, now, found: Vec::new() };
    for plugin in dataset.plugins.iter().filter(|plugin| plugin.enabled && wanted(plugin.id)) {
        linter.plugin(plugin);
    }
    linter.found.into_iter().map(|(_, id, _, diagnostic)| (id, diagnostic)).collect()
}

/// Plugins that authenticate, as far as the lint knows their fields.
const AUTHENTICATING: &[&str] = &["jwt", "key-auth", "oauth2", "openid-connect"];
/// How many credentials are named one by one for the same trap.
const NAMED: usize = 20;
/// Days before its end from which on a certificate is warned of.
const ENDING: i64 = 30;
const DAY: i64 = 86_400;

struct Linter<'d> {
    dataset: &'d Dataset,
    now: Now,
    found: Vec<(Kind, Uuid, String, Diagnostic)>,
}

impl Linter<'_> {
    #[expect(clippy::too_many_arguments, reason = "the parts of one message")]
    fn say(&mut self, kind: Kind, id: Uuid, name: &str, field: &str, code: &'static str, message: String, help: &str) {
        let dot = if field.is_empty() { "" } else { "." };
        let path = format!("{}[{name}]{dot}{field}", kind.collection());
        self.found.push((kind, id, field.to_owned(), Diagnostic::warning(code, path, message).help(help)));
    }

    fn say_plugin(&mut self, plugin: &Plugin, field: &str, code: &'static str, message: String, help: &str) {
        let name = format!("{}{}", plugin.name, self.scope(plugin));
        self.say(Kind::Plugin, plugin.id, &name, field, code, message, help);
    }

    fn plugin(&mut self, plugin: &Plugin) {
        if !AUTHENTICATING.contains(&plugin.name.as_str()) {
            return;
        }
        let config = &plugin.config;
        let texts = |field: &str| -> Vec<&str> {
            config
                .get(field)
                .and_then(Value::as_array)
                .map(|list| list.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default()
        };
        let is = |field: &str| config.get(field).and_then(Value::as_bool);
        match plugin.name.as_str() {
            "jwt" => {
                if !texts("claims_to_verify").contains(&"exp") {
                    let message = "'exp' is not verified: a token is good for ever".to_owned();
                    self.say_plugin(
                        plugin,
                        "config.claims_to_verify",
                        "exp-not-verified",
                        message,
                        "add claims_to_verify: [exp]",
                    );
                }
                let names = texts("uri_param_names");
                if let Some(first) = names.first() {
                    let message = format!(
                        "tokens are accepted from the query ('?{first}=…'), which logs, histories and referrers keep"
                    );
                    self.say_plugin(
                        plugin,
                        "config.uri_param_names",
                        "token-in-query",
                        message,
                        "set uri_param_names: [] unless clients need it",
                    );
                }
            }
            "key-auth" => {
                let in_query = is("key_in_query") == Some(true);
                if in_query {
                    let message =
                        "keys are accepted from the query, which logs, histories and referrers keep".to_owned();
                    self.say_plugin(
                        plugin,
                        "config.key_in_query",
                        "token-in-query",
                        message,
                        "set key_in_query: false unless clients need it",
                    );
                }
            }
            "openid-connect" => {
                if is("verify_claims") == Some(false) {
                    let message = "'exp' and the other standard claims are not verified".to_owned();
                    self.say_plugin(
                        plugin,
                        "config.verify_claims",
                        "exp-not-verified",
                        message,
                        "remove verify_claims: false",
                    );
                }
                if texts("bearer_token_param_type").contains(&"query") {
                    let message =
                        "tokens are accepted from the query, which logs, histories and referrers keep".to_owned();
                    let help = "set bearer_token_param_type: [header] unless clients need it";
                    self.say_plugin(plugin, "config.bearer_token_param_type", "token-in-query", message, help);
                }
            }
            _ => {}
        }
        match config.get("anonymous").and_then(Value::as_str) {
            Some(anonymous) => self.anonymous(plugin, anonymous),
            None => self.any_consumer(plugin),
        }
    }

    fn anonymous(&mut self, plugin: &Plugin, anonymous: &str) {
        let id = Uuid::try_parse(anonymous).ok();
        let by_id = id.and_then(|id| self.dataset.consumers.get(&id));
        let found = by_id
            .or_else(|| self.dataset.consumers.iter().find(|consumer| consumer.username.as_deref() == Some(anonymous)));
        let Some(consumer) = found.map(|consumer| consumer.id) else {
            let message = format!(
                "there is no consumer '{anonymous}': requests without a valid credential are answered with an error"
            );
            let help = "declare the consumer, or correct its name";
            return self.say_plugin(plugin, "config.anonymous", "unknown-anonymous", message, help);
        };
        let terminated = self.dataset.plugins.iter().any(|other| {
            other.enabled
                && other.name == "request-termination"
                && other.consumer.is_some_and(|to| to.id == consumer)
                && other.route.is_none_or(|to| plugin.route.is_some_and(|route| route.id == to.id))
                && other.service.is_none_or(|to| self.service_of(plugin) == Some(to.id))
        });
        if !terminated {
            let message = format!("requests without a valid credential pass, as consumer '{anonymous}'");
            let help = "if that is not meant, add a request-termination plugin (status_code: 401) for that consumer";
            self.say_plugin(plugin, "config.anonymous", "anonymous-open", message, help);
        }
    }

    /// Authentication says who calls, not whether they may: without anything else, every consumer opens every route.
    fn any_consumer(&mut self, plugin: &Plugin) {
        let (consumers, what) = match plugin.name.as_str() {
            "jwt" => {
                (distinct(self.dataset.jwt_secrets.iter().map(|credential| credential.consumer.id)), "jwt credential")
            }
            "key-auth" => {
                (distinct(self.dataset.keyauth_credentials.iter().map(|credential| credential.consumer.id)), "key")
            }
            _ => return,
        };
        let narrowed = self.dataset.plugins.iter().any(|other| {
            other.enabled
                && other.consumer.is_some()
                && other.route.is_none_or(|to| plugin.route.is_none_or(|route| route.id == to.id))
                && other.service.is_none_or(|to| self.service_of(plugin).is_none_or(|service| service == to.id))
        });
        if consumers < 2 || narrowed {
            return;
        }
        let opens = match (&plugin.route, &plugin.service) {
            (Some(_), _) => "this route",
            (None, Some(_)) => "every route of this service",
            (None, None) => "every route",
        };
        let message = format!(
            "each of the {consumers} consumers with a {what} opens {opens}: the plugin checks who calls, not whether they may"
        );
        let help = "if some must stay out, let the service check X-Consumer-Username, or add a request-termination plugin for them here";
        self.say_plugin(plugin, "", "any-consumer", message, help);
    }

    fn service_of(&self, plugin: &Plugin) -> Option<Uuid> {
        let of_route = || {
            let route = plugin.route?.id;
            self.dataset.routes.iter().find(|there| there.id == route)?.service.map(|service| service.id)
        };
        plugin.service.map(|service| service.id).or_else(of_route)
    }

    /// ` on route r`, for people.
    fn scope(&self, plugin: &Plugin) -> String {
        let route = plugin.route.and_then(|to| self.dataset.routes.iter().find(|route| route.id == to.id));
        let service = plugin.service.and_then(|to| self.dataset.services.iter().find(|service| service.id == to.id));
        match (route, service) {
            (Some(route), _) => format!(" on route {}", route_name(route)),
            (None, Some(service)) => format!(" on service {}", service.name.as_deref().unwrap_or(&service.host)),
            (None, None) => String::new(),
        }
    }

    /// Routes that ask for a credential, and take it over plain HTTP.
    fn plain_http(&mut self) {
        let plugins: Vec<_> = self
            .dataset
            .plugins
            .iter()
            .filter(|plugin| plugin.enabled && AUTHENTICATING.contains(&plugin.name.as_str()))
            .collect();
        let everywhere = plugins.iter().any(|plugin| plugin.route.is_none() && plugin.service.is_none());
        let routes: HashSet<Uuid> = plugins.iter().filter_map(|plugin| plugin.route.map(|route| route.id)).collect();
        let services: HashSet<Uuid> =
            plugins.iter().filter_map(|plugin| plugin.service.map(|service| service.id)).collect();
        let plain = self.dataset.routes.iter().filter(|route| {
            let asks = everywhere
                || routes.contains(&route.id)
                || route.service.is_some_and(|service| services.contains(&service.id));
            asks && route.protocols.contains(&Protocol::Http)
        });
        let plain: Vec<_> = plain.collect();
        let Some(first) = plain.first() else { return };
        let message = match plain.len() {
            1 => "credentials are accepted over plain HTTP on this route".to_owned(),
            n => format!("credentials are accepted over plain HTTP on this route and {} more", n - 1),
        };
        let help = "set protocols: [https] on routes that ask for credentials, unless TLS ends before the gateway";
        let (id, name) = (first.id, route_name(first));
        self.say(Kind::Route, id, &name, "protocols", "plain-http", message, help);
    }

    fn credentials(&mut self) {
        let jwt: Vec<_> = self.dataset.plugins.iter().filter(|plugin| plugin.enabled && plugin.name == "jwt").collect();
        let is_base64 = |plugin: &&std::sync::Arc<Plugin>| {
            plugin.config.get("secret_is_base64").and_then(Value::as_bool) == Some(true)
        };
        let base64 = !jwt.is_empty() && jwt.iter().all(is_base64);
        let mut weak: Vec<(&JwtSecret, usize, usize)> = Vec::new();
        let mut short: Vec<(&JwtSecret, usize)> = Vec::new();
        let mut holders: HashMap<&str, Vec<&JwtSecret>> = HashMap::new();
        let mut sizes: HashMap<&str, Option<usize>> = HashMap::new();
        for credential in self.dataset.jwt_secrets.iter() {
            let least = match credential.algorithm {
                Algorithm::Hs256 => 32,
                Algorithm::Hs384 => 48,
                Algorithm::Hs512 => 64,
                algorithm => {
                    let name = algorithm.name();
                    if let (true, Some(pem)) =
                        (name.starts_with("RS") || name.starts_with("PS"), credential.rsa_public_key.as_deref())
                    {
                        let size = *sizes.entry(pem).or_insert_with(|| rsa_bits(pem));
                        short.extend(size.filter(|size| *size < 2048).map(|size| (&**credential, size)));
                    }
                    continue;
                }
            };
            let length = if base64 { decoded_length(&credential.secret) } else { credential.secret.len() };
            if length < least {
                weak.push((credential, length, least));
            }
            holders.entry(&credential.secret).or_default().push(credential);
        }
        self.some(weak, |(credential, ..)| credential, "weak-secret", |(credential, length, least)| {
            let name = credential.algorithm.name();
            (
                "secret",
                format!("the secret has {length} bytes; {name} needs {least} at least (RFC 7518 3.2), shorter ones can be guessed from a token"),
                "make a new one: openssl rand -base64 48",
            )
        });
        self.some(
            short,
            |(credential, _)| credential,
            "short-rsa-key",
            |(_, size)| {
                (
                    "rsa_public_key",
                    format!("the RSA key has {size} bits; 2048 are needed at least (RFC 7518 3.3)"),
                    "make a new key pair: openssl genrsa 3072",
                )
            },
        );
        let mut shared = Vec::new();
        for mut credentials in holders.into_values() {
            let consumers = distinct(credentials.iter().map(|credential| credential.consumer.id));
            if consumers > 1 {
                credentials.sort_unstable_by(|one, other| one.key.cmp(&other.key));
                shared.extend(credentials.last().map(|last| (*last, consumers)));
            }
        }
        self.some(
            shared,
            |(credential, _)| credential,
            "shared-secret",
            |(_, consumers)| {
                (
                    "secret",
                    format!("{consumers} consumers have the same secret: each can make tokens for the others"),
                    "give every consumer a secret of its own",
                )
            },
        );
    }

    /// Says the same trap of several credentials, of the first some by name.
    fn some<T>(
        &mut self,
        mut list: Vec<T>,
        credential: impl Fn(&T) -> &JwtSecret,
        code: &'static str,
        say: impl Fn(&T) -> (&'static str, String, &'static str),
    ) {
        list.sort_unstable_by(|one, other| credential(one).key.cmp(&credential(other).key));
        let more = list.len().saturating_sub(NAMED);
        for (n, item) in list.iter().take(NAMED).enumerate() {
            let (field, mut message, help) = say(item);
            if n + 1 == NAMED && more > 0 {
                message.push_str(&format!(" (and so it is with {more} more)"));
            }
            let credential = credential(item);
            let (id, key) = (credential.id, credential.key.to_string());
            self.say(Kind::JwtSecret, id, &key, field, code, message, help);
        }
    }

    fn certificates(&mut self) {
        let now = self.now.seconds();
        let mut ends: BTreeMap<(Kind, Uuid, &'static str), (i64, i64)> = BTreeMap::new();
        for certificate in &self.dataset.certificates {
            for (field, pem) in [("cert", Some(&certificate.cert)), ("cert_alt", certificate.cert_alt.as_ref())] {
                if let Some(validity) = pem.and_then(|pem| validity(pem)) {
                    ends.insert((Kind::Certificate, certificate.id, field), validity);
                }
            }
        }
        for certificate in &self.dataset.ca_certificates {
            if let Some(validity) = validity(&certificate.cert) {
                ends.insert((Kind::CaCertificate, certificate.id, "cert"), validity);
            }
        }
        for ((kind, id, field), (from, until)) in ends {
            let message = if until < now {
                format!("the certificate ended {}", days((now - until) / DAY, "ago"))
            } else if until < now + ENDING * DAY {
                format!("the certificate ends in {}", days((until - now) / DAY, ""))
            } else if from > now {
                format!("the certificate is not valid yet: it begins in {}", days((from - now) / DAY, ""))
            } else {
                continue;
            };
            let code = if from > now { "certificate-not-yet-valid" } else { "certificate-ending" };
            self.say(kind, id, &id.to_string(), field, code, message.trim_end().to_owned(), "replace it");
        }
    }
}

fn route_name(route: &Route) -> String {
    route.name.clone().unwrap_or_else(|| route.id.to_string())
}

fn days(days: i64, after: &str) -> String {
    format!("{days} {} {after}", if days == 1 { "day" } else { "days" })
}

fn distinct(ids: impl Iterator<Item = Uuid>) -> usize {
    ids.collect::<HashSet<_>>().len()
}

fn decoded_length(secret: &str) -> usize {
    let digits = secret.trim_end_matches('=').len();
    digits * 3 / 4
}

/// The size of the RSA key in a PEM block: a public key or a certificate.
fn rsa_bits(pem: &str) -> Option<usize> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.trim_start().as_bytes()).ok()?;
    match pem.label.as_str() {
        "CERTIFICATE" => key_bits(&X509Certificate::from_der(&pem.contents).ok()?.1.tbs_certificate.subject_pki),
        "PUBLIC KEY" => key_bits(&SubjectPublicKeyInfo::from_der(&pem.contents).ok()?.1),
        _ => None,
    }
}

fn key_bits(key: &SubjectPublicKeyInfo<'_>) -> Option<usize> {
    match key.parsed().ok()? {
        PublicKey::RSA(key) => {
            // With or without the zero byte that keeps the number positive.
            let modulus = key.modulus.strip_prefix(&[0]).unwrap_or(key.modulus);
            let first = modulus.first().map_or(0, |byte| byte.leading_zeros());
            Some((modulus.len() * 8).saturating_sub(usize::try_from(first).unwrap_or_default()))
        }
        _ => None,
    }
}

/// When the first certificate of a PEM text begins and ends, in seconds since the epoch.
fn validity(pem: &str) -> Option<(i64, i64)> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.trim_start().as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
    let validity = certificate.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
}
