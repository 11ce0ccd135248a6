//! The paths that are not made from collections.

use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::documents::{read_offset, size, write_offset};
use super::entities::{Key, Listing, id_of, parent, parse_id};
use super::fault::Fault;
use super::paths::{self, Fixed};
use super::request::Incoming;
use super::{KONG_VERSION, Source, State, config, explain, live, openapi, schemas};
use crate::plugins;
use crate::store::{Collection, Tagged};
use crate::telemetry::logging::Level;
use crate::upstream::Health;

/// Answers a fixed endpoint.
///
/// # Errors
/// What the client is told instead.
pub async fn answer(state: &State, request: &Incoming, fixed: Fixed) -> Result<Answer, Fault> {
    match fixed {
        Fixed::Root => root(state).await,
        Fixed::Status => status(state, request),
        Fixed::Config if request.method == Method::POST => config::load(state, request).await,
        Fixed::Config => config::dump(state),
        Fixed::Endpoints => {
            let paths: Vec<&str> = paths::all().iter().map(|endpoint| endpoint.path.as_str()).collect();
            Ok(Answer::ok(json!({"data": paths})))
        }
        Fixed::OpenApi => Ok(Answer::ok(openapi::document(state.writable))),
        Fixed::Metrics => {
            let text = state.resources.metrics.encode();
            Ok(Answer::text(StatusCode::OK, "text/plain; charset=UTF-8", text))
        }
        Fixed::Tags => tags(state, request, None).await,
        Fixed::Tag => tags(state, request, request.segments.get(1).map(String::as_str)).await,
        Fixed::SchemaOfEntity => schemas::of_entity(request),
        Fixed::SchemaOfPlugin => schemas::of_plugin(request),
        Fixed::PluginSchemaOld => schemas::of_plugin_config(request),
        Fixed::SchemaOfVault => {
            let name = request.segments.last().map_or("", String::as_str);
            Err(Fault::plain(StatusCode::NOT_FOUND, format!("No vault named '{name}'")))
        }
        Fixed::ValidateEntity => schemas::validate(request),
        Fixed::PluginsEnabled => Ok(Answer::ok(json!({"enabled_plugins": enabled_plugins()}))),
        Fixed::Timers => Ok(Answer::ok(json!({
            "worker": {"id": 0, "count": 1},
            "stats": {"flamegraph": {}, "sys": {"running": 0, "pending": 0, "waiting": 0, "total": 0, "runs": 0}, "timers": {}},
        }))),
        // There is no cache of entities that could be out of date.
        Fixed::Cache => Ok(Answer::no_content()),
        Fixed::CacheKey if request.method == Method::DELETE => Ok(Answer::no_content()),
        Fixed::CacheKey => Err(Fault::not_found()),
        Fixed::LogLevel => log_level(state),
        Fixed::SetLogLevel => set_log_level(state, request),
        Fixed::UpstreamHealth => upstream_health(state, request).await,
        Fixed::AllTargets => all_targets(state, request).await,
        Fixed::Explain => explain::explain(state, request).await,
        Fixed::Effective => explain::effective(state, request),
        Fixed::Live(what) => live::answer(state, request, what),
        Fixed::TargetHealth => set_target_health(state, request).await,
    }
}

/// Names of the plugins there are, sorted.
pub fn enabled_plugins() -> Vec<&'static str> {
    plugins::tables::names().filter(|name| plugins::find(name).is_some()).collect()
}

async fn root(state: &State) -> Result<Answer, Fault> {
    let available: Map<String, Value> = enabled_plugins()
        .into_iter()
        .map(|name| {
            let priority = plugins::find(name).map_or(0, |plugin| plugin.priority);
            (name.to_owned(), json!({"version": KONG_VERSION, "priority": priority}))
        })
        .collect();
    let mut configuration = state.configuration.clone();
    let database = match &state.source {
        Source::Store(feed) => feed.store().kind(),
        Source::File(_) => "off",
    };
    configuration.insert("database".into(), database.into());
    let loaded: Map<String, Value> = enabled_plugins().into_iter().map(|name| (name.to_owned(), true.into())).collect();
    configuration.entry("loaded_plugins").or_insert_with(|| loaded.into());
    for (name, value) in [
        ("role", json!("traditional")),
        ("router_flavor", json!("traditional_compatible")),
        ("admin_gui_path", json!("/")),
    ] {
        configuration.entry(name).or_insert(value);
    }
    let pid = std::process::id();
    Ok(Answer::ok(json!({
        "tagline": "Welcome to kong",
        "version": KONG_VERSION,
        "edition": "community",
        "hostname": state.hostname,
        "node_id": state.resources.metrics.node_id(),
        "lua_version": "none: Portcullis is written in Rust",
        "portcullis": {"version": env!("CARGO_PKG_VERSION")},
        "timers": {"running": 0, "pending": 0},
        "plugins": {
            "available_on_server": available,
            "enabled_in_cluster": state.entities.plugins_in_use().await?,
            "disabled_on_server": {},
        },
        "configuration": configuration,
        "pids": {"master": pid, "workers": [pid]},
    })))
}

