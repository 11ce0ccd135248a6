//! How several authenticating plugins on one route combine: Kong's `anonymous` (contract 3.6), in one place for all of them.
//!
//! Without `anonymous` each plugin must succeed (AND). With it, a plugin steps back when another has authenticated the request
//! before, and lets it go on as the anonymous consumer when its own attempt fails (OR).

use http::StatusCode;

use super::trace::{Check, Step, Trace};
use super::{Reason, Rejection, Request, State};

/// A plugin's `anonymous`: the id or username of a consumer, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Anonymous(Option<Box<str>>);

impl Anonymous {
    pub fn new(name: Option<String>) -> Self {
        Self(name.filter(|name| !name.is_empty()).map(Into::into))
    }

    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the plugin has nothing to do, since another one authenticated the request already. An anonymous consumer does not count.
    pub fn steps_back(&self, state: &State) -> bool {
        self.is_set() && state.has_credential()
    }

    /// What an attempt comes to: a failure becomes the anonymous consumer, if there is one to become.
    ///
    /// # Errors
    /// The attempt's own, or 500 when the consumer does not exist.
    pub fn settle(
        &self,
        attempt: Result<(), Box<Rejection>>,
        request: &Request<'_>,
        state: &mut State,
        trace: &mut impl Trace,
    ) -> Result<(), Box<Rejection>> {
        let (rejection, name) = match (attempt, &self.0) {
            (Ok(()), _) => return Ok(()),
            (Err(rejection), None) => return Err(rejection),
            (Err(rejection), Some(name)) => (rejection, name),
        };
        if let Some(consumer) = request.directory.consumer_by_name(name) {
            trace.record(|| Step::noted(Check::Anonymous, format!("goes on as the anonymous consumer `{name}`")));
            state.anonymous(consumer.clone(), rejection.reason);
            return Ok(());
        }
        trace.record(|| {
            Step::failed(Check::Anonymous, format!("the anonymous consumer `{name}` does not exist"))
                .hint(Some("`anonymous` takes a consumer's id or username".to_owned()))
        });
        Err(Box::new(Rejection {
            reason: Reason::Misconfigured,
            status: StatusCode::INTERNAL_SERVER_ERROR,
            body: super::reason::Body::Negotiated("An unexpected error occurred".into()),
            headers: Vec::new(),
        }))
    }

    /// Runs an attempt with both rules.
    ///
    /// # Errors
    /// As [`Self::settle`].
    pub fn guard<T: Trace>(
        &self,
        request: &Request<'_>,
        state: &mut State,
        trace: &mut T,
        attempt: impl FnOnce(&mut State, &mut T) -> Result<(), Box<Rejection>>,
    ) -> Result<(), Box<Rejection>> {
        if self.steps_back(state) {
            trace.record(|| Step::noted(Check::Applies, "another plugin has authenticated the request already"));
            return Ok(());
        }
        let outcome = attempt(state, trace);
        self.settle(outcome, request, state, trace)
    }
}
