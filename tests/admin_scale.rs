//! A large database behind the Admin API: what one write and one page cost. Run by hand:
//! `cargo test --release --test admin_scale -- --ignored --nocapture` (CONSUMERS, DATABASE_URL).

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use portcullis::admin::{Options, Parts, Source, State, router};
use portcullis::entity::{Dataset, Entity, Kind, tables};
use portcullis::plugins::Registries;
use portcullis::schema::Now;
use portcullis::snapshot::{Published, Resources};
use portcullis::store::tokens::LocalTokens;
use portcullis::store::{self, Feed};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tower::ServiceExt;

fn entity(kind: Kind, input: Value) -> Entity {
    let Value::Object(input) = input else { panic!("an object") };
    let body = tables::table(kind).insert(input, Now::system()).unwrap();
    Entity::from_document(kind, Value::Object(body)).unwrap()
}

fn large(consumers: usize) -> Dataset {
    let mut dataset = Dataset::default();
    for n in 0..consumers {
        let id = uuid::Uuid::new_v4();
        dataset.put(entity(
            Kind::Consumer,
            json!({"id": id, "username": format!("consumer-{n}"), "tags": [format!("t{}", n % 100)]}),
        ));
        dataset.put(entity(
            Kind::JwtSecret,
            json!({"key": format!("key-{n}"), "secret": format!("secret-{n}"), "consumer": {"id": id}}),
        ));
    }
    dataset
}

async fn ask(router: &Router, method: &str, path: &str, body: &str) -> (Duration, u16, Value) {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("content-length", body.len())
        .body(Body::from(body.to_owned()))
        .unwrap();
    let start = Instant::now();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (start.elapsed(), status, serde_json::from_slice(&bytes).unwrap_or_default())
}

fn report(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what}: median {median:?}, worst {worst:?}");
    median
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and wants a quiet machine"]
async fn one_write_among_many() {
    let consumers = std::env::var("CONSUMERS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let folder = tempfile::tempdir().unwrap();
    let url = std::env::var("DATABASE_URL").unwrap_or_else(|_| format!("sqlite:{}/scale.db", folder.path().display()));
    let store = store::open(&url).await.unwrap();
    let start = Instant::now();
    let done = store.import(&large(consumers)).await.unwrap();
    println!("imported {} documents in {:?}", done.created, start.elapsed());
    let registries = Registries::new(Arc::new(LocalTokens::in_memory()));
    let resources = Resources { registries, upstreams: Arc::default(), metrics: Arc::default() };
    let published = Arc::<Published>::default();
    let feed = Feed::new(store, published.clone(), resources.clone());
    let start = Instant::now();
    feed.follow().await.unwrap();
    println!("loaded in {:?}", start.elapsed());
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(feed.clone().run(stopped));
    let source = Source::Store(feed);
    let parts = Parts {
        options: Options::default(),
        source,
        published: published.clone(),
        resources,
        access_log: Arc::new(portcullis::telemetry::AccessLog::off()),
        log: None,
        configuration: Map::new(),
    };
    let router = router(State::new(parts));
    let mut writes = Vec::new();
    for n in 0..50 {
        let (took, status, _) = ask(&router, "PUT", &format!("/consumers/consumer-{n}/jwt/new-{n}"), "{}").await;
        assert_eq!(status, 200);
        assert!(published.load().directory.jwt.get(format!("new-{n}").as_str()).is_some(), "served when answered");
        writes.push(took);
    }
    let write = report("write of a credential, until it is served", writes);
    let (mut pages, mut path) = (Vec::new(), "/jwts?size=1000".to_owned());
    for _ in 0..20 {
        let (took, status, page) = ask(&router, "GET", &path, "").await;
        assert_eq!(status, 200);
        pages.push(took);
        let Some(next) = page["next"].as_str() else { break };
        path = next.to_owned();
    }
    report("page of 1000", pages);
    let mut pages = Vec::new();
    for n in 0..20 {
        let (took, status, page) = ask(&router, "GET", &format!("/consumers?tags=t{n}"), "").await;
        assert_eq!((status, page["data"].as_array().unwrap().len()), (200, 100.min(consumers / 100)));
        pages.push(took);
    }
    let page = report("page of 100 with a tag", pages);
    assert!(write < Duration::from_millis(50) && page < Duration::from_millis(50));
}