/// `GET /status`, also of the status listener.
fn status(state: &State, request: &Incoming) -> Result<Answer, Fault> {
    let unit = request.argument("unit").unwrap_or("m");
    let scale: usize = match request.argument("scale").map(str::parse) {
        None => 2,
        Some(Ok(scale)) if scale <= 32 => scale,
        Some(_) => {
            return Err(Fault::plain(StatusCode::BAD_REQUEST, "invalid scale (must be a number between 0 and 32)"));
        }
    };
    let (divisor, name) = match unit.to_ascii_lowercase().as_str() {
        "b" => (1.0, ""),
        "k" => (1024.0, "KiB"),
        "m" => (1_048_576.0, "MiB"),
        "g" => (1_073_741_824.0, "GiB"),
        _ => {
            let message = format!("invalid unit '{unit}' (expected 'k/K', 'm/M', 'g/G', or 'b/B')");
            return Err(Fault::plain(StatusCode::BAD_REQUEST, message));
        }
    };
    let size = |bytes: u64| match name {
        "" => Value::from(bytes),
        name => Value::from(format!("{:.scale$} {name}", bytes as f64 / divisor)),
    };
    let metrics = &state.resources.metrics;
    let connections = &metrics.connections;
    let mut body = json!({
        "memory": {
            "lua_shared_dicts": {},
            "workers_lua_vms": [{"http_allocated_gc": size(resident_bytes()), "pid": std::process::id()}],
        },
        "server": {
            "connections_accepted": connections.total_accepted(),
            "connections_active": connections.active(),
            "connections_handled": connections.total_handled(),
            "connections_reading": 0,
            "connections_writing": connections.active(),
            "connections_waiting": 0,
            "total_requests": metrics.total_requests(),
        },
        "database": {"reachable": state.database_reachable()},
    });
    if matches!(state.source, Source::File(_)) {
        body["configuration_hash"] = state.published.load().origin.hash.as_str().into();
    }
    Ok(Answer::ok(body))
}

/// Memory of the process, in bytes; 0 where the system does not say.
fn resident_bytes() -> u64 {
    const PAGE: u64 = 4096;
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).map_or(0, |pages| pages * PAGE)
}

async fn tags(state: &State, request: &Incoming, of: Option<&str>) -> Result<Answer, Fault> {
    let size = size(request)?;
    let after = match read_offset(request)?.as_deref() {
        Some([tag, collection, id]) => {
            let id = parse_id(id).ok_or_else(|| {
                Fault::invalid_offset(request.argument("offset").unwrap_or_default(), "unexpected value")
            })?;
            Some(Tagged { tag: tag.clone(), collection: collection.clone(), id })
        }
        Some(_) => {
            return Err(Fault::invalid_offset(request.argument("offset").unwrap_or_default(), "unexpected value"));
        }
        None => None,
    };
    let (found, more) = state.entities.tags(of, after.as_ref(), size).await?;
    let data: Vec<Value> = found
        .iter()
        .map(|tagged| json!({"entity_name": tagged.collection, "entity_id": tagged.id, "tag": tagged.tag}))
        .collect();
    let Some(last) = found.last().filter(|_| more) else {
        return Ok(Answer::ok(json!({"data": data, "next": null})));
    };
    let offset = write_offset(&json!([last.tag, last.collection, last.id.to_string()]));
    let size = request.argument("size").map(|size| format!("&size={size}")).unwrap_or_default();
    Ok(Answer::ok(json!({"data": data, "next": format!("/tags?offset={offset}{size}"), "offset": offset})))
}

fn log_level(state: &State) -> Result<Answer, Fault> {
    let level = state.log.as_ref().map_or("notice", |log| log.level().name());
    Ok(Answer::ok(json!({"message": format!("log level: {level}")})))
}

fn set_log_level(state: &State, request: &Incoming) -> Result<Answer, Fault> {
    let name = request.segments.last().map_or("", String::as_str);
    let Some(level) = Level::from_name(name) else {
        return Err(Fault::plain(StatusCode::BAD_REQUEST, format!("unknown log level: {name}")));
    };
    if let Some(log) = &state.log {
        let old = log.level();
        if old == level {
            return Ok(Answer::ok(json!({"message": format!("log level is already {}", level.name())})));
        }
        log.set_level(level);
    }
    Ok(Answer::ok(json!({"message": "log level changed"})))
}

fn upstreams() -> Result<&'static Collection, Fault> {
    Collection::find("upstreams").ok_or_else(Fault::unexpected)
}

fn targets() -> Result<&'static Collection, Fault> {
    Collection::find("targets").ok_or_else(Fault::unexpected)
}

