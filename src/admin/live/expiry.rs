//! What ends soon, and credentials that nobody has used for long.

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::State;
use super::super::explain::now;
use crate::entity::{Consumer, Kind};
use crate::explain::ConsumerShown;
use crate::snapshot::{Ending, Snapshot, endings};

/// Entries of each list.
const LISTED: usize = 200;

const DAY: u64 = 86_400;

#[derive(Serialize)]
struct Expiring {
    kind: &'static str,
    id: Uuid,
    name: String,
    what: &'static str,
    not_after: i64,
    seconds_left: i64,
    expired: bool,
}

struct Unused<'s> {
    kind: &'static str,
    id: Uuid,
    /// Nothing for API keys, which are secrets.
    key: Option<&'s str>,
    consumer: Uuid,
    created_at: i64,
    last_used: Option<u64>,
}

pub fn answer(state: &State, days: u64, unused_days: u64) -> Value {
    let snapshot = state.published.load();
    let now = now();
    let seconds = i64::try_from(now).unwrap_or(i64::MAX);
    let until = seconds.saturating_add(i64::try_from(days * DAY).unwrap_or(i64::MAX));
    let mut expiring: Vec<Expiring> = endings(&snapshot.dataset)
        .into_iter()
        .filter(|ending| ending.at <= until)
        .map(|ending| shown(ending, seconds))
        .collect();
    expiring.sort_by_key(|there| there.not_after);
    expiring.truncate(LISTED);

    let uses = &state.resources.metrics.live.uses;
    let (mut unused, total) = unused(&snapshot, uses, now.saturating_sub(unused_days * DAY));
    let unused_total = unused.len();
    unused.sort_by_key(|there| (there.last_used, there.created_at));
    let shown = |there: &Unused<'_>| {
        let consumer = snapshot
            .directory
            .consumer(there.consumer)
            .map(|consumer: &std::sync::Arc<Consumer>| ConsumerShown::of(consumer));
        json!({
            "kind": there.kind, "id": there.id, "key": there.key, "consumer": consumer,
            "created_at": there.created_at, "last_used": there.last_used,
        })
    };
    json!({
        "now": now,
        "tracked_since": uses.since,
        "expiring": expiring,
        "unused": unused.iter().take(LISTED).map(shown).collect::<Vec<_>>(),
        "unused_total": unused_total,
        "credentials_total": total,
        "enough": uses.since <= now.saturating_sub(unused_days * DAY) && !uses.is_full(),
    })
}

fn shown(ending: Ending, now: i64) -> Expiring {
    let singular = match ending.kind {
        Kind::Certificate => "certificate",
        Kind::CaCertificate => "ca_certificate",
        _ => "keyauth_credential",
    };
    Expiring {
        kind: singular,
        id: ending.id,
        name: ending.name,
        what: ending.what,
        not_after: ending.at,
        seconds_left: ending.at - now,
        expired: ending.at <= now,
    }
}

/// Credentials made before a time and not used since, and how many credentials there are.
fn unused<'s>(snapshot: &'s Snapshot, uses: &crate::telemetry::live::Uses, before: u64) -> (Vec<Unused<'s>>, usize) {
    let dataset = &snapshot.dataset;
    let old = |created_at: i64| u64::try_from(created_at).unwrap_or(0) <= before;
    // Uses are known to the minute: it may have been its last second.
    let idle = |last: Option<u64>| last.is_none_or(|last| last.saturating_add(59) < before);
    let mut found = Vec::new();
    for entity in dataset.jwt_secrets.iter().filter(|entity| old(entity.created_at)) {
        let last_used = snapshot.directory.jwt.get(&*entity.key).and_then(|credential| credential.last_used());
        if idle(last_used) {
            let (id, consumer, created_at) = (entity.id, entity.consumer.id, entity.created_at);
            found.push(Unused { kind: "jwt_secret", id, key: Some(&*entity.key), consumer, created_at, last_used });
        }
    }
    for entity in dataset.keyauth_credentials.iter().filter(|entity| old(entity.created_at)) {
        let last_used = uses.last(entity.consumer.id, &entity.id.to_string());
        if idle(last_used) {
            let (id, consumer, created_at) = (entity.id, entity.consumer.id, entity.created_at);
            found.push(Unused { kind: "keyauth_credential", id, key: None, consumer, created_at, last_used });
        }
    }
    for entity in dataset.oauth2_credentials.iter().filter(|entity| old(entity.created_at)) {
        let last_used = uses.last(entity.consumer.id, &entity.client_id);
        if idle(last_used) {
            let (id, consumer, created_at) = (entity.id, entity.consumer.id, entity.created_at);
            let key = Some(&*entity.client_id);
            found.push(Unused { kind: "oauth2_credential", id, key, consumer, created_at, last_used });
        }
    }
    let total = [Kind::JwtSecret, Kind::KeyAuthCredential, Kind::Oauth2Credential];
    (found, total.into_iter().map(|kind| dataset.count(kind)).sum())
}
