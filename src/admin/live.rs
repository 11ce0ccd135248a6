//! `GET /live/…`: what is going on in this gateway, for people who look. Numbers of this process since its start, no secrets.

mod expiry;

use serde_json::{Map, Value, json};

use super::answer::Answer;
use super::explain::now;
use super::fault::Fault;
use super::paths::Live;
use super::request::Incoming;
use super::{Source, State};
use crate::auth::Reason;
use crate::entity::Kind;
use crate::telemetry::live::Attempt;

/// Answers one of the endpoints.
///
/// # Errors
/// When an argument is no number.
pub fn answer(state: &State, request: &Incoming, what: Live) -> Result<Answer, Fault> {
    let number = |name: &str, default: u64, most: u64| match request.argument(name).filter(|text| !text.is_empty()) {
        None => Ok(default),
        Some(text) => text
            .parse::<u64>()
            .map(|number| number.min(most))
            .map_err(|_| Fault::plain(http::StatusCode::BAD_REQUEST, format!("'{name}' must be a number"))),
    };
    let body = match what {
        Live::Rejects => rejects(state, number("minutes", 60, 60)?, number("limit", 200, 200)?),
        Live::Verification => verification(state),
        Live::Issuers => json!({ "now": now(), "issuers": state.resources.registries.oidc.report() }),
        Live::Configuration => configuration(state),
        Live::Expiry => expiry::answer(state, number("days", 30, 36_500)?, number("unused_days", 30, 36_500)?),
    };
    Ok(Answer::ok(body))
}

fn rejects(state: &State, minutes: u64, limit: u64) -> Value {
    let (metrics, now) = (&state.resources.metrics, now());
    let rejects = &metrics.live.rejects;
    rejects.mark(now, metrics.total_requests());
    // The minute under way, and so many before it.
    let wanted = usize::try_from(minutes).unwrap_or_default() + 1;
    let (starts, mut reasons) = rejects.minutes(now, wanted);
    let sum = |counts: &[u64]| counts.iter().sum::<u64>();
    reasons.sort_by_key(|(_, counts)| std::cmp::Reverse(sum(counts)));
    let requests = rejects.requests(&starts, metrics.total_requests());
    let mut groups: Map<String, Value> = Map::new();
    for (reason, counts) in &reasons {
        let before = groups.get(reason.group()).and_then(Value::as_u64).unwrap_or(0);
        groups.insert(reason.group().to_owned(), (before + sum(counts)).into());
    }
    let total: u64 = reasons.iter().map(|(_, counts)| sum(counts)).sum();
    let shown = |(reason, counts): &(Reason, Vec<u64>)| json!({ "reason": reason.label(), "group": reason.group(), "total": sum(counts), "minutes": counts });
    json!({
        "now": now,
        "since": starts.first(),
        "started": rejects.started,
        "total": total,
        "totals_by_group": groups,
        "requests": sum(&requests),
        "minutes": starts,
        "requests_per_minute": requests,
        "reasons": reasons.iter().map(shown).collect::<Vec<_>>(),
        "recent": rejects.recent(usize::try_from(limit).unwrap_or_default()),
        "recent_skipped": rejects.skipped(),
    })
}

fn verification(state: &State) -> Value {
    let metrics = &state.resources.metrics;
    let now = now();
    let entries = state.resources.registries.verified.len();
    let mut windows = metrics.verification_windows(now);
    if let Some(first) = windows.first_mut() {
        first.cache.entries = Some(entries);
    }
    json!({ "now": now, "windows": windows })
}

fn configuration(state: &State) -> Value {
    let snapshot = state.published.load();
    let live = &state.resources.metrics.live;
    let loaded_at = snapshot.loaded_at.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let entities: Map<String, Value> =
        Kind::ALL.into_iter().map(|kind| (kind.collection().to_owned(), snapshot.dataset.count(kind).into())).collect();
    let why_not = match (&state.source, state.writable) {
        (_, true) => None,
        (Source::File(_), _) => {
            Some("the configuration is declarative: change the file and reload, or send a whole one to POST /config")
        }
        (Source::Store(_), _) => Some("this gateway does not write the database"),
    };
    let shown = |attempt: &Attempt| serde_json::to_value(attempt).unwrap_or_default();
    json!({
        "now": now(),
        "generation": snapshot.generation,
        "source": snapshot.origin.source,
        "hash": snapshot.origin.hash,
        "loaded_at": loaded_at,
        "started": live.rejects.started,
        "entities": entities,
        "writable": state.writable,
        "why_not": why_not,
        "last_reload": live.history.last().map(|attempt| shown(&attempt)),
        "last_failure": live.history.last_failure().map(|attempt| shown(&attempt)),
        "difference": live.history.difference(),
    })
}
