//! `/config`: the whole configuration at once, where there is no database.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderName, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::answer::Answer;
use super::fault::Fault;
use super::request::{Incoming, Input};
use super::{Source, State};
use crate::diagnostic::Diagnostic;
use crate::entity::{Dataset, Kind};
use crate::snapshot::{self, Origin, Published, Resources, Snapshot};
use crate::{background, declarative};

/// The place where a declarative configuration is loaded into a running gateway.
#[derive(Debug)]
pub struct Declared {
    options: declarative::Options,
    published: Arc<Published>,
    resources: Resources,
    /// One configuration is loaded at a time.
    loading: Mutex<()>,
}

/// Why a configuration is not in service.
#[derive(Debug)]
pub enum Refusal {
    /// Another one is being loaded.
    Busy,
    /// The text is no configuration.
    Text(declarative::Refused),
    /// It is one, but cannot be served.
    Snapshot(Vec<Diagnostic>),
}

impl Declared {
    pub fn new(options: declarative::Options, published: Arc<Published>, resources: Resources) -> Self {
        // The environment is the operator's; text that comes over the wire does not get to read it.
        let options = declarative::Options { templates: false, ..options };
        Self { options, published, resources, loading: Mutex::new(()) }
    }

    /// Loads a text and puts it into service; the old configuration serves until then, and stays when this one is refused.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn load(&self, text: String) -> Result<Dataset, Refusal> {
        let Ok(_alone) = self.loading.try_lock() else { return Err(Refusal::Busy) };
        let (published, resources) = (self.published.clone(), self.resources.clone());
        let previous = self.published.load();
        let options = declarative::Options {
            now: crate::schema::Now::system(),
            previous: previous.dataset.clone(),
            ..self.options.clone()
        };
        let work = move || {
            let started = Instant::now();
            let done = put_into_service(&text, &options, &previous, &published, &resources);
            drop(previous);
            let (took, generation) = (started.elapsed(), published.load().generation);
            resources.metrics.reloaded(done.is_ok(), took);
            let diagnostics: &[Diagnostic] = match &done {
                Ok((_, warnings)) => warnings,
                Err(Refusal::Text(refused)) => &refused.diagnostics,
                Err(Refusal::Snapshot(faults)) => faults,
                Err(Refusal::Busy) => &[],
            };
            resources.metrics.live.history.attempted(done.is_ok(), took, generation, diagnostics);
            done.map(|(dataset, _)| dataset)
        };
        background::run("reload", work)
            .await
            .unwrap_or_else(|fault| Err(Refusal::Snapshot(vec![Diagnostic::error("internal", "", fault.to_string())])))
    }
}

fn put_into_service(
    text: &str,
    options: &declarative::Options,
    previous: &Snapshot,
    published: &Published,
    resources: &Resources,
) -> Result<(Dataset, Vec<Diagnostic>), Refusal> {
    let loaded = declarative::load_text("<POST /config>", text, options).map_err(Refusal::Text)?;
    let origin = Origin { source: "POST /config".into(), hash: loaded.hash };
    let dataset = loaded.dataset.clone();
    let (snapshot, warnings) =
        Snapshot::compile_after(Some(previous), loaded.dataset, origin, resources).map_err(Refusal::Snapshot)?;
    let warnings: Vec<Diagnostic> = loaded.diagnostics.into_iter().chain(warnings).collect();
    for warning in &warnings {
        tracing::warn!(code = warning.code, "{warning}");
    }
    let entities = Kind::ALL.into_iter().map(|kind| (kind.collection(), dataset.count(kind))).collect();
    let loaded_at = snapshot.loaded_at;
    let replaced = published.load();
    let generation = published.store(snapshot);
    resources.metrics.published(generation, loaded_at, entities);
    snapshot::note_difference(&resources.metrics, replaced, dataset.clone(), generation);
    Ok((dataset, warnings))
}

/// `GET /config`
///
/// # Errors
/// 400 where there is a database.
pub fn dump(state: &State) -> Result<Answer, Fault> {
    match &state.source {
        Source::Store(_) => Err(Fault::plain(
            StatusCode::BAD_REQUEST,
            "this endpoint is only available when Kong is configured to not use a database",
        )),
        Source::File(_) => Ok(Answer::ok(json!({"config": declarative::dump(&state.published.load().dataset)}))),
    }
}

