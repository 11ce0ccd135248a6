//! Recorded answers of Kong's Admin API, asked of ours in the same process: with SQLite, with PostgreSQL (where
//! `PORTCULLIS_TEST_POSTGRES` names an empty database) and without a database.

#[path = "support/replay.rs"]
mod replay;

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use portcullis::admin::{Declared, Options, Parts, Source, State, router};
use portcullis::auth::oauth2::TokenStore;
use portcullis::declarative;
use portcullis::plugins::Registries;
use portcullis::snapshot::{Published, Resources};
use portcullis::store::tokens::{LocalTokens, SqlTokens};
use portcullis::store::{self, Feed};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tower::ServiceExt;

use self::replay::{Answer, Bindings, Case};

fn resources(tokens: Arc<dyn TokenStore>) -> Resources {
    Resources { registries: Registries::new(tokens), upstreams: Arc::default(), metrics: Arc::default() }
}

fn admin(source: Source, published: Arc<Published>, resources: Resources) -> Router {
    let options = Options::default();
    let access_log = Arc::new(portcullis::telemetry::AccessLog::off());
    router(State::new(Parts {
        options,
        source,
        published,
        resources,
        access_log,
        log: None,
        configuration: Map::new(),
    }))
}

/// The Admin API over a database. The sender stops its feed.
async fn with_store(url: &str) -> (Router, watch::Sender<bool>) {
    let store = store::open(url).await.unwrap();
    let (published, resources) = (Arc::<Published>::default(), resources(SqlTokens::new(store.clone())));
    let feed = Feed::new(store, published.clone(), resources.clone());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(feed.clone().run(stopped));
    (admin(Source::Store(feed), published, resources), stop)
}

async fn ask(router: &Router, case: &Case) -> Answer {
    let mut request = http::Request::builder().method(case.method.as_str()).uri(case.path.as_str());
    for (name, value) in &case.headers {
        request = request.header(name.as_str(), value.as_str());
    }
    let response = router.clone().oneshot(request.body(Body::from(case.body.clone())).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let headers = parts.headers.iter();
    Answer {
        status: parts.status.as_u16(),
        headers: headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect(),
        body: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

async fn replay(router: &Router, file: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let differences: Map<String, Value> =
        serde_json::from_str(&std::fs::read_to_string(folder.join("differences.json")).unwrap()).unwrap();
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let mut bindings = Bindings::default();
    let (mut faults, mut count) = (Vec::new(), 0);
    for line in text.lines() {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let case = Case::new(&recorded, &bindings);
        let answer = ask(router, &case).await;
        count += 1;
        if let Err(fault) = case.compare(&answer, differences.get(&case.name), &mut bindings) {
            faults.push(format!("{}: {fault}", case.name));
        }
    }
    assert!(faults.is_empty(), "{} of {count} differ:\n{}", faults.len(), faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_answers_as_kong() {
    let folder = tempfile::tempdir().unwrap();
    let (router, _stop) = with_store(&format!("sqlite:{}/portcullis.db", folder.path().display())).await;
    replay(&router, "admin.jsonl").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_answers_as_kong() {
    let Ok(url) = std::env::var("PORTCULLIS_TEST_POSTGRES") else {
        eprintln!("skipped: PORTCULLIS_TEST_POSTGRES names no database");
        return;
    };
    let (router, _stop) = with_store(&url).await;
    replay(&router, "admin.jsonl").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_it_answers_as_kong() {
    let (published, resources) = (Arc::<Published>::default(), resources(Arc::new(LocalTokens::in_memory())));
    let declared = Arc::new(Declared::new(declarative::Options::default(), published.clone(), resources.clone()));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    declared.load(std::fs::read_to_string(folder.join("jwt_kong_config.json")).unwrap()).await.unwrap();
    let router = admin(Source::File(declared), published, resources);
    replay(&router, "admin_dbless.jsonl").await;
}