/// The upstream that the path names.
async fn upstream(state: &State, request: &Incoming) -> Result<Map<String, Value>, Fault> {
    let of = upstreams()?;
    let key = Key::parse(of, request.segments.get(1).map_or("", String::as_str))?;
    state.entities.select(of, &key).await?.ok_or_else(Fault::not_found)
}

fn name_of(entity: &Map<String, Value>) -> &str {
    entity.get("name").and_then(Value::as_str).unwrap_or("")
}

async fn upstream_health(state: &State, request: &Incoming) -> Result<Answer, Fault> {
    let upstream = upstream(state, request).await?;
    let id = id_of(&upstream).ok_or_else(Fault::not_found)?;
    let node = state.resources.metrics.node_id();
    let health = state.resources.upstreams.upstream_health(name_of(&upstream));
    if request.argument("balancer_health") == Some("1") {
        let state = health.as_ref().map_or(Health::HealthchecksOff, |health| health.health);
        let details = health.as_ref().map(|health| {
            json!({"healthy": health.health != Health::Unhealthy, "weight": {"total": health.targets.iter().map(|t| u64::from(t.weight)).sum::<u64>()}})
        });
        let data = json!({"id": id, "health": state.as_str(), "details": details});
        return Ok(Answer::ok(json!({"data": data, "next": null, "node_id": node})));
    }
    let listing = Listing { size: size(request)?, after: None, tags: None, parent: targets_of(id)?, only: None };
    let listed = state.entities.list(targets()?, &listing).await?;
    let data: Vec<Value> = listed
        .data
        .into_iter()
        .map(|target| {
            let mut target = target.into_body()?;
            let address = target.get("target").and_then(Value::as_str).unwrap_or("");
            let found = health.as_ref().and_then(|health| health.targets.iter().find(|there| &*there.target == address));
            let state = found.map_or(Health::HealthchecksOff, |found| found.health);
            let weight = target.get("weight").and_then(Value::as_u64).unwrap_or(0);
            let addresses: Vec<Value> = found
                .iter()
                .flat_map(|found| &found.addresses)
                .map(|at| json!({"ip": at.address.ip(), "port": at.address.port(), "weight": at.weight, "health": at.health.as_str()}))
                .collect();
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
            target.insert("data".into(), json!({"addresses": addresses, "host": host, "nodeWeight": weight, "weight": {"total": weight}}));
            target.insert("health".into(), if weight == 0 { Value::from(Health::HealthchecksOff.as_str()) } else { state.as_str().into() });
            Ok(Value::Object(target))
        })
        .collect::<Result<_, Fault>>()?;
    Ok(Answer::ok(json!({"data": data, "next": null, "node_id": node})))
}

fn targets_of(upstream: uuid::Uuid) -> Result<Option<crate::store::Parent>, Fault> {
    let foreign = targets()?.foreign("upstream").ok_or_else(Fault::unexpected)?;
    Ok(Some(parent(foreign, upstream)))
}

async fn all_targets(state: &State, request: &Incoming) -> Result<Answer, Fault> {
    let upstream = upstream(state, request).await?;
    let id = id_of(&upstream).ok_or_else(Fault::not_found)?;
    let listing = Listing { size: size(request)?, after: None, tags: None, parent: targets_of(id)?, only: None };
    let listed = state.entities.list(targets()?, &listing).await?;
    let data = listed.data.into_iter().map(|target| target.into_body().map(Value::Object));
    let data: Vec<Value> = data.collect::<Result<_, Fault>>()?;
    Ok(Answer::ok(json!({"data": data, "next": null})))
}

/// `…/targets/{target}[/{address}]/healthy` and `…/unhealthy`.
async fn set_target_health(state: &State, request: &Incoming) -> Result<Answer, Fault> {
    static WARNED: AtomicBool = AtomicBool::new(false);
    let upstream = upstream(state, request).await?;
    let owner = id_of(&upstream).ok_or_else(Fault::not_found)?;
    let segment = request.segments.get(3).map_or("", String::as_str);
    let of = targets()?;
    let key = super::documents::child_key(of, owner, segment)?;
    let target = state.entities.select(of, &key).await?;
    let target = target
        .filter(|target| super::entities::reference(target, "upstream") == Some(owner))
        .ok_or_else(Fault::not_found)?;
    let target = target.get("target").and_then(Value::as_str).unwrap_or("");
    let address = (request.segments.len() > 5).then(|| request.segments.get(4).map_or("", String::as_str));
    let healthy = request.segments.last().is_some_and(|last| last == "healthy");
    let known = state.resources.upstreams.set_health(name_of(&upstream), target, address, healthy);
    if !known && address.is_some() {
        return Err(Fault::not_found());
    }
    if !known && !WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(target, "the health of a target without an address cannot be set");
    }
    Ok(Answer::no_content())
}
