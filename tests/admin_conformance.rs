//! Recorded answers of Kong's Admin API, asked of ours in the same process: with SQLite, with PostgreSQL (where
//! `PORTCULLIS_TEST_POSTGRES` names an empty database) and without a database.

#[path = "support/answer.rs"]
#[allow(dead_code, reason = "only compared here")]
mod answer;
#[path = "support/recorded.rs"]
mod recorded;

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

use self::answer::Answer;
use self::recorded::{Bindings, compare_answer, conformance, differences, pairs};

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

async fn ask(router: &Router, recorded: &Value, bindings: &Bindings) -> Answer {
    let asked = bindings.rewrite(&recorded["request"]);
    let body = asked["body"].as_str().unwrap_or("").to_owned();
    let mut request =
        http::Request::builder().method(asked["method"].as_str().unwrap()).uri(asked["path"].as_str().unwrap());
    for (name, value) in pairs(&asked["headers"]) {
        // Another length where generated values were put in.
        let value = if name.eq_ignore_ascii_case("content-length") { body.len().to_string() } else { value };
        request = request.header(name, value);
    }
    let response = router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
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
    let differences = differences();
    let mut bindings = Bindings::default();
    let (mut faults, mut count) = (Vec::new(), 0);
    for line in conformance(file).lines() {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let name = recorded["name"].as_str().unwrap();
        let answer = ask(router, &recorded, &bindings).await;
        count += 1;
        if let Some(fault) = compare_answer(&recorded, &answer, differences.get(name), &mut bindings) {
            faults.push(format!("{name}: {fault}"));
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
    declared.load(conformance("jwt_kong_config.json")).await.unwrap();
    let router = admin(Source::File(declared), published, resources);
    replay(&router, "admin_dbless.jsonl").await;
}
