//! Entities that a gateway cannot serve: refused when they are written here; kept from doing harm when another version wrote them.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use portcullis::admin::{Options, Parts, Source, State, router};
use portcullis::plugins::Registries;
use portcullis::snapshot::{Published, Resources};
use portcullis::store::tokens::LocalTokens;
use portcullis::store::{self, Collection, Document, Feed, Store};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tower::ServiceExt;
use uuid::Uuid;

struct World {
    router: Router,
    store: Store,
    feed: Arc<Feed>,
    published: Arc<Published>,
    _stop: watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

async fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let store = store::open(&format!("sqlite:{}/portcullis.db", folder.path().display())).await.unwrap();
    let resources = Resources {
        registries: Registries::new(Arc::new(LocalTokens::in_memory())),
        upstreams: Arc::default(),
        metrics: Arc::default(),
    };
    let published = Arc::<Published>::default();
    let feed = Feed::new(store.clone(), published.clone(), resources.clone());
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(feed.clone().run(stopped));
    let parts = Parts {
        options: Options::default(),
        source: Source::Store(feed.clone()),
        published: published.clone(),
        resources,
        access_log: Arc::new(portcullis::telemetry::AccessLog::off()),
        log: None,
        configuration: Map::new(),
    };
    World { router: router(State::new(parts)), store, feed, published, _stop: stop, _folder: folder }
}

impl World {
    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = body.to_string();
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("content-length", body.len())
            .body(Body::from(body))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// Writes a document as another version would: without asking this one.
    async fn plant(&self, collection: &str, body: Value) {
        let Value::Object(body) = body else { panic!("an object") };
        let document = Document::new(Collection::find(collection).unwrap(), body, None).unwrap();
        let mut write = self.store.write().await.unwrap();
        write.insert(&document).await.unwrap().unwrap();
        let revision = write.commit().await.unwrap();
        self.feed.served(revision).await;
    }
}

