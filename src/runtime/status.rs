//! The status listener: whether this process lives, is ready, and what it counts.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::snapshot::{Origin, Published};
use crate::store::Feed;
use crate::telemetry::Metrics;

/// What the status endpoints answer from.
#[derive(Debug)]
pub struct Status {
    published: Arc<Published>,
    metrics: Arc<Metrics>,
    /// Told to be, or ending: no new work should be sent here.
    draining: AtomicBool,
    /// Whether entities come from declarative files, and not from a store.
    dbless: bool,
    /// The database that is followed, once it is.
    feed: OnceLock<Arc<Feed>>,
}

impl Status {
    pub fn new(published: Arc<Published>, metrics: Arc<Metrics>, dbless: bool) -> Arc<Self> {
        Arc::new(Self { published, metrics, draining: AtomicBool::new(false), dbless, feed: OnceLock::new() })
    }

    /// From now on the process is not ready, until it is started anew.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Tells readiness from a database as well.
    pub fn follow(&self, feed: Arc<Feed>) {
        // Fails when it is followed already.
        let _ = self.feed.set(feed);
    }

    fn database_lost(&self) -> bool {
        self.feed.get().is_some_and(|feed| !feed.is_reachable())
    }

    /// How many stored entities this version cannot serve.
    fn unservable(&self) -> usize {
        self.feed.get().map_or(0, |feed| feed.unservable().len())
    }

    /// Why the process is not ready, in Kong's words. A lost database is not among it: the last configuration is served.
    fn unready(&self) -> Option<&'static str> {
        let snapshot = self.published.load();
        if self.draining.load(Relaxed) {
            Some("draining")
        } else if !snapshot.is_loaded() || (self.dbless && snapshot.origin.hash == Origin::EMPTY_HASH) {
            Some("no configuration available (empty configuration present)")
        } else {
            None
        }
    }
}

