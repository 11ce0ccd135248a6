//! `POST /explain` and `GET /effective`: questions about what the gateway would do. Nothing of a question is logged.

use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;
use serde_json::{Map, Value};

use super::State;
use super::answer::Answer;
use super::fault::Fault;
use super::request::{Incoming, Input};
use crate::explain::{self, Lent, Question};

/// `POST /explain`
///
/// # Errors
/// 400 for a question that is none, 404 for a route that is not there.
pub async fn explain(state: &State, request: &Incoming) -> Result<Answer, Fault> {
    let members: Map<String, Value> = match &request.body {
        Input::Json(members) => members.clone(),
        Input::Form(pairs) => pairs.iter().map(|(name, value)| (name.clone(), form_value(name, value))).collect(),
        Input::Nothing | Input::Yaml => Map::new(),
    };
    let question = Question::from_json(&members).map_err(refused)?;
    let fingerprint = |token: &str| state.access_log.fingerprint(token.as_bytes()).as_str().to_owned();
    let lent = Lent { snapshot: state.published.load(), now: now(), fingerprint: &fingerprint };
    let explained = explain::explain(&question, &lent).await.map_err(refused)?;
    shown(&explained)
}

fn form_value(name: &str, value: &str) -> Value {
    match (name, value.parse::<u64>()) {
        ("at", Ok(at)) => at.into(),
        _ => value.into(),
    }
}

/// `GET /effective?method=GET&url=/path`
///
/// # Errors
/// As [`explain`].
pub fn effective(state: &State, request: &Incoming) -> Result<Answer, Fault> {
    let argument = |name: &str| request.argument(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let question = Question {
        route: argument("route"),
        method: argument("method"),
        url: argument("url"),
        scheme: argument("scheme"),
        ..Question::default()
    };
    let effective = explain::effective(&question, &state.published.load()).map_err(refused)?;
    shown(&effective)
}

fn shown(value: &impl serde::Serialize) -> Result<Answer, Fault> {
    serde_json::to_value(value).map(Answer::ok).map_err(|_| Fault::unexpected())
}

fn refused(fault: explain::Fault) -> Fault {
    let status = match fault {
        explain::Fault::Question(_) => StatusCode::BAD_REQUEST,
        explain::Fault::Route(_) => StatusCode::NOT_FOUND,
    };
    Fault::plain(status, fault.to_string())
}

/// Seconds since the UNIX epoch.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