fn pem(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn said(feed: &Feed) -> Vec<String> {
    let mut said: Vec<String> = feed.unservable().iter().map(|finding| finding.code.to_owned()).collect();
    said.sort();
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_served_is_not_stored() {
    let world = world().await;
    let ((cert, key), (_, other)) = (pem("a.test"), pem("b.test"));
    assert_eq!(world.ask("PUT", "/services/s", json!({"url": "http://127.0.0.1:9"})).await.0, 200);
    for (path, body, field) in [
        ("/plugins", json!({"name": "acl", "config": {"allow": ["a"]}}), "name"),
        ("/plugins", json!({"name": "openid-connect", "config": {"issuer": "no url"}}), "config"),
        ("/certificates", json!({"cert": cert, "key": other}), "@entity"),
        ("/certificates", json!({"cert": "{vault://env/portcullis-not-set}", "key": key}), "@entity"),
        ("/services/s/routes", json!({"paths": ["~/(?:a{1000}){1000}$"]}), "paths"),
        ("/services/s/routes", json!({"paths": ["/"], "headers": {"a b": ["c"]}}), "headers"),
        ("/services", json!({"url": "https://a.test", "ca_certificates": [Uuid::nil()]}), "ca_certificates"),
    ] {
        let (status, answer) = world.ask("POST", path, body.clone()).await;
        assert_eq!(status, 400, "{path} {body}: {answer}");
        assert!(answer["fields"].get(field).is_some(), "{path} {body}: {answer}");
    }
    assert_eq!(said(&world.feed), [""; 0]);
    assert_eq!(world.store.count("plugins").await.unwrap(), 0);
    let (status, certificate) = world.ask("POST", "/certificates", json!({"cert": cert, "key": key})).await;
    assert_eq!(status, 201, "{certificate}");
    let path = format!("/certificates/{}", certificate["id"].as_str().unwrap());
    assert_eq!(world.ask("PATCH", &path, json!({"key": other})).await.0, 400);
    assert_eq!(world.ask("GET", &path, Value::Null).await.1["key"], certificate["key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_version_wrote_stops_nothing_else() {
    let world = world().await;
    let (id, route) = (Uuid::new_v4(), Uuid::new_v4());
    assert_eq!(world.ask("PUT", "/services/s", json!({"url": "http://127.0.0.1:9"})).await.0, 200);
    let body = json!({"paths": ["/a"], "service": {"name": "s"}});
    assert_eq!(world.ask("PUT", &format!("/routes/{route}"), body).await.0, 200);
    let strange = |id: Uuid, name: &str, config: Value| {
        json!({"id": id, "created_at": 1, "updated_at": 1, "name": name, "instance_name": null, "route": {"id": route}, "service": null,
               "consumer": null, "config": config, "protocols": ["http", "https"], "enabled": true, "tags": null})
    };
    world.plant("plugins", strange(id, "of-tomorrow", json!({}))).await;
    assert_eq!(said(&world.feed), ["unsupported-plugin"]);
    let chain = || {
        let snapshot = world.published.load();
        snapshot.routing.routes[0].chain.general().map(|there| there.entity.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(chain(), ["of-tomorrow"], "something stands in its place");
    // Further writes are served, of any kind.
    assert_eq!(world.ask("PUT", "/consumers/alice", json!({})).await.0, 200);
    assert!(world.published.load().directory.by_username.get("alice").is_some());
    assert_eq!(world.ask("PUT", "/services/t", json!({"url": "http://127.0.0.1:9"})).await.0, 200);
    assert_eq!(world.published.load().dataset.services.len(), 2);
    // A field of another type, a broken certificate, and a plugin whose configuration does not compile.
    let mut unreadable = strange(Uuid::new_v4(), "jwt", json!({}));
    unreadable["protocols"] = json!(["quic"]);
    unreadable["route"] = Value::Null;
    let unreadable_id = unreadable["id"].as_str().unwrap().to_owned();
    world.plant("plugins", unreadable).await;
    let certificate = json!({"id": Uuid::new_v4(), "created_at": 1, "updated_at": 1, "cert": "x", "key": "y", "cert_alt": null, "key_alt": null, "tags": null});
    world.plant("certificates", certificate).await;
    world.plant("plugins", strange(Uuid::new_v4(), "jwt", json!({}))).await;
    let all = ["schema", "unreadable-document", "unsupported-plugin", "unsupported-plugin", "unusable-certificate"];
    assert_eq!(said(&world.feed), all);
    // The same after a start from nothing.
    let published = Arc::<Published>::default();
    let fresh = Feed::new(world.store.clone(), published.clone(), world.feed.resources().clone());
    fresh.follow().await.unwrap();
    assert_eq!(said(&fresh), all);
    assert!(published.load().directory.by_username.get("alice").is_some());
    // What is taken away is no longer spoken of.
    for path in [format!("/plugins/{id}"), format!("/plugins/{unreadable_id}")] {
        assert_eq!(world.ask("DELETE", &path, Value::Null).await.0, 204);
    }
    assert_eq!(said(&world.feed), ["schema", "unusable-certificate"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn references_are_stored_and_their_values_served() {
    let world = world().await;
    // PATH is set everywhere; what it holds does not matter here.
    let config = json!({"issuer": "http://127.0.0.1:9/", "client_id": ["c"], "client_secret": ["{vault://env/path}"]});
    let (status, plugin) = world.ask("POST", "/plugins", json!({"name": "openid-connect", "config": config})).await;
    assert_eq!(status, 201, "{plugin}");
    assert_eq!(plugin["config"]["client_secret"], json!(["{vault://env/path}"]));
    let path = format!("/plugins/{}", plugin["id"].as_str().unwrap());
    assert_eq!(world.ask("GET", &path, Value::Null).await.1["config"]["client_secret"], json!(["{vault://env/path}"]));
    let served = world.published.load().dataset.plugins[0].config["client_secret"].clone();
    assert_eq!(served, json!([std::env::var("PATH").unwrap()]));
    let exported = world.store.export().await.unwrap();
    assert_eq!(exported.plugins[0].config["client_secret"], json!(["{vault://env/path}"]));
}
