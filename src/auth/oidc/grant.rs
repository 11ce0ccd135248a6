//! The password and client credentials grants at the provider's token endpoint (RFC 6749 sections 4.3, 4.4 and 6).

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::calls::{self, Fault};
use super::client::{Client, Method};
use super::metrics::Series;
use super::provider::Metadata;

/// Largest tokens that are kept, in bytes.
const MOST_KEPT: usize = 32 * 1024;

/// What the token endpoint came to.
#[derive(Clone, Debug)]
pub enum Granted {
    Tokens(Arc<Tokens>),
    /// The provider says no.
    Refused,
    /// It could not be asked, or failed.
    Failed,
}

/// Tokens that were handed out.
pub struct Tokens {
    pub access: String,
    pub refresh: Option<String>,
}

impl std::fmt::Debug for Tokens {
    /// Without the tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Option<f64>,
}

/// How long answers are kept, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lives {
    pub default: f64,
    pub least: Option<f64>,
    pub most: Option<f64>,
    /// Of refusals.
    pub negative: f64,
}

impl Lives {
    /// For something that lives this long by its own account.
    pub fn of(&self, own: Option<f64>) -> Duration {
        let bounded = own.unwrap_or(self.default).max(self.least.unwrap_or(0.0)).min(self.most.unwrap_or(f64::MAX));
        // What has ended is never kept, whatever the least is.
        let seconds = own.map_or(bounded, |own| bounded.min(own));
        if seconds.is_finite() && seconds > 0.0 {
            Duration::from_secs_f64(seconds.min(86_400.0))
        } else {
            Duration::ZERO
        }
    }
}

/// Everything that a call needs, owned: it outlives the request that asked for it.
#[derive(Clone, Debug)]
pub struct Call {
    pub http: calls::Http,
    pub endpoint: reqwest::Url,
    pub metadata: Metadata,
    pub client: Client,
    pub method: Option<Method>,
    pub headers: Vec<(String, String)>,
    /// `grant_type` and what belongs to it.
    pub form: Vec<(String, String)>,
    pub series: Series,
    pub lives: Lives,
    /// Seconds since the UNIX epoch.
    pub now: u64,
}

impl Call {
    /// Asks for tokens, with a refresh token first where there is one.
    pub async fn grant(self, refresh: Option<String>) -> (Granted, Duration) {
        if let Some(refresh) = refresh {
            let form = vec![("grant_type".into(), "refresh_token".into()), ("refresh_token".into(), refresh)];
            let renewed = Self { form, ..self.clone() }.once().await;
            if let (Granted::Tokens(_), _) = renewed {
                return renewed;
            }
        }
        self.once().await
    }

    async fn once(self) -> (Granted, Duration) {
        let started = Instant::now();
        let lives = self.lives;
        let series = self.series.clone();
        let outcome = self.send().await;
        let label = outcome.as_ref().map_or_else(Fault::label, |_| "success");
        series.called("token", label, started.elapsed());
        match outcome {
            Ok(answer) => {
                // A token is not used up to its last moment: the service has to take it, too.
                let own = answer.expires_in.map(|seconds| if seconds > 30.0 { seconds - 10.0 } else { seconds });
                let tokens = Tokens { access: answer.access_token, refresh: answer.refresh_token };
                let small = tokens.access.len() + tokens.refresh.as_ref().map_or(0, String::len) <= MOST_KEPT;
                let keep = if small { lives.of(own) } else { Duration::ZERO };
                (Granted::Tokens(Arc::new(tokens)), keep)
            }
            Err(Fault::Status(status)) if status.is_client_error() && status != http::StatusCode::TOO_MANY_REQUESTS => {
                (Granted::Refused, Duration::ZERO)
            }
            Err(fault) => {
                tracing::warn!(issuer = series.issuer(), %fault, "the token endpoint failed");
                (Granted::Failed, Duration::ZERO)
            }
        }
    }

    async fn send(self) -> Result<Answer, Fault> {
        let mut form = self.form;
        let mut request = self.http.post(self.endpoint.clone()).header("accept", "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let endpoint = self.endpoint.as_str();
        request = self
            .client
            .prove(self.method, &self.metadata, endpoint, self.now, request, &mut form)
            .map_err(Fault::Content)?;
        let answer = calls::call(request.form(&form)).await?.successful()?.json()?;
        let answer: Answer = serde_json::from_slice(&answer.body)
            .map_err(|_| Fault::Content("the token endpoint's answer has no token"))?;
        if answer.access_token.is_empty() {
            return Err(Fault::Content("the token endpoint's answer has no token"));
        }
        Ok(answer)
    }
}
