//! From entities to a snapshot; off the serving threads.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use uuid::Uuid;

use super::chain::{Chain, Instance, Slot};
use super::documents::Documents;
use super::{Origin, Route, Routing, Service, Snapshot};
use crate::auth::Directory;
use crate::diagnostic::Diagnostic;
use crate::entity::{self, Dataset};
use crate::plugins::unusable::{UNKNOWN, Unusable};
use crate::plugins::{self, Registries};
use crate::router::Router;
use crate::telemetry::{Metrics, RouteMetrics};
use crate::tls::Certificates;
use crate::upstream;

/// What outlives snapshots and is lent to them.
#[derive(Clone, Debug)]
pub struct Resources {
    pub registries: Registries,
    pub upstreams: Arc<upstream::Registry>,
    pub metrics: Arc<Metrics>,
}

impl Snapshot {
    /// Compiles a dataset. Keys are parsed, regexes compiled, plugins merged, metric handles resolved here and nowhere later.
    ///
    /// # Errors
    /// Everything that keeps the dataset from being served; warnings are in the list as well. On success the list has warnings only.
    pub fn compile(
        dataset: Dataset,
        origin: Origin,
        resources: &Resources,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        Self::compile_after(None, dataset, origin, resources)
    }

    /// As [`Self::compile`], with what is prepared already of a snapshot that this one is to follow.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub fn compile_after(
        previous: Option<&Self>,
        dataset: Dataset,
        origin: Origin,
        resources: &Resources,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let directory = previous.map(|previous| &previous.directory);
        let (snapshot, diagnostics) = Self::compile_all(directory, dataset, origin, resources);
        if diagnostics.iter().any(Diagnostic::is_error) { Err(diagnostics) } else { Ok((snapshot, diagnostics)) }
    }

    /// Compiles what can be served of a dataset that is in force already. Errors in the list say what cannot: a route that
    /// matches nothing, a certificate that is not shown, and plugins in whose place requests are refused.
    pub fn compile_rest(dataset: Dataset, origin: Origin, resources: &Resources) -> (Self, Vec<Diagnostic>) {
        Self::compile_all(None, dataset, origin, resources)
    }

    fn compile_all(
        previous: Option<&Directory>,
        dataset: Dataset,
        origin: Origin,
        resources: &Resources,
    ) -> (Self, Vec<Diagnostic>) {
        let mut diagnostics = Vec::new();
        let directory = Directory::new(&dataset, previous, &mut diagnostics);
        let routing = Routing::compile(&dataset, &directory, resources, &mut diagnostics);
        let snapshot = Self {
            generation: 0,
            origin,
            loaded_at: SystemTime::now(),
            dataset,
            directory,
            routing: Arc::new(routing),
        };
        (snapshot, diagnostics)
    }
}

impl Routing {
    pub(super) fn compile(
        dataset: &Dataset,
        directory: &Directory,
        resources: &Resources,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let upstreams = resources.upstreams.upstreams(dataset, diagnostics);
        let services: HashMap<Uuid, Arc<Service>> = dataset
            .services
            .iter()
            .map(|entity| (entity.id, Arc::new(Service::compile(entity, &upstreams, dataset, resources, diagnostics))))
            .collect();
        let plugins = Plugins::compile(dataset, directory, resources, diagnostics);
        let documents = Documents::new(plugins.instances(), diagnostics);
        let served: Vec<&Arc<entity::Route>> = dataset
            .routes
            .iter()
            .filter(|route| {
                let service = route.service.and_then(|service| services.get(&service.id));
                service.is_none_or(|service| service.entity.enabled)
            })
            .collect();
        let entities: Vec<&entity::Route> = served.iter().map(|route| &***route).collect();
        let router = Router::compile(&entities, diagnostics);
        let routes = served
            .into_iter()
            .map(|entity| {
                let service = entity.service.and_then(|service| services.get(&service.id)).cloned();
                let label: Arc<str> = entity.name.clone().unwrap_or_else(|| entity.id.to_string()).into();
                let service_label = service.as_ref().map_or("", |service| &service.label);
                Route {
                    metrics: RouteMetrics::new(&resources.metrics, &label, service_label),
                    chain: plugins.chain(entity.id, entity.service.map(|service| service.id)),
                    entity: entity.clone(),
                    service,
                    label,
                }
            })
            .collect();
        let certificates = Certificates::compile(dataset, diagnostics);
        let faults = diagnostics.iter().filter(|finding| finding.is_error()).cloned().collect();
        Self { router, routes, upstreams, certificates, documents, faults }
    }
}

impl Service {
    fn compile(
        entity: &Arc<entity::Service>,
        upstreams: &upstream::Upstreams,
        dataset: &Dataset,
        resources: &Resources,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        Self {
            destination: resources.upstreams.destination(entity, upstreams, dataset, diagnostics),
            label: entity.name.clone().unwrap_or_else(|| entity.host.clone()).into(),
            entity: entity.clone(),
        }
    }
}

/// Compiled plugin instances by what they are scoped to.
struct Plugins {
    /// For each plugin name, by descending priority.
    names: Vec<Scopes>,
}

