//! Every path of the Admin API: the fixed ones and those that follow from the collections.
//!
//! One list, from which requests are dispatched, `OPTIONS` and `GET /endpoints` are answered and the OpenAPI document is written.

use std::sync::LazyLock;

use http::Method;

use crate::store::{COLLECTIONS, Collection, Foreign};

/// What a path is for.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// `/services`
    Collection(&'static Collection),
    /// `/services/{services}`
    Entity(&'static Collection),
    /// `/services/{services}/routes`
    Children {
        parent: &'static Collection,
        child: &'static Collection,
        foreign: &'static Foreign,
    },
    /// `/services/{services}/routes/{routes}`
    Child {
        parent: &'static Collection,
        child: &'static Collection,
        foreign: &'static Foreign,
    },
    /// `/routes/{routes}/service`
    Foreign {
        of: &'static Collection,
        foreign: &'static Foreign,
        to: &'static Collection,
    },
    /// Collections of Kong that Portcullis has no use for; tools list them.
    Nothing,
    NothingEntity,
    Fixed(Fixed),
}

/// Paths of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed {
    Root,
    Status,
    Config,
    Endpoints,
    OpenApi,
    Metrics,
    Tags,
    Tag,
    SchemaOfEntity,
    SchemaOfPlugin,
    SchemaOfVault,
    ValidateEntity,
    PluginsEnabled,
    PluginSchemaOld,
    Timers,
    Cache,
    CacheKey,
    LogLevel,
    SetLogLevel,
    UpstreamHealth,
    AllTargets,
    /// Why a request would be refused.
    Explain,
    /// What applies to a URL.
    Effective,
    /// What is going on.
    Live(Live),
    /// `healthy` or `unhealthy` is the last segment; an address may stand before it.
    TargetHealth,
}

/// What can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Live {
    Rejects,
    Verification,
    Issuers,
    Configuration,
    Expiry,
}

/// A path with what it answers.
#[derive(Debug)]
pub struct Endpoint {
    /// `/services/{services}/routes`, as `GET /endpoints` lists it.
    pub path: String,
    /// Literal segments, and `None` for those of any value.
    pattern: Vec<Option<String>>,
    pub action: Action,
    /// Without HEAD and OPTIONS, which follow.
    pub methods: Vec<Method>,
}

impl Endpoint {
    fn new(path: String, action: Action, methods: &[Method]) -> Self {
        let pattern = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| (!segment.starts_with('{')).then(|| segment.to_owned()))
            .collect();
        Self { path, pattern, action, methods: methods.to_vec() }
    }

    fn matches(&self, segments: &[String]) -> bool {
        self.pattern.len() == segments.len()
            && self
                .pattern
                .iter()
                .zip(segments)
                .all(|(pattern, segment)| pattern.as_ref().is_none_or(|literal| literal == segment))
    }

    /// How many segments are literal: the more, the more specific.
    fn weight(&self) -> usize {
        self.pattern.iter().flatten().count()
    }

    pub fn allows(&self, method: &Method) -> bool {
        match *method {
            Method::HEAD => self.methods.contains(&Method::GET),
            _ => self.methods.contains(method),
        }
    }

    /// The value of `Allow`: sorted, with HEAD and OPTIONS.
    pub fn allow(&self) -> String {
        let mut names: Vec<&str> = self.methods.iter().map(Method::as_str).chain(["OPTIONS"]).collect();
        if self.methods.contains(&Method::GET) {
            names.push("HEAD");
        }
        names.sort_unstable();
        names.join(", ")
    }

    /// The names of the path's variable parts.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }
}

const ENTITY_METHODS: [Method; 4] = [Method::GET, Method::PUT, Method::PATCH, Method::DELETE];
const LIST_METHODS: [Method; 2] = [Method::GET, Method::POST];

static ENDPOINTS: LazyLock<Vec<Endpoint>> = LazyLock::new(build);

/// All paths, sorted.
pub fn all() -> &'static [Endpoint] {
    &ENDPOINTS
}

/// The endpoint of a path: of those that match, the one with most literal segments.
pub fn find(segments: &[String]) -> Option<&'static Endpoint> {
    ENDPOINTS.iter().filter(|endpoint| endpoint.matches(segments)).max_by_key(|endpoint| endpoint.weight())
}

/// Whether a collection has paths of its own; targets are reached through their upstream only.
fn at_top(collection: &Collection) -> bool {
    collection.name != "targets"
}

