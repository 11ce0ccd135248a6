//! The explanation: the same value for the command line, the Admin API and the console.

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::question::{Asked, protocols};
use super::token::Token;
use super::try_out::{Ran, Tried};
use crate::auth::state::Verdict as Made;
use crate::auth::trace::{Check, Hint, HintCode, Step, Verdict, shown};
use crate::auth::{Principal, Reason};
use crate::entity::{self, Consumer};
use crate::gateway::dry;
use crate::snapshot::{Instance, Snapshot};

/// What would become of a request.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    pub generation: u64,
    /// The clock it was judged by, seconds since the UNIX epoch.
    pub at: u64,
    pub request: RequestShown,
    pub route: Option<RouteShown>,
    pub outcome: Outcome,
    /// The label that metrics and access log have for it.
    pub reason: Option<&'static str>,
    pub status: Option<u16>,
    /// What the client gets.
    pub answer: Option<Answer>,
    pub summary: String,
    pub principal: Option<PrincipalShown>,
    pub upstream_headers: Vec<(String, String)>,
    pub token: Option<Token>,
    pub steps: Vec<StepShown>,
    /// The step that decided a refusal.
    pub failed: Option<usize>,
    pub plugins: Vec<PluginShown>,
    pub hints: Vec<HintShown>,
    pub passes_on: Vec<RouteName>,
    pub warnings: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Allowed,
    Anonymous,
    Refused,
    /// A plugin answered without refusing anybody.
    Answered,
    NoRoute,
}

/// The request, without its query.
#[derive(Clone, Debug, Serialize)]
pub struct RequestShown {
    pub method: String,
    pub scheme: &'static str,
    pub host: String,
    pub port: u16,
    pub path: String,
}

