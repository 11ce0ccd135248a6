//! Tokens that the provider is asked about: introspection (RFC 7662) and the userinfo endpoint.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::answers::Answers;
use super::calls::{self, Fault, Http};
use super::client::{Client, Method};
use super::grant::Lives;
use super::metrics::Series;
use super::provider::Metadata;
use crate::jose::{Object, Value};

/// Largest answer that is kept, in bytes.
const MOST_KEPT: usize = 32 * 1024;

/// What the provider says about a token.
#[derive(Clone, Debug)]
pub enum Told {
    /// A JSON object.
    Claims(Arc<[u8]>),
    Refused,
    /// It could not be asked, or failed.
    Failed,
}

/// A call, owned: it outlives the request that asked for it.
#[derive(Clone, Debug)]
pub struct Call {
    pub http: Http,
    pub endpoint: reqwest::Url,
    pub metadata: Metadata,
    pub token: String,
    pub headers: Vec<(String, String)>,
    /// Of the form, or of the query for userinfo.
    pub arguments: Vec<(String, String)>,
    /// How its answer is taken.
    pub answers: Answers,
    pub series: Series,
    pub lives: Lives,
    /// Seconds since the UNIX epoch.
    pub now: u64,
}

impl Call {
    /// Introspects. `check`: `active` must be true.
    pub async fn introspect(
        self,
        client: Client,
        method: Option<Method>,
        parameter: String,
        hint: Option<String>,
        check: bool,
    ) -> (Told, Duration) {
        let started = Instant::now();
        let outcome = async {
            let mut form = vec![(parameter, self.token.clone())];
            form.extend(hint.map(|hint| ("token_type_hint".to_owned(), hint)));
            form.extend(self.arguments.iter().cloned());
            let mut request = self.http.post(self.endpoint.clone()).header("accept", &self.answers.accept);
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
            let endpoint = self.endpoint.as_str();
            let request =
                client.prove(method, &self.metadata, endpoint, self.now, request, &mut form).map_err(Fault::Content)?;
            let answer = calls::call(request.form(&form)).await?.successful()?;
            self.answers.read(answer, self.now).await
        }
        .await;
        self.settle(outcome, started, |claims| !check || claims.get("active").and_then(Value::as_bool) == Some(true))
    }

    /// Asks the userinfo endpoint, with the token itself.
    pub async fn user_info(mut self) -> (Told, Duration) {
        let started = Instant::now();
        let arguments = std::mem::take(&mut self.arguments);
        for (name, value) in arguments {
            self.endpoint.query_pairs_mut().append_pair(&name, &value);
        }
        let mut request = self.http.get(self.endpoint.clone()).header("accept", &self.answers.accept);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let outcome = async {
            let answer = calls::call(request.bearer_auth(&self.token)).await?.successful()?;
            self.answers.read(answer, self.now).await
        }
        .await;
        self.settle(outcome, started, |claims| claims.get("sub").and_then(Value::as_str).is_some())
    }

    fn settle(
        &self,
        outcome: Result<Bytes, Fault>,
        started: Instant,
        accepted: impl FnOnce(&Object<'_>) -> bool,
    ) -> (Told, Duration) {
        let endpoint = self.answers.endpoint;
        let label = outcome.as_ref().map_or_else(Fault::label, |_| "success");
        self.series.called(endpoint, label, started.elapsed());
        let refused =
            (Told::Refused, self.lives.of(None).min(Duration::from_secs_f64(self.lives.negative.clamp(0.0, 3600.0))));
        let answer = match outcome {
            Ok(answer) => answer,
            // 401 from introspection is our own client's fault, not the token's.
            Err(Fault::Status(status)) if endpoint == "userinfo" && status.is_client_error() => return refused,
            Err(fault) => {
                tracing::warn!(issuer = self.series.issuer(), %fault, endpoint, "the identity provider's endpoint failed");
                return (Told::Failed, Duration::ZERO);
            }
        };
        let Ok(claims) = Object::parse(&answer) else {
            tracing::warn!(
                issuer = self.series.issuer(),
                endpoint,
                "the identity provider's answer is not a JSON object"
            );
            return (Told::Failed, Duration::ZERO);
        };
        if !accepted(&claims) {
            return refused;
        }
        let left = claims.get("exp").and_then(Value::as_f64).map(|exp| exp - self.now as f64);
        let keep = match left {
            // Without its own end it is kept as long as is configured; with one, never longer than that.
            Some(left) => self.lives.of(Some(left)).min(self.lives.of(None)),
            None => self.lives.of(None),
        };
        // A few large answers are not worth the memory of many.
        let keep = if answer.len() > MOST_KEPT { Duration::ZERO } else { keep };
        (Told::Claims(answer.to_vec().into()), keep)
    }
}