fn build() -> Vec<Endpoint> {
    let mut all = fixed();
    for of in &COLLECTIONS {
        let name = of.name;
        if at_top(of) {
            all.push(Endpoint::new(format!("/{}", of.path), Action::Collection(of), &LIST_METHODS));
            all.push(Endpoint::new(format!("/{}/{{{name}}}", of.path), Action::Entity(of), &ENTITY_METHODS));
        }
        for foreign in of.foreign {
            let Some(to) = Collection::find(foreign.to) else { continue };
            if at_top(of) {
                let path = format!("/{}/{{{name}}}/{}", of.path, foreign.field);
                all.push(Endpoint::new(path, Action::Foreign { of, foreign, to }, &ENTITY_METHODS));
            }
            let children = format!("/{}/{{{}}}/{}", to.path, to.name, of.nested);
            let child = format!("{children}/{{{name}}}");
            all.push(Endpoint::new(children, Action::Children { parent: to, child: of, foreign }, &LIST_METHODS));
            all.push(Endpoint::new(child, Action::Child { parent: to, child: of, foreign }, &ENTITY_METHODS));
        }
    }
    for (path, name) in [("vaults", "vaults"), ("keys", "keys"), ("key-sets", "key_sets")] {
        all.push(Endpoint::new(format!("/{path}"), Action::Nothing, &[Method::GET]));
        all.push(Endpoint::new(format!("/{path}/{{{name}}}"), Action::NothingEntity, &[Method::GET]));
    }
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

fn fixed() -> Vec<Endpoint> {
    const GET: &[Method] = &[Method::GET];
    const POST: &[Method] = &[Method::POST];
    const SET: &[Method] = &[Method::POST, Method::PUT];
    let list = [
        ("/", Fixed::Root, GET),
        ("/status", Fixed::Status, GET),
        ("/config", Fixed::Config, &[Method::GET, Method::POST]),
        ("/endpoints", Fixed::Endpoints, GET),
        ("/openapi.json", Fixed::OpenApi, GET),
        ("/metrics", Fixed::Metrics, GET),
        ("/tags", Fixed::Tags, GET),
        ("/tags/{tags}", Fixed::Tag, GET),
        ("/schemas/{name}", Fixed::SchemaOfEntity, GET),
        ("/schemas/plugins/{name}", Fixed::SchemaOfPlugin, GET),
        ("/schemas/vaults/{name}", Fixed::SchemaOfVault, GET),
        ("/schemas/{entity}/validate", Fixed::ValidateEntity, POST),
        ("/plugins/enabled", Fixed::PluginsEnabled, GET),
        ("/plugins/schema/{name}", Fixed::PluginSchemaOld, GET),
        ("/timers", Fixed::Timers, GET),
        ("/cache", Fixed::Cache, &[Method::DELETE]),
        ("/cache/{key}", Fixed::CacheKey, &[Method::GET, Method::DELETE]),
        ("/debug/node/log-level", Fixed::LogLevel, GET),
        ("/debug/node/log-level/{log_level}", Fixed::SetLogLevel, &[Method::PUT]),
        ("/upstreams/{upstreams}/health", Fixed::UpstreamHealth, GET),
        ("/upstreams/{upstreams}/targets/all", Fixed::AllTargets, GET),
        ("/upstreams/{upstreams}/targets/{targets}/healthy", Fixed::TargetHealth, SET),
        ("/upstreams/{upstreams}/targets/{targets}/unhealthy", Fixed::TargetHealth, SET),
        ("/upstreams/{upstreams}/targets/{targets}/{address}/healthy", Fixed::TargetHealth, SET),
        ("/upstreams/{upstreams}/targets/{targets}/{address}/unhealthy", Fixed::TargetHealth, SET),
        ("/schemas/plugins/validate", Fixed::ValidateEntity, POST),
        ("/explain", Fixed::Explain, POST),
        ("/effective", Fixed::Effective, GET),
        ("/live/rejects", Fixed::Live(Live::Rejects), GET),
        ("/live/verification", Fixed::Live(Live::Verification), GET),
        ("/live/issuers", Fixed::Live(Live::Issuers), GET),
        ("/live/configuration", Fixed::Live(Live::Configuration), GET),
        ("/live/expiry", Fixed::Live(Live::Expiry), GET),
    ];
    list.into_iter().map(|(path, what, methods)| Endpoint::new(path.to_owned(), Action::Fixed(what), methods)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> Option<&'static str> {
        let segments = super::super::request::segments(path)?;
        find(&segments).map(|endpoint| endpoint.path.as_str())
    }

    #[test]
    fn the_most_specific_path_answers() {
        assert_eq!(at("/"), Some("/"));
        assert_eq!(at("/plugins/enabled/"), Some("/plugins/enabled"));
        assert_eq!(at("/plugins/x"), Some("/plugins/{plugins}"));
        assert_eq!(at("/consumers/a/jwt/b"), Some("/consumers/{consumers}/jwt/{jwt_secrets}"));
        assert_eq!(at("/jwts/a/consumer"), Some("/jwts/{jwt_secrets}/consumer"));
        assert_eq!(at("/upstreams/u/targets/all"), Some("/upstreams/{upstreams}/targets/all"));
        assert_eq!(at("/targets"), None);
        assert_eq!(at("/status/ready"), None);
        assert_eq!(at("/nothing"), None);
    }

    #[test]
    fn what_a_path_allows_is_sorted() {
        let allow = |path: &str| find(&super::super::request::segments(path).unwrap()).unwrap().allow();
        assert_eq!(allow("/consumers"), "GET, HEAD, OPTIONS, POST");
        assert_eq!(allow("/consumers/x"), "DELETE, GET, HEAD, OPTIONS, PATCH, PUT");
        assert_eq!(allow("/"), "GET, HEAD, OPTIONS");
    }
}