impl RequestShown {
    pub fn of(request: &dry::Described, path: &str) -> Self {
        Self {
            method: request.method.to_string(),
            scheme: if request.tls { "https" } else { "http" },
            host: request.host.clone(),
            port: request.port,
            path: path.to_owned(),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct RouteName {
    pub id: Uuid,
    pub name: Option<String>,
}

impl RouteName {
    pub fn of(route: &entity::Route) -> Self {
        Self { id: route.id, name: route.name.clone() }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct RouteShown {
    pub id: Uuid,
    pub name: Option<String>,
    pub service: Option<RouteName>,
    pub protocols: Value,
}

impl RouteShown {
    pub fn of(route: &crate::snapshot::Route) -> Self {
        let service = route.service.as_ref();
        Self {
            id: route.entity.id,
            name: route.entity.name.clone(),
            service: service.map(|service| RouteName { id: service.entity.id, name: service.entity.name.clone() }),
            protocols: protocols(&route.entity.protocols),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub headers: Vec<(String, String)>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ConsumerShown {
    pub id: Uuid,
    pub username: Option<String>,
    pub custom_id: Option<String>,
}

impl ConsumerShown {
    pub fn of(consumer: &Consumer) -> Self {
        let own = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
        Self { id: consumer.id, username: own(&consumer.username), custom_id: own(&consumer.custom_id) }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct PrincipalShown {
    /// `consumer`, `token` (verified, and no consumer stands for it), `anonymous`, `none` (nobody was asked).
    pub kind: &'static str,
    pub consumer: Option<ConsumerShown>,
    pub credential: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct StepShown {
    /// `None` for routing.
    pub plugin: Option<String>,
    pub plugin_id: Option<Uuid>,
    pub check: Check,
    pub title: &'static str,
    pub verdict: Verdict,
    pub detail: String,
    pub reason: Option<&'static str>,
    pub hint: Option<Hint>,
}

impl StepShown {
    fn of(step: &Step, instance: Option<&Instance>) -> Self {
        Self {
            plugin: instance.map(|instance| instance.entity.name.clone()),
            plugin_id: instance.map(|instance| instance.entity.id),
            check: step.check,
            title: step.check.title(),
            verdict: step.verdict,
            detail: step.detail.clone(),
            reason: None,
            hint: step.hint.clone(),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct PluginShown {
    pub id: Uuid,
    pub name: String,
    pub scope: String,
    /// `passed`, `failed`, `anonymous`, `skipped`, `answered`, `not_reached`.
    pub outcome: &'static str,
    pub reason: Option<&'static str>,
}

#[derive(Clone, Debug, Serialize)]
pub struct HintShown {
    pub code: HintCode,
    pub text: String,
    pub step: Option<usize>,
}

impl Explained {
    pub fn new(tried: &Tried<'_>, asked: &Asked, snapshot: &Snapshot, now: u64) -> Self {
        let mut steps: Vec<StepShown> = tried.routing.iter().map(|step| StepShown::of(step, None)).collect();
        for ran in &tried.ran {
            steps.extend(ran.steps.iter().map(|step| StepShown::of(step, Some(&*ran.instance))));
        }
        let stopped = tried.stopped.as_deref();
        if let Some(answer) = stopped.filter(|answer| answer.reason == Reason::NoService) {
            let detail = "the route has no service, and no plugin answered in its place";
            let mut step = StepShown::of(&Step::failed(Check::Answer, detail), None);
            step.reason = Some(answer.reason.label());
            steps.push(step);
        }
        let reason = tried.reason();
        let is_refusal = reason.is_some_and(|reason| !matches!(reason, Reason::Answered));
        let failed = steps.iter().rposition(|step| step.verdict == Verdict::Failed).filter(|_| is_refusal);
        if let Some(step) = failed.and_then(|index| steps.get_mut(index)) {
            step.reason = reason.map(Reason::label);
        }
        let hints = hints(&steps, failed);
        let outcome = match (stopped, reason) {
            (Some(answer), _) => match answer.reason {
                Reason::NoRoute => Outcome::NoRoute,
                Reason::Answered | Reason::Terminated => Outcome::Answered,
                _ => Outcome::Refused,
            },
            (None, Some(_)) => Outcome::Anonymous,
            (None, None) => Outcome::Allowed,
        };
        let answer = stopped.filter(|answer| answer.reason != Reason::Answered).map(|answer| Answer {
            status: answer.status.as_u16(),
            body: dry::body_text(answer),
            headers: readable(&answer.headers),
        });
        let mut explained = Self {
            generation: snapshot.generation,
            at: now,
            request: RequestShown::of(&asked.request, &tried.path),
            route: tried.route.map(RouteShown::of),
            outcome,
            reason: reason.map(Reason::label),
            status: stopped.map(|answer| answer.status.as_u16()),
            answer,
            summary: String::new(),
            principal: if stopped.is_some() { None } else { Some(principal(tried)) },
            upstream_headers: match stopped {
                Some(_) => Vec::new(),
                None => readable(&dry::identity_headers(&tried.state)),
            },
            token: None,
            failed,
            plugins: plugins(tried),
            hints,
            steps,
            passes_on: Vec::new(),
            warnings: tried.route.map(|route| super::effective::warnings_of(route, snapshot)).unwrap_or_default(),
        };
        explained.summary = explained.summarise(tried);
        explained
    }

    /// Puts a hint before all others; one that says more about the same takes that one's place.
    pub fn add_hint(&mut self, code: HintCode, text: String) {
        self.hints.retain(|hint| hint.code != code || hint.step.is_none());
        self.hints.insert(0, HintShown { code, text, step: None });
    }

    /// Puts a hint behind all others.
    pub fn add_last_hint(&mut self, code: HintCode, text: String) {
        self.hints.push(HintShown { code, text, step: None });
    }

    fn summarise(&self, tried: &Tried<'_>) -> String {
        let by = || self.failed.and_then(|index| self.steps.get(index));
        let who = || match self.principal.as_ref().and_then(|principal| principal.consumer.as_ref()) {
            Some(consumer) => {
                let name = consumer.username.as_ref().or(consumer.custom_id.as_ref());
                name.map_or_else(|| consumer.id.to_string(), |name| shown(name))
            }
            None => "nobody in particular".to_owned(),
        };
        let why = || {
            let step = by();
            let told = step.and_then(|step| step.hint.as_ref()).map(|hint| hint.text.clone());
            let detail = step.map(|step| step.detail.clone()).unwrap_or_default();
            match self.reason {
                Some("expired") => told.unwrap_or(detail),
                _ => detail,
            }
        };
        let plugin = || by().and_then(|step| step.plugin.clone()).unwrap_or_else(|| "routing".to_owned());
        match self.outcome {
            Outcome::NoRoute => "no route matches this request".to_owned(),
            Outcome::Answered => format!("a plugin answers in the service's place ({})", tried.reason_label()),
            Outcome::Refused => format!("refused by {}: {}", plugin(), why()),
            Outcome::Anonymous => {
                format!("goes on as the anonymous consumer {}, since {} refused: {}", who(), plugin(), why())
            }
            Outcome::Allowed => match self.principal.as_ref().map(|principal| principal.kind) {
                Some("none") | None => "passes: nothing here asks who is calling".to_owned(),
                _ => format!("passes as {}", who()),
            },
        }
    }
}

fn readable(headers: &[(http::HeaderName, http::HeaderValue)]) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (dry::spelled(name), text(value))).collect()
}

/// Of the step that decided first.
fn hints(steps: &[StepShown], failed: Option<usize>) -> Vec<HintShown> {
    let of = |index: usize| {
        let hint = steps.get(index)?.hint.as_ref()?;
        Some(HintShown { code: hint.code, text: hint.text.clone(), step: Some(index) })
    };
    let others = (0..steps.len()).filter(|index| Some(*index) != failed).filter_map(of);
    failed.and_then(of).into_iter().chain(others).collect()
}

fn principal(tried: &Tried<'_>) -> PrincipalShown {
    let consumer = tried.state.consumer().map(|consumer| ConsumerShown::of(consumer));
    match tried.state.principal() {
        None => PrincipalShown { kind: "none", consumer: None, credential: None },
        Some(Principal::Anonymous(_)) => PrincipalShown { kind: "anonymous", consumer, credential: None },
        Some(Principal::Authenticated(caller)) => PrincipalShown {
            kind: if consumer.is_some() { "consumer" } else { "token" },
            consumer,
            credential: caller.credential.as_deref().map(str::to_owned),
        },
    }
}

fn plugins(tried: &Tried<'_>) -> Vec<PluginShown> {
    let stopped = tried.stopped.as_ref().map(|answer| answer.reason);
    let last = tried.ran.len().saturating_sub(1);
    let outcome = |index: usize, ran: &Ran| match ran.made {
        _ if ran.skipped => ("skipped", None),
        Some(Made::Denied(reason @ Reason::Terminated)) => ("answered", Some(reason)),
        Some(Made::Denied(reason)) => ("failed", Some(reason)),
        Some(Made::Anonymous(reason)) => ("anonymous", Some(reason)),
        Some(Made::Allowed) => ("passed", None),
        None if index == last && stopped == Some(Reason::Answered) => ("answered", stopped),
        None if ran.instance.registered.authenticates => ("skipped", None),
        None => ("passed", None),
    };
    let ran = tried.ran.iter().enumerate().map(|(index, ran)| {
        let (outcome, reason) = outcome(index, ran);
        shown_plugin(&ran.instance, outcome, reason)
    });
    let reached: Vec<Uuid> = tried.ran.iter().map(|ran| ran.instance.entity.id).collect();
    let general = tried.route.into_iter().flat_map(|route| route.chain.general());
    let rest = general.filter(|instance| !reached.contains(&instance.entity.id));
    ran.chain(rest.map(|instance| shown_plugin(instance, "not_reached", None))).collect()
}

fn shown_plugin(instance: &Instance, outcome: &'static str, reason: Option<Reason>) -> PluginShown {
    PluginShown {
        id: instance.entity.id,
        name: instance.entity.name.clone(),
        scope: super::effective::scope(&instance.entity),
        outcome,
        reason: reason.map(Reason::label),
    }
}
