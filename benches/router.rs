//! The router's part of a request: one route against thousands, in the shapes configurations have.
//!
//! `cargo bench --bench router`. Within a shape the time should hardly grow with the number of routes.

use std::cell::LazyCell;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue};
use portcullis::entity::Route;
use portcullis::router::{Lookup, Router, normalise, upstream_path};
use serde_json::{Value, json};

criterion_group!(benches, find, prepare);
criterion_main!(benches);

const COUNTS: [usize; 4] = [1, 10, 1_000, 10_000];

/// A shape: its name, the n-th route, and a request for the n-th route.
type Shape = (&'static str, fn(usize) -> Value, fn(usize) -> Asked);

const SHAPES: &[Shape] = &[
    (
        "prefixes",
        |n| json!({"paths": [format!("/service-{n}/v1")]}),
        |n| Asked::get("", format!("/service-{n}/v1/items/42")),
    ),
    (
        "hosts",
        |n| json!({"hosts": [format!("tenant-{n}.example.com")], "paths": ["/"]}),
        |n| Asked::get(&format!("tenant-{n}.example.com"), "/v1/items/42".into()),
    ),
    (
        "wildcard_hosts",
        |n| json!({"hosts": [format!("*.tenant-{n}.example.com")], "paths": ["/"]}),
        |n| Asked::get(&format!("api.tenant-{n}.example.com"), "/v1/items/42".into()),
    ),
    (
        "regexes",
        |n| json!({"paths": [format!(r"~/service-{n}/users/(?<user>\d+)/items$")]}),
        |n| Asked::get("", format!("/service-{n}/users/42/items")),
    ),
    (
        "regexes_beginning_alike",
        |n| json!({"paths": [format!(r"~/users/(?<user>[0-9]+)/service-{n}$")]}),
        |n| Asked::get("", format!("/users/42/service-{n}")),
    ),
    (
        "methods_and_paths",
        |n| json!({"paths": [format!("/r{}", n / 2)], "methods": [if n % 2 == 0 { "GET" } else { "POST" }]}),
        |n| Asked::get("", format!("/r{}/x", n / 2)),
    ),
    (
        "headers",
        |n| json!({"paths": ["/"], "headers": {"x-tenant": [format!("tenant-{n}")]}}),
        |n| Asked::get("", "/v1/items/42".into()).header("x-tenant", format!("tenant-{n}")),
    ),
];

struct Asked {
    host: String,
    path: String,
    headers: HeaderMap,
}

impl Asked {
    fn get(host: &str, path: String) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static("*/*"));
        headers.insert("user-agent", HeaderValue::from_static("bench/1"));
        Self { host: host.into(), path, headers }
    }

    fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.insert(name, HeaderValue::try_from(value).expect("a header value"));
        self
    }

    fn lookup(&self) -> Lookup<'_> {
        Lookup {
            method: "GET",
            host: &self.host,
            host_port: None,
            listen_port: 8000,
            path: &self.path,
            headers: &self.headers,
            tls: false,
            sni: None,
        }
    }
}

fn route(n: usize, attributes: Value) -> Route {
    let mut route = json!({
        "id": uuid::Uuid::from_u128(n as u128 + 1), "created_at": 0, "updated_at": 0, "name": null,
        "protocols": ["http", "https"], "methods": null, "hosts": null, "paths": null, "headers": null, "snis": null,
        "sources": null, "destinations": null, "https_redirect_status_code": 426, "regex_priority": 0,
        "strip_path": true, "path_handling": "v0", "preserve_host": false, "request_buffering": true,
        "response_buffering": true, "service": null, "tags": null,
    });
    if let (Some(route), Value::Object(attributes)) = (route.as_object_mut(), attributes) {
        route.extend(attributes);
    }
    serde_json::from_value(route).expect("a route")
}

fn compile(count: usize, attributes: fn(usize) -> Value) -> Router {
    let routes: Vec<_> = (0..count).map(|n| route(n, attributes(n))).collect();
    let mut diagnostics = Vec::new();
    let router = Router::compile(&routes.iter().collect::<Vec<_>>(), &mut diagnostics);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    router
}

fn find(criterion: &mut Criterion) {
    for (shape, attributes, asked) in SHAPES {
        let mut group = criterion.benchmark_group(format!("router/{shape}"));
        for count in COUNTS {
            // Compiled only if this one is run: the largest take a while.
            let router = LazyCell::new(|| compile(count, *attributes));
            // A hundred different requests, as a busy gateway would see them; those for other methods than GET left
            // out.
            let asked = LazyCell::new(|| {
                let asked = (0..count).step_by((count / 100).max(1)).map(asked);
                let asked: Vec<_> = asked.filter(|asked| router.find(&asked.lookup()).is_some()).collect();
                assert!(!asked.is_empty());
                asked
            });
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                let mut next = asked.iter().cycle();
                bencher.iter(|| next.next().and_then(|asked| router.find(black_box(&asked.lookup()))))
            });
        }
        group.finish();
    }
    let router = LazyCell::new(|| compile(10_000, SHAPES[0].1));
    let asked = Asked::get("nobody.example.com", "/service-9999x/v1".into());
    criterion.bench_function("router/no_match", |bencher| {
        let router = &*router;
        bencher.iter(|| router.find(black_box(&asked.lookup())))
    });
}

fn prepare(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("path");
    for (name, raw) in [
        ("normal", "/service-42/v1/items/42/reviews"),
        ("escaped", "/service-42/caf%C3%A9/cat%20and%20dog"),
        ("dots", "/service-42/a/../v1//items/./42"),
    ] {
        group.bench_function(BenchmarkId::new("normalise", name), |bencher| {
            bencher.iter(|| normalise(black_box(raw)).is_ok())
        });
    }
    let route = route(0, json!({"paths": ["/service-42"]}));
    let router = Router::compile(&[&route], &mut Vec::new());
    let asked = Asked::get("", "/service-42/v1/items/42".into());
    let found = router.find(&asked.lookup()).expect("a match");
    for (name, base) in [("root", None), ("service_path", Some("/base"))] {
        group.bench_function(BenchmarkId::new("upstream_path", name), |bencher| {
            bencher.iter(|| upstream_path(black_box(base), &route, &asked.path, &found).path.len())
        });
    }
    group.finish();
}
