//! A gateway with a configuration, on a port of its own.

use portcullis::entity::{Dataset, Entity, Kind};
use portcullis::gateway::testing::{Proxy, Setup};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::http::Endpoint;

/// A running gateway and the runtime it runs on.
pub struct Gateway {
    pub proxy: Proxy,
    _runtime: Runtime,
}

impl Gateway {
    pub fn start(dataset: Dataset) -> Self {
        Self::with(dataset, Setup::default())
    }

    pub fn with(dataset: Dataset, setup: Setup) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let proxy = runtime.block_on(async { Proxy::start(setup).unwrap() });
        proxy.publish(dataset).unwrap();
        Self { proxy, _runtime: runtime }
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::plain(self.proxy.address.port())
    }

    pub fn port(&self) -> u16 {
        self.proxy.address.port()
    }
}

/// A dataset of services and routes, each given by the fields that matter; routes name their service by its position.
pub fn dataset(services: &[Value], routes: &[Value]) -> Dataset {
    let mut dataset = Dataset::default();
    for (number, given) in services.iter().enumerate() {
        let document = json!({
            "id": id(1, number), "created_at": 1, "updated_at": 1, "name": format!("service-{number}"), "retries": 5,
            "protocol": "http", "host": "127.0.0.1", "port": 80, "path": null, "connect_timeout": 60000,
            "write_timeout": 60000, "read_timeout": 60000, "tags": null, "client_certificate": null, "tls_verify": null,
            "tls_verify_depth": null, "ca_certificates": null, "enabled": true,
        });
        dataset.put(Entity::from_document(Kind::Service, merged(document, given)).unwrap());
    }
    for (number, given) in routes.iter().enumerate() {
        let mut given = given.clone();
        if let Some(service) = given["service"].as_u64() {
            given["service"] = json!({"id": id(1, usize::try_from(service).unwrap())});
        }
        let document = json!({
            "id": id(2, number), "created_at": 1, "updated_at": 1, "name": format!("route-{number}"),
            "protocols": ["http", "https"], "methods": null, "hosts": null, "paths": null, "headers": null, "snis": null,
            "sources": null, "destinations": null, "https_redirect_status_code": 426, "regex_priority": 0,
            "strip_path": true, "path_handling": "v0", "preserve_host": false, "request_buffering": true,
            "response_buffering": true, "service": null, "tags": null,
        });
        dataset.put(Entity::from_document(Kind::Route, merged(document, &given)).unwrap());
    }
    dataset
}

/// One service on a port of this machine, behind `/`.
pub fn one_service(port: u16) -> Dataset {
    dataset(&[json!({"port": port})], &[json!({"paths": ["/"], "service": 0})])
}

fn id(kind: u8, number: usize) -> String {
    format!("00000000-0000-4000-8000-{kind:04}{number:08}")
}

fn merged(mut document: Value, given: &Value) -> Value {
    let fields = document.as_object_mut().unwrap();
    for (name, value) in given.as_object().unwrap() {
        fields.insert(name.clone(), value.clone());
    }
    document
}
