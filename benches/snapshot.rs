//! From entities to a snapshot: a whole configuration, and one changed credential.
//!
//! `cargo bench --bench snapshot`. A change of a consumer or a credential must not grow with their number.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use portcullis::entity::{Dataset, Entity, Kind};
use portcullis::plugins::Registries;
use portcullis::snapshot::{Change, Origin, Resources, Snapshot};
use portcullis::store::tokens::LocalTokens;
use serde_json::{Value, json};
use uuid::Uuid;

criterion_group!(benches, compile, change);
criterion_main!(benches);

const CONSUMERS: [u32; 2] = [1_000, 100_000];

fn id(kind: u128, n: u32) -> Uuid {
    Uuid::from_u128(kind << 64 | u128::from(n))
}

fn entity(kind: Kind, document: Value) -> Entity {
    Entity::from_document(kind, document).expect("an entity")
}

fn credential(n: u32, secret: &str) -> Entity {
    entity(
        Kind::JwtSecret,
        json!({
            "id": id(2, n), "created_at": 0, "consumer": {"id": id(1, n)}, "key": format!("key-{n}"),
            "secret": format!("{secret}-of-thirty-two-bytes-{n:06}"), "algorithm": "HS256", "rsa_public_key": null, "tags": null,
        }),
    )
}

/// A hundred services with a route each, `jwt` on all of them, and consumers with a credential each.
fn dataset(consumers: u32) -> Dataset {
    let mut dataset = Dataset::default();
    for n in 0..100 {
        dataset.put(entity(
            Kind::Service,
            json!({
                "id": id(3, n), "created_at": 0, "updated_at": 0, "name": format!("service-{n}"), "retries": 5,
                "protocol": "http", "host": "127.0.0.1", "port": 8080, "path": null, "connect_timeout": 60000,
                "write_timeout": 60000, "read_timeout": 60000, "tags": null, "client_certificate": null,
                "tls_verify": null, "tls_verify_depth": null, "ca_certificates": null, "enabled": true,
            }),
        ));
        dataset.put(entity(
            Kind::Route,
            json!({
                "id": id(4, n), "created_at": 0, "updated_at": 0, "name": format!("route-{n}"), "protocols": ["http", "https"],
                "methods": null, "hosts": null, "paths": [format!("/service-{n}")], "headers": null, "snis": null,
                "sources": null, "destinations": null, "https_redirect_status_code": 426, "regex_priority": 0,
                "strip_path": true, "path_handling": "v0", "preserve_host": false, "request_buffering": true,
                "response_buffering": true, "service": {"id": id(3, n)}, "tags": null,
            }),
        ));
    }
    dataset.put(entity(
        Kind::Plugin,
        json!({
            "id": id(5, 0), "created_at": 0, "updated_at": 0, "name": "jwt", "instance_name": null, "route": null,
            "service": null, "consumer": null, "protocols": ["http", "https"], "enabled": true, "ordering": null, "tags": null,
            "config": {
                "uri_param_names": ["jwt"], "cookie_names": [], "header_names": ["authorization"], "key_claim_name": "iss",
                "secret_is_base64": false, "claims_to_verify": ["exp"], "maximum_expiration": 0, "anonymous": null,
                "run_on_preflight": true, "realm": null,
            },
        }),
    ));
    for n in 0..consumers {
        dataset.put(entity(
            Kind::Consumer,
            json!({
                "id": id(1, n), "created_at": 0, "updated_at": 0, "username": format!("user-{n}"),
                "custom_id": format!("custom-{n}"), "tags": null,
            }),
        ));
        dataset.put(credential(n, "a-secret"));
    }
    dataset
}

fn resources() -> Resources {
    Resources {
        registries: Registries::new(Arc::new(LocalTokens::in_memory())),
        upstreams: Arc::default(),
        metrics: Arc::default(),
    }
}

fn compiled(dataset: Dataset, resources: &Resources) -> Snapshot {
    Snapshot::compile(dataset, Origin::none(), resources).expect("a snapshot").0
}

fn compile(criterion: &mut Criterion) {
    let resources = resources();
    let mut group = criterion.benchmark_group("snapshot/compile");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    for consumers in CONSUMERS {
        let dataset = dataset(consumers);
        group.bench_function(BenchmarkId::from_parameter(consumers), |bencher| {
            bencher.iter_batched(|| dataset.clone(), |dataset| compiled(dataset, &resources), BatchSize::PerIteration)
        });
    }
    group.finish();
}

fn change(criterion: &mut Criterion) {
    let resources = resources();
    let mut group = criterion.benchmark_group("snapshot/change_one_credential");
    for consumers in CONSUMERS {
        let snapshot = compiled(dataset(consumers), &resources);
        let change = || vec![Change::Put(credential(consumers / 2, "another"))];
        group.bench_function(BenchmarkId::from_parameter(consumers), |bencher| {
            bencher.iter_batched(
                change,
                |change| snapshot.with_changes(change, Origin::none(), &resources),
                BatchSize::SmallInput,
            )
        });
    }
    group.finish();
}
