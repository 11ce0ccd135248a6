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
    pub registered: &'static Registered,
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
        observe: impl Fn(&'static str, Verdict),
    ) -> Result<(), Box<Rejection>> {
        for slot in &self.slots {
            let Some(instance) = slot.instance(state) else { continue };
            if !instance.entity.protocols.contains(&protocol) {
                continue;
            }
            let result = match instance.plugin.access(request, state) {
                Flow::Next => Ok(()),
                Flow::Stop(rejection) => Err(rejection),
                Flow::Wait(decision) => decision.await,
            };
            let told = state.take_verdict();
            if slot.registered.authenticates {
                let stopped = result.as_ref().err().map(|rejection| rejection.reason);
                let verdict = match stopped {
                    // The plugin's own endpoint answered: nobody was refused.
                    Some(Reason::Answered) => None,
                    Some(reason) => Some(Verdict::Denied(reason)),
                    None => told,
                };
                if let Some(verdict) = verdict {
                    observe(slot.registered.name, verdict);
                }
            }
            result?;
        }
        Ok(())
    }
}
