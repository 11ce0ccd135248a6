//! What applies to a URL: the plugins, from where each comes, and who may call.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::answer::{ConsumerShown, RequestShown, RouteShown};
use super::question::{Fault, Question, described, find};
use crate::declarative;
use crate::entity::{self, Dataset};
use crate::gateway::dry::Dry;
use crate::schema::Now;
use crate::snapshot::{Instance, Route, Snapshot};

/// Consumers that are named.
const NAMED: usize = 20;

/// What applies to a URL.
#[derive(Clone, Debug, Serialize)]
pub struct Effective {
    pub generation: u64,
    pub request: RequestShown,
    pub route: Option<RouteShown>,
    pub plugins: Vec<PluginShown>,
    pub who: Option<Who>,
    pub warnings: Vec<Warning>,
}

#[derive(Clone, Debug, Serialize)]
pub struct PluginShown {
    pub id: Uuid,
    pub name: String,
    pub priority: i32,
    pub scope: String,
    pub runs: bool,
    pub why_not: Option<String>,
    pub authenticates: bool,
    /// Secrets masked.
    pub config: Map<String, Value>,
    /// Of an instance that is for certain consumers.
    pub consumers: Option<Vec<ConsumerShown>>,
    pub consumers_total: Option<usize>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Who {
    /// A request without any credential passes.
    pub open: bool,
    pub text: String,
    pub any_consumer: bool,
    pub consumers_total: usize,
    pub consumers: Vec<ConsumerShown>,
    /// `all`, `any`, `none`.
    pub mode: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub struct Warning {
    pub code: &'static str,
    pub message: String,
    pub help: Option<String>,
    pub plugin: Option<Uuid>,
}

/// What applies to a request of this method and URL.
///
/// # Errors
/// When the question cannot be understood.
pub fn effective(question: &Question, snapshot: &Snapshot) -> Result<Effective, Fault> {
    let named = match question.route.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => Some(find(snapshot, name).ok_or_else(|| Fault::Route(name.chars().take(200).collect()))?),
        None if question.url.is_none() => {
            return Err(Fault::Question("say which 'url' or which 'route' is meant".into()));
        }
        None => None,
    };
    let routes = &snapshot.routing.routes;
    let request = described(question, named.and_then(|index| routes.get(index)).map(|route| &*route.entity))?;
    let dry = Dry::new(request.clone()).ok();
    let index = named.or_else(|| Some(dry.as_ref()?.find(snapshot).ok()?.route));
    let route = index.and_then(|index| routes.get(index));
    let mut effective = Effective {
        generation: snapshot.generation,
        request: RequestShown::of(&request, dry.as_ref().map_or("", Dry::path)),
        route: route.map(RouteShown::of),
        plugins: Vec::new(),
        who: None,
        warnings: Vec::new(),
    };
    let (Some(route), Some(dry)) = (route, dry) else { return Ok(effective) };
    let protocol = dry.protocol(route);
    for group in route.chain.all() {
        let mut first: Option<&Instance> = None;
        let mut consumers = Vec::new();
        for instance in group {
            match instance.entity.consumer {
                None => effective.plugins.push(PluginShown::of(instance, protocol)),
                Some(consumer) => {
                    first.get_or_insert(instance);
                    consumers.push(consumer.id);
                }
            }
        }
        if let Some(instance) = first {
            let mut shown = PluginShown::of(instance, protocol);
            shown.consumers_total = Some(consumers.len());
            let named = consumers.iter().filter_map(|id| snapshot.directory.consumer(*id)).take(NAMED);
            shown.consumers = Some(named.map(|consumer| ConsumerShown::of(consumer)).collect());
            effective.plugins.push(shown);
        }
    }
    effective.who = Some(who(route, protocol, snapshot));
    effective.warnings = warnings(route, snapshot);
    Ok(effective)
}

impl PluginShown {
    fn of(instance: &Instance, protocol: entity::Protocol) -> Self {
        let runs = instance.entity.protocols.contains(&protocol);
        Self {
            id: instance.entity.id,
            name: instance.entity.name.clone(),
            priority: instance.registered.priority,
            scope: scope(&instance.entity),
            runs,
            why_not: (!runs).then(|| "its `protocols` lack this one".to_owned()),
            authenticates: instance.registered.authenticates,
            config: masked(&instance.entity.config),
            consumers: None,
            consumers_total: None,
        }
    }
}

/// A configuration without what is secret.
fn masked(config: &Map<String, Value>) -> Map<String, Value> {
    fn secret(name: &str) -> bool {
        ["secret", "password", "private", "salt", "provision_key", "authorization", "_jwk"]
            .iter()
            .any(|part| name.contains(part))
            && !name.starts_with("hash_")
            && !name.ends_with("_is_base64")
            && !name.ends_with("_param_type")
            && !name.ends_with("_name")
    }
    fn mask(name: &str, value: &Value) -> Value {
        match value {
            Value::Object(members) => Value::Object(masked(members)),
            Value::Null | Value::Bool(_) => value.clone(),
            Value::Array(items) if items.is_empty() => value.clone(),
            _ if secret(name) => "***".into(),
            Value::Array(items) => items.iter().map(|item| mask(name, item)).collect(),
            other => other.clone(),
        }
    }
    config.iter().map(|(name, value)| (name.clone(), mask(name, value))).collect()
}

/// Where an instance comes from: `global`, `service`, `route`, `consumer`, and their combinations.
pub fn scope(plugin: &entity::Plugin) -> String {
    let parts = [
        ("route", plugin.route.is_some()),
        ("service", plugin.service.is_some()),
        ("consumer", plugin.consumer.is_some()),
    ];
    let parts: Vec<&str> = parts.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
    if parts.is_empty() { "global".into() } else { parts.join("+") }
}

/// Who may call a route.
fn who(route: &Route, protocol: entity::Protocol, snapshot: &Snapshot) -> Who {
    let runs = |instance: &&std::sync::Arc<Instance>| instance.entity.protocols.contains(&protocol);
    let asking: Vec<&Instance> = route
        .chain
        .general()
        .filter(runs)
        .filter(|instance| instance.registered.authenticates)
        .map(|instance| &**instance)
        .collect();
    let text_of = |instance: &Instance, field: &str| {
        instance.entity.config.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let anonymous: Vec<String> = asking.iter().filter_map(|instance| text_of(instance, "anonymous")).collect();
    let open = !asking.is_empty() && anonymous.len() == asking.len() || asking.is_empty();
    let mode = match (asking.is_empty(), anonymous.is_empty()) {
        (true, _) => "none",
        (false, true) => "all",
        (false, false) => "any",
    };
    let mut ids: Option<HashSet<Uuid>> = None;
    let mut texts = Vec::new();
    let mut mapped = true;
    for instance in &asking {
        let (consumers, text) = callers(instance, &snapshot.dataset);
        texts.push(text);
        match (&mut ids, consumers) {
            (_, None) => mapped = false,
            (None, Some(consumers)) => ids = Some(consumers),
            // Each plugin must succeed; the last one's consumer counts, but all must have a credential of theirs.
            (Some(ids), Some(consumers)) if mode == "any" => ids.extend(consumers),
            (Some(ids), Some(consumers)) => {
                if consumers.len() < ids.len() {
                    *ids = consumers;
                }
            }
        }
    }
    let ids = ids.unwrap_or_default();
    let text = match mode {
        "none" => "anybody: nothing on this route asks who is calling".to_owned(),
        "any" if open => format!(
            "anybody: without a good credential as the anonymous consumer `{}`; known are {}",
            anonymous.last().map_or("", String::as_str),
            texts.join(", or ")
        ),
        "any" => texts.join(", or "),
        _ => texts.join(", and also "),
    };
    let directory = &snapshot.directory;
    let named = ids.iter().take(NAMED).filter_map(|id| directory.consumer(*id));
    Who {
        open,
        text,
        any_consumer: !asking.is_empty() && mapped && ids.len() > 1,
        consumers_total: ids.len(),
        consumers: named.map(|consumer| ConsumerShown::of(consumer)).collect(),
        mode,
    }
}

/// Whom a plugin lets in: consumers, where it goes by them, and a description.
fn callers(instance: &Instance, dataset: &Dataset) -> (Option<HashSet<Uuid>>, String) {
    let counted = |ids: HashSet<Uuid>, what: &str| {
        let text = match ids.len() {
            0 => format!("nobody yet: no consumer has {what}"),
            1 => format!("the one consumer with {what}"),
            n => format!("any of the {n} consumers with {what}"),
        };
        (Some(ids), text)
    };
    let config = &instance.entity.config;
    let words = |field: &str| -> Vec<&str> {
        config.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    };
    match instance.entity.name.as_str() {
        "jwt" => counted(dataset.jwt_secrets.iter().map(|there| there.consumer.id).collect(), "a jwt credential"),
        "key-auth" => {
            counted(dataset.keyauth_credentials.iter().map(|there| there.consumer.id).collect(), "an API key")
        }
        "oauth2" => counted(
            dataset.oauth2_credentials.iter().map(|there| there.consumer.id).collect(),
            "an oauth2 application and a token of this gateway",
        ),
        "openid-connect" => {
            let issuer = config.get("issuer").and_then(Value::as_str).unwrap_or_default();
            let mut text = format!("anybody with a token of {issuer}");
            for (field, what) in [
                ("audience_required", "audience"),
                ("scopes_required", "scope"),
                ("groups_required", "group"),
                ("roles_required", "role"),
            ] {
                let words = words(field);
                if !words.is_empty() {
                    text += &format!(", {what} {}", words.join(" or "));
                }
            }
            if !words("consumer_claim").is_empty()
                && config.get("consumer_optional").and_then(Value::as_bool) != Some(true)
            {
                text += &format!(", whose `{}` names a consumer", words("consumer_claim").join("."));
            }
            (None, text)
        }
        other => (None, format!("whom `{other}` lets in")),
    }
}

/// The traps that `check` warns of, those of a route's plugins.
pub fn warnings(route: &Route, snapshot: &Snapshot) -> Vec<Warning> {
    let plugins: HashSet<Uuid> = route.chain.general().map(|instance| instance.entity.id).collect();
    let found = declarative::lint_plugins(&snapshot.dataset, Now::system(), &|id| plugins.contains(&id));
    found
        .into_iter()
        .map(|(plugin, finding)| Warning {
            code: finding.code,
            message: finding.message,
            help: finding.help,
            plugin: Some(plugin),
        })
        .collect()
}

/// The same as text.
pub fn warnings_of(route: &Route, snapshot: &Snapshot) -> Vec<String> {
    warnings(route, snapshot).into_iter().map(|warning| warning.message).collect()
}
