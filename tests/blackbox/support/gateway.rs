//! A gateway with a configuration, on a port of its own.

use portcullis::entity::{Dataset, Entity, Kind};
use portcullis::gateway::testing::{Proxy, Setup};
use portcullis::schema::Now;
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
        // What plugins fetch in the background is fetched on this runtime.
        let guard = runtime.enter();
        proxy.publish(dataset).unwrap();
        drop(guard);
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
        let document = json!({"id": id(1, number), "name": format!("service-{number}"), "host": "127.0.0.1"});
        put(&mut dataset, Kind::Service, merged(document, given));
    }
    for (number, given) in routes.iter().enumerate() {
        let mut given = given.clone();
        if let Some(service) = given["service"].as_u64() {
            given["service"] = json!({"id": id(1, usize::try_from(service).unwrap())});
        }
        let document = json!({"id": id(2, number), "name": format!("route-{number}")});
        put(&mut dataset, Kind::Route, merged(document, &given));
    }
    dataset
}

/// One service on a port of this machine, behind `/`.
pub fn one_service(port: u16) -> Dataset {
    dataset(&[json!({"port": port})], &[json!({"paths": ["/"], "service": 0})])
}

/// Adds an entity, completed by its table.
pub fn put(dataset: &mut Dataset, kind: Kind, document: Value) {
    let Value::Object(document) = document else { panic!("an entity is an object") };
    let table = portcullis::entity::tables::table(kind);
    let complete = table.insert(document, Now::system()).unwrap_or_else(|faults| panic!("{faults:?}"));
    dataset.put(Entity::from_document(kind, Value::Object(complete)).unwrap());
}

/// Adds a plugin to a route, given by its position, or to everything.
pub fn plugin(dataset: &mut Dataset, route: Option<usize>, name: &str, config: Value) {
    let route = route.map(|number| json!({"id": id(2, number)}));
    put(dataset, Kind::Plugin, json!({"name": name, "route": route, "config": config}));
}

/// Adds a consumer with an HS256 credential (`key`, secret) and an API key, both named after it.
pub fn consumer(dataset: &mut Dataset, number: usize, name: &str) {
    let consumer = json!({"id": id(3, number)});
    put(dataset, Kind::Consumer, json!({"id": id(3, number), "username": name}));
    let secret = format!("secret-of-{name}-that-is-long-enough");
    put(dataset, Kind::JwtSecret, json!({"consumer": consumer, "key": name, "secret": secret}));
    put(dataset, Kind::KeyAuthCredential, json!({"consumer": consumer, "key": format!("key-of-{name}")}));
}

/// A token of that consumer.
pub fn token(name: &str) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(format!("secret-of-{name}-that-is-long-enough").as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &json!({"iss": name}), &key).unwrap()
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