struct Scopes {
    registered: &'static plugins::Registered,
    /// Without a consumer, by (route, service).
    general: HashMap<(Option<Uuid>, Option<Uuid>), Arc<Instance>>,
    /// With a consumer and a route or service, by those.
    scoped: HashMap<(Option<Uuid>, Option<Uuid>), Vec<Arc<Instance>>>,
    /// With a consumer alone.
    anywhere: Arc<HashMap<Uuid, Arc<Instance>>>,
}

impl Plugins {
    fn compile(
        dataset: &Dataset,
        directory: &Directory,
        resources: &Resources,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut names: Vec<Scopes> = Vec::new();
        let mut anywhere: HashMap<&str, HashMap<Uuid, Arc<Instance>>> = HashMap::new();
        for entity in dataset.plugins.iter().filter(|plugin| plugin.enabled) {
            let instance = compile_instance(entity, directory, resources, diagnostics);
            let place = names.iter().position(|scopes| scopes.registered.name == instance.registered.name);
            let index = place.unwrap_or_else(|| {
                names.push(Scopes {
                    registered: instance.registered,
                    general: HashMap::new(),
                    scoped: HashMap::new(),
                    anywhere: Arc::default(),
                });
                names.len() - 1
            });
            let Some(scopes) = names.get_mut(index) else { continue };
            let here = (entity.route.map(|r| r.id), entity.service.map(|s| s.id));
            match (entity.consumer, here) {
                (None, here) => drop(scopes.general.insert(here, instance)),
                (Some(consumer), (None, None)) => {
                    anywhere.entry(scopes.registered.name).or_default().insert(consumer.id, instance);
                }
                (Some(_), here) => scopes.scoped.entry(here).or_default().push(instance),
            }
        }
        for scopes in &mut names {
            scopes.anywhere = Arc::new(anywhere.remove(scopes.registered.name).unwrap_or_default());
        }
        names.sort_by_key(|scopes| std::cmp::Reverse(scopes.registered.priority));
        Self { names }
    }

    /// All of them, those that no route has included.
    fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.names.iter().flat_map(|scopes| {
            let scoped = scopes.scoped.values().flatten();
            scopes.general.values().chain(scoped).chain(scopes.anywhere.values())
        })
    }

    /// What applies on a route: the most specific instance of each name.
    fn chain(&self, route: Uuid, service: Option<Uuid>) -> Chain {
        let slots = self.names.iter().filter_map(|scopes| {
            let both = service.and_then(|service| scopes.general.get(&(Some(route), Some(service))));
            let by_route = || scopes.general.get(&(Some(route), None));
            let by_service = || service.and_then(|service| scopes.general.get(&(None, Some(service))));
            let general =
                both.or_else(by_route).or_else(by_service).or_else(|| scopes.general.get(&(None, None))).cloned();
            let mut here = HashMap::new();
            // From the least specific to the most: a later insert replaces an earlier one.
            let places = [(None, service), (Some(route), None), (Some(route), service)];
            for place in places.into_iter().filter(|place| *place != (None, None)) {
                for instance in scopes.scoped.get(&place).into_iter().flatten() {
                    if let Some(consumer) = instance.entity.consumer {
                        here.insert(consumer.id, instance.clone());
                    }
                }
            }
            let anywhere = scopes.anywhere.clone();
            let applies = general.is_some() || !here.is_empty() || !anywhere.is_empty();
            applies.then(|| Slot { general_wins: both.is_some(), general, here, anywhere })
        });
        Chain::new(slots.collect())
    }
}

/// A plugin instance; one that cannot be compiled is an error, and refuses every request should it be served all the same.
fn compile_instance(
    entity: &Arc<entity::Plugin>,
    directory: &Directory,
    resources: &Resources,
    diagnostics: &mut Vec<Diagnostic>,
) -> Arc<Instance> {
    let path = format!("plugins.{}", entity.id);
    let unusable = |registered| Arc::new(Instance { entity: entity.clone(), registered, plugin: Arc::new(Unusable) });
    let Some(registered) = plugins::find(&entity.name) else {
        diagnostics.push(
            Diagnostic::error(
                "unsupported-plugin",
                path,
                format!("plugin '{}' not enabled; add it to the 'plugins' configuration property", entity.name),
            )
            .help("remove the plugin, or set ignore_unsupported"),
        );
        return unusable(&UNKNOWN);
    };
    if let Some(anonymous) = entity.config.get("anonymous").and_then(serde_json::Value::as_str)
        && directory.consumer_by_name(anonymous).is_none()
    {
        diagnostics.push(
            Diagnostic::warning(
                "anonymous-unknown",
                format!("{path}.config.anonymous"),
                format!("anonymous consumer {anonymous} is configured but doesn't exist"),
            )
            .help("requests without a credential are answered 500; create the consumer or remove `anonymous`"),
        );
    }
    let within = |finding: Diagnostic| Diagnostic {
        path: match finding.path.as_str() {
            "" => format!("{path}.config"),
            inner => format!("{path}.config.{inner}"),
        },
        ..finding
    };
    let mut warnings = Vec::new();
    let compiled = registered.compile(entity, &resources.registries, &mut warnings);
    diagnostics.extend(warnings.into_iter().map(within));
    match compiled {
        Ok(plugin) => Arc::new(Instance { entity: entity.clone(), registered, plugin }),
        Err(faults) => {
            diagnostics.extend(faults.into_iter().map(within));
            unusable(registered)
        }
    }
}
