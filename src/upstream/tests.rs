//! The room as a whole: entities in, picks out; checks over real sockets on ports the system chose.

mod balancing;
mod health;
mod names;
mod tls;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::diagnostic::Diagnostic;
use crate::entity::{Dataset, Entity, Kind};

/// Answers from a table; a name that is not in it does not resolve.
#[derive(Default)]
struct Table(Mutex<HashMap<String, Vec<IpAddr>>>);

impl Table {
    fn set(&self, host: &str, addresses: &[&str]) {
        self.0.lock().insert(host.into(), addresses.iter().map(|ip| ip.parse().unwrap()).collect());
    }

    fn forget(&self, host: &str) {
        self.0.lock().remove(host);
    }
}

impl Resolve for Table {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.0.lock().get(host).cloned().ok_or_else(|| io::Error::other("no such name"))
    }
}

/// A registry over a table of names that are resolved again every 20 ms.
fn registry() -> (Registry, Arc<Table>) {
    let table = Arc::new(Table::default());
    let options =
        Options { dns_interval: Duration::from_millis(20), dns_retry: Duration::from_millis(5), ..Options::default() };
    (Registry::new(options, Arc::clone(&table) as Arc<dyn Resolve>), table)
}

/// What one snapshot holds.
struct Compiled {
    destination: Arc<Destination>,
    _upstreams: Upstreams,
    diagnostics: Vec<Diagnostic>,
}

/// Compiles a configuration's first service, with its names resolved.
fn compile(registry: &Registry, dataset: &Dataset) -> Compiled {
    let mut diagnostics = Vec::new();
    let (destination, _upstreams) = unsettled(registry, dataset, &mut diagnostics);
    registry.settle(Duration::from_secs(5));
    Compiled { destination, _upstreams, diagnostics }
}

/// Compiles a configuration's first service, with names as they are.
fn unsettled(
    registry: &Registry,
    dataset: &Dataset,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Arc<Destination>, Upstreams) {
    let upstreams = registry.upstreams(dataset, diagnostics);
    let destination = registry.destination(dataset.services.first().unwrap(), &upstreams, dataset, diagnostics);
    (destination, upstreams)
}

impl Compiled {
    fn pick(&self) -> Result<Picked, PickFault> {
        self.pick_with(&mut Attempts::default())
    }

    fn pick_with(&self, attempts: &mut Attempts) -> Result<Picked, PickFault> {
        self.destination.pick(&input(&HeaderMap::new()), attempts)
    }

    /// How many of some picks went to each address.
    fn spread(&self, picks: usize) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for _ in 0..picks {
            *counts.entry(address(&self.pick().unwrap())).or_default() += 1;
        }
        counts
    }
}

fn address(picked: &Picked) -> String {
    picked.peer._address.to_string()
}

fn input(headers: &HeaderMap) -> HashInput<'_> {
    HashInput {
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        headers,
        path: "/",
        query: None,
        consumer: None,
        uri_capture: None,
        preserved_host: None,
    }
}

/// A configuration of one service, `fields` over the defaults.
fn service(fields: Value) -> Dataset {
    let mut dataset = Dataset::default();
    put(&mut dataset, Kind::Service, SERVICE_DEFAULTS, fields);
    dataset
}

/// A configuration of one service `up`, one upstream of that name, and its targets.
fn upstream(fields: Value, targets: &[(&str, u16)]) -> Dataset {
    let mut dataset = service(json!({"host": "up"}));
    add_upstream(&mut dataset, fields, targets);
    dataset
}

fn add_upstream(dataset: &mut Dataset, fields: Value, targets: &[(&str, u16)]) {
    put(dataset, Kind::Upstream, UPSTREAM_DEFAULTS, fields);
    let id = dataset.upstreams.first().unwrap().id;
    for (target, weight) in targets {
        let fields =
            json!({"upstream": {"id": id}, "target": target, "weight": weight, "created_at": 0.5, "updated_at": 0.5});
        put(dataset, Kind::Target, r#"{"tags": null}"#, fields);
    }
}

fn put(dataset: &mut Dataset, kind: Kind, defaults: &str, fields: Value) {
    let mut document: Value = serde_json::from_str(defaults).unwrap();
    document["id"] = json!(uuid::Uuid::new_v4());
    merge(&mut document, fields);
    dataset.put(Entity::from_document(kind, document).unwrap());
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Waits for the background to bring something about.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const SERVICE_DEFAULTS: &str = r#"{
    "created_at": 0, "updated_at": 0, "name": "s", "retries": 5, "protocol": "http", "host": "127.0.0.1", "port": 80, "path": null,
    "connect_timeout": 60000, "write_timeout": 60000, "read_timeout": 60000, "tags": null, "client_certificate": null,
    "tls_verify": null, "tls_verify_depth": null, "ca_certificates": null, "enabled": true
}"#;

const UPSTREAM_DEFAULTS: &str = r#"{
    "created_at": 0, "updated_at": 0, "name": "up", "algorithm": "round-robin", "slots": 10000,
    "hash_on": "none", "hash_fallback": "none", "hash_on_header": null, "hash_fallback_header": null,
    "hash_on_cookie": null, "hash_on_cookie_path": "/", "hash_on_query_arg": null, "hash_fallback_query_arg": null,
    "hash_on_uri_capture": null, "hash_fallback_uri_capture": null,
    "healthchecks": {
        "active": {
            "type": "http", "timeout": 1, "concurrency": 10, "http_path": "/", "https_sni": null,
            "https_verify_certificate": true, "headers": null,
            "healthy": {"interval": 0, "http_statuses": [200, 302], "successes": 0},
            "unhealthy": {"interval": 0, "http_statuses": [429, 404, 500, 501, 502, 503, 504, 505],
                          "tcp_failures": 0, "timeouts": 0, "http_failures": 0}
        },
        "passive": {
            "type": "http",
            "healthy": {"http_statuses": [200, 201, 301, 302], "successes": 0},
            "unhealthy": {"http_statuses": [429, 500, 503], "tcp_failures": 0, "timeouts": 0, "http_failures": 0}
        },
        "threshold": 0
    },
    "host_header": null, "client_certificate": null, "use_srv_name": false, "tags": null
}"#;