/// The endpoints.
pub fn router(status: Arc<Status>) -> Router {
    Router::new()
        .route("/status", get(report))
        .route("/status/ready", get(ready).post(set_ready))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(|| async { message(StatusCode::NOT_FOUND, "Not found") })
        .method_not_allowed_fallback(|| async { message(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed") })
        .with_state(status)
}

fn json_answer(status: StatusCode, body: &Value) -> Response {
    let kind = (header::CONTENT_TYPE, "application/json; charset=utf-8");
    (status, [kind], body.to_string()).into_response()
}

fn message(status: StatusCode, message: &str) -> Response {
    json_answer(status, &json!({ "message": message }))
}

async fn ready(State(status): State<Arc<Status>>) -> Response {
    match status.unready() {
        None if status.database_lost() => message(StatusCode::SERVICE_UNAVAILABLE, "failed to connect to database"),
        // The rest is served: taking the gateway out of service would help nobody.
        None => match status.unservable() {
            0 => message(StatusCode::OK, "ready"),
            count => json_answer(StatusCode::OK, &json!({ "message": "ready", "unservable_entities": count })),
        },
        Some(why) => message(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

/// As Kubernetes probes ask. Unlike Kong's endpoint it stays ready without the database: were every gateway taken out of service
/// for it, its loss would end the traffic that the last configuration can serve.
async fn readyz(State(status): State<Arc<Status>>) -> Response {
    match status.unready() {
        None if status.database_lost() => "ok (the database cannot be reached)\n".into_response(),
        None => match status.unservable() {
            0 => "ok\n".into_response(),
            count => format!("ok ({count} stored entities cannot be served; the log names them)\n").into_response(),
        },
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// `status=draining`, as form or JSON.
async fn set_ready(State(status): State<Arc<Status>>, headers: HeaderMap, body: Bytes) -> Response {
    let form =
        url::form_urlencoded::parse(&body).find(|(name, _)| name == "status").map(|(_, value)| value.into_owned());
    let json = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let wanted = if json {
        serde_json::from_slice::<Value>(&body).ok().and_then(|body| Some(body.get("status")?.as_str()?.to_owned()))
    } else {
        form
    };
    if wanted.as_deref() != Some("draining") {
        return message(StatusCode::BAD_REQUEST, "invalid status value, only 'draining' is supported");
    }
    status.drain();
    tracing::warn!("told to drain: not ready any more");
    StatusCode::NO_CONTENT.into_response()
}

async fn metrics(State(status): State<Arc<Status>>) -> Response {
    let kind = (header::CONTENT_TYPE, "text/plain; charset=UTF-8");
    let metrics = status.metrics.clone();
    match tokio::task::spawn_blocking(move || metrics.encode()).await {
        Ok(text) => ([kind], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// How memory is shown.
#[derive(Debug, Default, Deserialize)]
pub struct Units {
    unit: Option<String>,
    scale: Option<String>,
}

impl Units {
    /// Bytes in Kong's form: `12.34 MiB`, or a number for unit `b`.
    fn show(&self, bytes: u64) -> Option<Value> {
        let scale = self.scale.as_ref().map_or(Some(2), |scale| scale.parse::<usize>().ok())?.min(15);
        let (power, name) = match self.unit.as_deref().unwrap_or("m") {
            "b" | "B" => return Some(bytes.into()),
            "k" | "K" => (10, "KiB"),
            "m" | "M" => (20, "MiB"),
            "g" | "G" => (30, "GiB"),
            _ => return None,
        };
        let value = bytes as f64 / (1_u64 << power) as f64;
        Some(format!("{value:.scale$} {name}").into())
    }
}

/// Kong's node status, for the status listener and the Admin API. `None` for a unit or scale that is none.
pub fn node_status(metrics: &Metrics, configuration_hash: Option<&str>, units: &Units) -> Option<Value> {
    let connections = &metrics.connections;
    let memory = units.show(resident_bytes())?;
    let mut body = Map::new();
    body.insert(
        "memory".into(),
        json!({
            "lua_shared_dicts": {},
            "workers_lua_vms": [{ "http_allocated_gc": memory, "pid": std::process::id() }],
        }),
    );
    body.insert(
        "server".into(),
        json!({
            "connections_accepted": connections.total_accepted(),
            "connections_active": connections.active(),
            "connections_handled": connections.total_handled(),
            "connections_reading": 0,
            "connections_waiting": 0,
            "connections_writing": connections.active(),
            "total_requests": metrics.total_requests(),
        }),
    );
    match configuration_hash {
        Some(hash) => body.insert("configuration_hash".into(), hash.into()),
        None => body.insert("database".into(), json!({ "reachable": true })),
    };
    Some(Value::Object(body))
}

/// What of this process is in memory.
fn resident_bytes() -> u64 {
    let pages =
        std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

async fn report(State(status): State<Arc<Status>>, Query(units): Query<Units>) -> Response {
    let snapshot = status.published.load();
    let hash = status.dbless.then_some(snapshot.origin.hash.as_str());
    match node_status(&status.metrics, hash, &units) {
        Some(mut body) => {
            if status.database_lost() {
                body["database"] = json!({ "reachable": false });
            }
            json_answer(StatusCode::OK, &body)
        }
        None => message(StatusCode::BAD_REQUEST, "invalid unit or scale"),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::snapshot::Snapshot;

    async fn ask(router: &Router, method: &str, path: &str, body: &str) -> (StatusCode, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn ready_follows_configuration_and_draining() {
        let published = Arc::new(Published::default());
        let router = router(Status::new(published.clone(), Arc::default(), true));
        let (code, body) = ask(&router, "GET", "/status/ready", "").await;
        assert_eq!(code, 503);
        assert!(body.contains("no configuration available (empty configuration present)"), "{body}");
        let mut snapshot = Snapshot::empty();
        snapshot.origin.hash = "0123".into();
        published.store(snapshot);
        assert_eq!(ask(&router, "GET", "/status/ready", "").await, (StatusCode::OK, r#"{"message":"ready"}"#.into()));
        assert_eq!(ask(&router, "GET", "/readyz", "").await.0, 200);
        assert_eq!(ask(&router, "POST", "/status/ready", "status=up").await.0, 400);
        assert_eq!(ask(&router, "POST", "/status/ready", "status=draining").await, (StatusCode::NO_CONTENT, "".into()));
        let (code, body) = ask(&router, "GET", "/status/ready", "").await;
        assert_eq!((code.as_u16(), body.as_str()), (503, r#"{"message":"draining"}"#));
        assert_eq!(ask(&router, "GET", "/livez", "").await.0, 200);
    }

    #[tokio::test]
    async fn status_and_metrics_are_kongs() {
        let published = Arc::new(Published::default());
        let router = router(Status::new(published, Arc::default(), true));
        let (code, body) = ask(&router, "GET", "/status?unit=k&scale=1", "").await;
        assert_eq!(code, 200);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["configuration_hash"], Origin::EMPTY_HASH);
        assert_eq!(body["server"]["total_requests"], 0);
        let memory = body["memory"]["workers_lua_vms"][0]["http_allocated_gc"].as_str().unwrap();
        assert!(memory.ends_with(" KiB"), "{memory}");
        assert_eq!(ask(&router, "GET", "/status?unit=x", "").await.0, 400);
        assert!(ask(&router, "GET", "/metrics", "").await.1.contains("portcullis_build_info"));
        assert_eq!(
            ask(&router, "GET", "/other", "").await,
            (StatusCode::NOT_FOUND, r#"{"message":"Not found"}"#.into())
        );
        assert_eq!(ask(&router, "DELETE", "/status", "").await.0, 405);
    }
}
