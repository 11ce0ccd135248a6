//! The plugins of a route, merged and ordered when the snapshot is compiled, and run for a request.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::auth::{self, Flow, Reason, Rejection, Request, State, Verdict, Wants};
use crate::entity::{self, Protocol};
use crate::plugins::Registered;

/// A plugin instance, compiled.
pub struct Instance {
    pub entity: Arc<entity::Plugin>,
    pub registered: &'static Registered,
    pub plugin: Arc<dyn auth::Plugin>,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.entity.name, self.entity.id)
    }
}

/// All instances of one plugin name that can apply on a route; at most one of them runs.
#[derive(Debug)]
pub(super) struct Slot {
    /// The most specific of: route and service, route, service, everywhere.
    pub general: Option<Arc<Instance>>,
    /// Whether `general` names both route and service, which beats an instance that names the consumer alone.
    pub general_wins: bool,
    /// Instances for a consumer on this route or its service.
    pub here: HashMap<Uuid, Arc<Instance>>,
    /// Instances for a consumer anywhere; one map for all routes.
    pub anywhere: Arc<HashMap<Uuid, Arc<Instance>>>,
}

impl Slot {
    fn instance(&self, state: &State) -> Option<&Arc<Instance>> {
        if self.here.is_empty() && self.anywhere.is_empty() {
            return self.general.as_ref();
        }
        let scoped = state.consumer().and_then(|consumer| {
            let anywhere = || if self.general_wins { None } else { self.anywhere.get(&consumer.id) };
            self.here.get(&consumer.id).or_else(anywhere)
        });
        scoped.or(self.general.as_ref())
    }
}

/// The plugins of a route, by descending priority.
#[derive(Debug, Default)]
pub struct Chain {
    slots: Box<[Slot]>,
}

impl Chain {
    pub(super) fn new(slots: Vec<Slot>) -> Self {
        Self { slots: slots.into() }
    }

    /// The instances that apply to every caller, in the order they run; for display.
    pub fn general(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.slots.iter().filter_map(|slot| slot.general.as_ref())
    }

    /// Every instance that can apply, slot by slot: the one for every caller first, then those for certain consumers.
    pub fn all(&self) -> impl Iterator<Item = Vec<&Arc<Instance>>> {
        self.slots.iter().map(|slot| {
            let anywhere = slot.anywhere.values().filter(|_| !slot.general_wins);
            slot.general.iter().chain(slot.here.values()).chain(anywhere).collect()
        })
    }

    /// What of the body any plugin of the route wants to see.
    pub fn wants(&self, request: &Request<'_>) -> Wants {
        self.general().map(|instance| instance.plugin.wants(request)).max().unwrap_or_default()
    }

    /// Runs the plugins. `observe` is told what each authenticating plugin made of the request.
    ///
    /// # Errors
    /// The first answer that a plugin gives in the service's place.
    pub async fn run(
        &self,
        request: &Request<'_>,
        state: &mut State,
        protocol: Protocol,
        observe: impl FnMut(&'static str, Verdict) + Send,
    ) -> Result<(), Box<Rejection>> {
        self.run_with(request, state, protocol, &mut Serving(observe)).await
    }

    /// Runs the plugins by way of a runner.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_with(
        &self,
        request: &Request<'_>,
        state: &mut State,
        protocol: Protocol,
        runner: &mut impl Runner,
    ) -> Result<(), Box<Rejection>> {
        for slot in &self.slots {
            let Some(instance) = slot.instance(state) else { continue };
            if !instance.entity.protocols.contains(&protocol) {
                runner.skipped(instance);
                continue;
            }
            let result = match runner.start(instance, request, state) {
                Flow::Next => Ok(()),
                Flow::Stop(rejection) => Err(rejection),
                Flow::Wait(decision) => decision.await,
            };
            let told = state.take_verdict();
            let verdict = match result.as_ref().err().map(|rejection| rejection.reason) {
                // The plugin's own endpoint answered: nobody was refused.
                Some(Reason::Answered) => None,
                Some(reason) => Some(Verdict::Denied(reason)),
                None => told,
            };
            runner.done(instance, verdict);
            result?;
        }
        Ok(())
    }
}

/// How a chain's plugins are run: to serve a request, or to explain what would become of it.
pub trait Runner: Send {
    /// Lets a plugin decide.
    fn start<'a>(&'a mut self, instance: &'a Arc<Instance>, request: &'a Request<'a>, state: &'a mut State)
    -> Flow<'a>;

    /// It has decided; `None`: it had nothing to say about who is calling.
    fn done(&mut self, instance: &Arc<Instance>, verdict: Option<Verdict>);

    /// It is not for this protocol.
    fn skipped(&mut self, _instance: &Arc<Instance>) {}
}

/// Serves a request, telling what authenticating plugins made of it.
struct Serving<F>(F);

impl<F: FnMut(&'static str, Verdict) + Send> Runner for Serving<F> {
    #[inline]
    fn start<'a>(
        &'a mut self,
        instance: &'a Arc<Instance>,
        request: &'a Request<'a>,
        state: &'a mut State,
    ) -> Flow<'a> {
        instance.plugin.access(request, state)
    }

    #[inline]
    fn done(&mut self, instance: &Arc<Instance>, verdict: Option<Verdict>) {
        if let Some(verdict) = verdict
            && instance.registered.authenticates
        {
            (self.0)(instance.registered.name, verdict);
        }
    }
}
