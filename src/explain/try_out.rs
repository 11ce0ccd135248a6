//! Lets the gateway's own code decide about a described request, and keeps every step.

use std::sync::Arc;

use futures::FutureExt as _;
use uuid::Uuid;

use super::answer::RouteName;
use super::question::Asked;
use crate::auth::state::Verdict as Made;
use crate::auth::trace::{Check, Step};
use crate::auth::{Flow, Principal, Reason, Rejection, Request, State, trace};
use crate::gateway::dry::{self, Dry};
use crate::snapshot::{Instance, Route, Runner, Snapshot};

/// Routes beside the one in question that a token is tried on.
const ROUTES_TRIED: usize = 300;
/// Routes that are named.
const ROUTES_NAMED: usize = 20;

/// What a plugin said.
#[derive(Debug)]
pub struct Ran {
    pub instance: Arc<Instance>,
    pub steps: Vec<Step>,
    pub made: Option<Made>,
    /// It is not for this protocol.
    pub skipped: bool,
}

/// What became of the request.
pub struct Tried<'s> {
    pub route: Option<&'s Route>,
    pub index: Option<usize>,
    /// Steps before any plugin.
    pub routing: Vec<Step>,
    pub ran: Vec<Ran>,
    /// The answer in the service's place.
    pub stopped: Option<Box<Rejection>>,
    pub state: State,
    /// The normalised path.
    pub path: String,
}

impl Tried<'_> {
    /// Whether the request goes on to its service with a verified credential, or where none is asked for.
    pub fn accepted(&self) -> bool {
        self.stopped.is_none() && self.state.fallback.is_none()
    }

    /// Why it was refused, or why the anonymous consumer stands in.
    pub fn reason(&self) -> Option<Reason> {
        self.stopped.as_ref().map(|answer| answer.reason).or(self.state.fallback)
    }

    pub fn reason_label(&self) -> &'static str {
        self.reason().map_or("", Reason::label)
    }

    /// The token that was looked at, or else the one of the question.
    pub fn token<'t>(&'t self, asked: &'t Asked) -> Option<&'t str> {
        self.state.token.as_deref().or(asked.token.as_deref())
    }
}

/// Takes the steps of a chain's plugins.
#[derive(Default)]
struct Recorder {
    ran: Vec<Ran>,
    steps: Vec<Step>,
}

impl Runner for Recorder {
    fn start<'a>(
        &'a mut self,
        instance: &'a Arc<Instance>,
        request: &'a Request<'a>,
        state: &'a mut State,
    ) -> Flow<'a> {
        instance.plugin.trace(request, state, &mut self.steps)
    }

    fn done(&mut self, instance: &Arc<Instance>, made: Option<Made>) {
        let steps = std::mem::take(&mut self.steps);
        self.ran.push(Ran { instance: instance.clone(), steps, made, skipped: false });
    }

    fn skipped(&mut self, instance: &Arc<Instance>) {
        let step = Step::new(Check::Applies, trace::Verdict::Skipped, "its `protocols` lack this one");
        self.ran.push(Ran { instance: instance.clone(), steps: vec![step], made: None, skipped: true });
    }
}

/// Routes, checks and authenticates.
pub async fn try_out<'s>(asked: &Asked, snapshot: &'s Snapshot, now: u64) -> Tried<'s> {
    let mut tried = Tried {
        route: None,
        index: None,
        routing: Vec::new(),
        ran: Vec::new(),
        stopped: None,
        state: State::default(),
        path: String::new(),
    };
    let dry = match Dry::new(asked.request.clone()) {
        Ok(dry) => dry,
        Err(answer) => {
            tried.routing.push(Step::failed(Check::Route, "the request target or a header is malformed"));
            tried.stopped = Some(answer);
            return tried;
        }
    };
    tried.path = dry.path().to_owned();
    let index = match asked.route {
        Some(index) => {
            tried.routing.push(Step::noted(Check::Route, "the route that was asked for; the router was not"));
            Ok(index)
        }
        None => dry.find(snapshot).map(|found| found.route),
    };
    let route = match index.map(|index| (index, snapshot.routing.routes.get(index))) {
        Ok((index, Some(route))) => {
            tried.index = Some(index);
            route
        }
        Ok((_, None)) => return tried,
        Err(answer) => {
            let request = &asked.request;
            let detail = format!(
                "no route matches {} {} on host {} over {}",
                request.method,
                tried.path,
                request.host,
                if request.tls { "https" } else { "http" }
            );
            tried.routing.push(Step::failed(Check::Route, detail));
            tried.stopped = Some(answer);
            return tried;
        }
    };
    if asked.route.is_none() {
        tried.routing.push(Step::passed(Check::Route, format!("`{}`", route.label)));
    }
    tried.route = Some(route);
    if let Err(answer) = dry.rules(route) {
        let detail = "the route's `protocols` lack this one".to_owned();
        let hint = (answer.reason == Reason::HttpsRequired).then(|| {
            trace::Hint::new(trace::HintCode::Https, "send it over https, or allow http in the route's `protocols`")
        });
        tried.routing.push(Step::failed(Check::Protocol, detail).hint(hint));
        tried.stopped = Some(answer);
        return tried;
    }
    let request = dry.request(route, &snapshot.directory, now);
    let mut recorder = Recorder::default();
    let run = route.chain.run_with(&request, &mut tried.state, dry.protocol(route), &mut recorder).await;
    tried.ran = recorder.ran;
    tried.stopped = run.err();
    if let (Some(answer), Some(ran)) = (&tried.stopped, tried.ran.last_mut())
        && !ran.steps.iter().any(|step| step.verdict == trace::Verdict::Failed)
        && answer.reason != Reason::Answered
    {
        let detail = format!("answers {} in the service's place", answer.status.as_u16());
        ran.steps.push(Step::failed(Check::Answer, detail));
    }
    if tried.stopped.is_none() && route.service.is_none() {
        tried.stopped = Some(dry::no_service());
    }
    tried
}

/// The other routes that a token opens. Nothing is waited for: what would have to be fetched first does not count.
pub async fn other_routes(token: &str, tried: &Tried<'_>, snapshot: &Snapshot, now: u64) -> Vec<RouteName> {
    let mut seen: Vec<Vec<Uuid>> = Vec::new();
    let chain = |route: &Route| -> Vec<Uuid> {
        let authenticating = route.chain.general().filter(|instance| instance.registered.authenticates);
        authenticating.map(|instance| instance.entity.id).collect()
    };
    if let Some(route) = tried.route {
        seen.push(chain(route));
    }
    let client = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    let (mut found, mut count) = (Vec::new(), 0);
    for (index, route) in snapshot.routing.routes.iter().enumerate() {
        let plugins = chain(route);
        if Some(index) == tried.index || plugins.is_empty() || seen.contains(&plugins) {
            continue;
        }
        count += 1;
        if count > ROUTES_TRIED || found.len() >= ROUTES_NAMED {
            break;
        }
        let Some(asked) = Asked::on_route(index, route, token, client) else { continue };
        let there = try_out(&asked, snapshot, now).now_or_never();
        let authenticated = there.is_some_and(|there| {
            there.accepted() && matches!(there.state.principal(), Some(Principal::Authenticated(_)))
        });
        if authenticated {
            found.push(RouteName::of(&route.entity));
        } else {
            seen.push(plugins);
        }
    }
    found
}
