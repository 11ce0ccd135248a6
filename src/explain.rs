//! Why a request would be refused, check by check: "why was my token refused?"
//!
//! Runs the gateway's own decisions — routing, the route's protocols, its plugins — about a request that is described and not
//! sent, with a trace ([`crate::auth::trace`]), and puts what comes of it into words for the operator. Decides nothing by itself.
//! What it says is for who may read the configuration, never for clients; it holds no secret and no whole token, and nothing of it
//! is logged. Cold path.

mod answer;
mod effective;
mod place;
mod question;
mod token;
mod try_out;

use std::sync::Arc;

use self::question::Asked;
use self::try_out::{Tried, other_routes, try_out};
pub use self::{
    answer::{ConsumerShown, Explained},
    effective::{Effective, effective},
    question::{Fault, Question},
};
use crate::snapshot::Snapshot;

/// What explaining is lent.
pub struct Lent<'a> {
    pub snapshot: Arc<Snapshot>,
    /// Seconds since the UNIX epoch.
    pub now: u64,
    /// How the access log names a token.
    pub fingerprint: &'a (dyn Fn(&str) -> String + Sync),
}

/// Explains what would become of a request.
///
/// # Errors
/// When the question cannot be understood.
pub async fn explain(question: &Question, lent: &Lent<'_>) -> Result<Explained, Fault> {
    let snapshot = &*lent.snapshot;
    let now = question.at.unwrap_or(lent.now);
    let asked = Asked::new(question, snapshot)?;
    let tried = try_out(&asked, snapshot, now).await;
    let mut explained = Explained::new(&tried, &asked, snapshot, now);
    let token = tried.token(&asked);
    if let Some(token) = token {
        explained.token = Some(token::describe(token, &tried, now, lent.fingerprint));
    }
    if !tried.accepted() && explained.route.is_some() {
        near_misses(&mut explained, &tried, &asked, snapshot, now, token).await;
    }
    Ok(explained)
}

/// Tries what people probably meant: by the very same code.
async fn near_misses(
    explained: &mut Explained,
    tried: &Tried<'_>,
    asked: &Asked,
    snapshot: &Snapshot,
    now: u64,
    token: Option<&str>,
) {
    let Some(token) = token else { return };
    let (cleaned, hint) = crate::auth::hints::cleaned(token);
    if let Some(hint) = hint {
        let tried = try_out(&asked.with_token(&cleaned, snapshot), snapshot, now).await;
        if tried.accepted() {
            explained.add_hint(hint.code, hint.text + "; without that it passes");
            return;
        }
        let reason = tried.reason_label();
        explained.add_hint(hint.code, format!("{}; without that it is refused all the same ({reason})", hint.text));
    } else if asked.placed_by_hand() {
        let elsewhere = asked.with_token(token, snapshot);
        if try_out(&elsewhere, snapshot, now).await.accepted() {
            let text = format!("this route reads tokens elsewhere: in {} this one passes", elsewhere.place());
            explained.add_hint(crate::auth::trace::HintCode::OtherSource, text);
        }
    }
    let routes = other_routes(&cleaned, tried, snapshot, now).await;
    if let Some(first) = routes.first() {
        let name = first.name.clone().unwrap_or_else(|| first.id.to_string());
        let more = match routes.len() {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        let text = format!("the token passes on the route `{name}`{more}");
        explained.add_last_hint(crate::auth::trace::HintCode::OtherRoute, text);
    }
    explained.passes_on = routes;
}

#[cfg(test)]
mod tests;