/// `POST /config`
///
/// # Errors
/// Code 14 with Kong's `fields`, 400 when nothing was sent, 429 while another one is loaded.
pub async fn load(state: &State, request: &Incoming) -> Result<Answer, Fault> {
    let Source::File(declared) = &state.source else {
        let message = "this endpoint is only available when Kong is configured to not use a database";
        return Err(Fault::plain(StatusCode::BAD_REQUEST, message));
    };
    let Some((text, hashed)) = text(request) else {
        return Err(Fault::plain(StatusCode::BAD_REQUEST, "expected a declarative configuration"));
    };
    let flag = |name: &str| request.argument(name).is_some_and(|value| matches!(value, "1" | "true"));
    if hashed && flag("check_hash") {
        use md5::Digest as _;
        let hash: String = md5::Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        if hash == state.published.load().origin.hash {
            return Ok(Answer::empty(StatusCode::NOT_MODIFIED));
        }
    }
    match declared.load(text).await {
        Ok(dataset) => Ok(Answer::json(StatusCode::CREATED, by_id(&dataset))),
        Err(Refusal::Busy) => {
            let message = json!({"message": "Currently loading previous configuration"});
            Ok(Answer::json(StatusCode::TOO_MANY_REQUESTS, message).header(HeaderName::from_static("retry-after"), "1"))
        }
        Err(Refusal::Text(refused)) => {
            Err(Fault::Body(StatusCode::BAD_REQUEST, refused.to_kong(flag("flatten_errors"))))
        }
        Err(Refusal::Snapshot(faults)) => Err(Fault::Body(StatusCode::BAD_REQUEST, unservable(&faults))),
    }
}

/// The text of a configuration in a body, and whether it is the client's own (only then it has a hash to compare).
fn text(request: &Incoming) -> Option<(String, bool)> {
    match &request.body {
        Input::Nothing => None,
        Input::Yaml => {
            Some((String::from_utf8_lossy(&request.raw).into_owned(), true)).filter(|(text, _)| !text.is_empty())
        }
        Input::Json(document) => match document.get("config") {
            Some(Value::String(config)) => Some((config.clone(), true)),
            _ => Some((Value::Object(document.clone()).to_string(), false)),
        },
        Input::Form(pairs) => pairs.iter().find(|(name, _)| name == "config").map(|(_, text)| (text.clone(), true)),
    }
}

/// The answer to a load: every entity by type and id.
fn by_id(dataset: &Dataset) -> Value {
    let mut all = Map::new();
    macro_rules! put {
        ($($kind:ident => $entities:expr),* $(,)?) => {$(
            let entities: Map<String, Value> = $entities
                .iter()
                .filter_map(|entity| Some((entity.id.to_string(), serde_json::to_value(&**entity).ok()?)))
                .collect();
            if !entities.is_empty() {
                all.insert(Kind::$kind.collection().to_owned(), Value::Object(entities));
            }
        )*};
    }
    put!(
        Certificate => dataset.certificates,
        CaCertificate => dataset.ca_certificates,
        Consumer => dataset.consumers,
        Service => dataset.services,
        Upstream => dataset.upstreams,
        Sni => dataset.snis,
        Route => dataset.routes,
        Target => dataset.targets,
        JwtSecret => dataset.jwt_secrets,
        KeyAuthCredential => dataset.keyauth_credentials,
        Oauth2Credential => dataset.oauth2_credentials,
        Oauth2Token => dataset.oauth2_tokens,
        Plugin => dataset.plugins,
    );
    Value::Object(all)
}

/// Faults that only compiling finds, in the shape of code 14.
fn unservable(faults: &[Diagnostic]) -> Value {
    let errors: Vec<String> = faults.iter().filter(|fault| fault.is_error()).map(ToString::to_string).collect();
    json!({
        "code": 14,
        "name": "invalid declarative configuration",
        "message": format!("declarative config is invalid: {}", super::fault::lua(&json!({"error": errors.join("; ")}))),
        "fields": {"error": errors},
    })
}
