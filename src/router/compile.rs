//! Routes into candidates, in order, and candidates into the index. Cold path.

use std::collections::HashMap;

use http::HeaderName;
use regex::{Regex, RegexBuilder};
use uuid::{Uuid, uuid};

use super::candidate::{Candidate, HeaderRule, HeaderValue, HostPattern, Methods, NamePattern};
use super::hosts::{HostIndexBuilder, index_tells};
use super::paths::{Place, anchored};
use super::priority::Priority;
use super::{Rank, RegexId, Router};
use crate::diagnostic::Diagnostic;
use crate::entity::{PathHandling, Protocol, Route};

/// Kong's namespace for the ids of the parts of a split route.
const SPLIT_ROUTES: Uuid = uuid!("7f145bf9-0dce-4f91-98eb-debbce4b9f6b");

/// Bytes one compiled regex may take. What the `regex` crate itself, and so Kong's router, sets.
const REGEX_SIZE: usize = 10 << 20;

impl Router {
    /// Compiles the routes of a configuration; those of disabled services must be left out by the caller. A route that
    /// cannot be compiled is an error in `diagnostics` and never matches.
    pub fn compile(routes: &[&Route], diagnostics: &mut Vec<Diagnostic>) -> Self {
        let mut drafts: Vec<_> = routes.iter().enumerate().flat_map(|(at, route)| Draft::of(at, route)).collect();
        drafts.sort_by(|one, other| {
            other.priority.cmp(&one.priority).then(other.id.cmp(&one.id)).then(one.index.cmp(&other.index))
        });
        let mut compiler = Compiler {
            diagnostics,
            candidates: Vec::new(),
            hosts: HostIndexBuilder::default(),
            regexes: Vec::new(),
            texts: Vec::new(),
            ids: HashMap::new(),
        };
        for route in routes {
            compiler.warn(route);
        }
        for draft in drafts {
            compiler.add(draft);
        }
        compiler.finish()
    }
}

/// A candidate before it is compiled.
struct Draft<'r> {
    priority: Priority,
    id: Uuid,
    index: usize,
    route: &'r Route,
    paths: Vec<&'r str>,
}

impl<'r> Draft<'r> {
    /// One draft for all regex paths of a route and one for each length of its prefix paths, numbered by their first
    /// path.
    fn of(index: usize, route: &'r Route) -> Vec<Self> {
        if !is_http(route) || !has_conditions(route) {
            return Vec::new();
        }
        let kind = |path: &str| if path.starts_with('~') { None } else { Some(path.len()) };
        let mut groups: Vec<Vec<&'r str>> = Vec::new();
        for path in route.paths.iter().flatten() {
            match groups.iter_mut().find(|group| group.first().is_some_and(|first| kind(first) == kind(path))) {
                Some(group) if group.contains(&path.as_str()) => {}
                Some(group) => group.push(path),
                None => groups.push(vec![path]),
            }
        }
        let draft =
            |id: Uuid, paths: Vec<&'r str>| Self { priority: Priority::new(route, &paths), id, index, route, paths };
        match groups.len() {
            0 | 1 => vec![draft(route.id, groups.pop().unwrap_or_default())],
            _ => groups
                .into_iter()
                .enumerate()
                .map(|(n, paths)| {
                    draft(Uuid::new_v5(&SPLIT_ROUTES, format!("{}#{}", route.id, n + 1).as_bytes()), paths)
                })
                .collect(),
        }
    }
}

/// Routes of the tcp family are not for this router.
fn is_http(route: &Route) -> bool {
    route
        .protocols
        .iter()
        .any(|protocol| !matches!(protocol, Protocol::Tcp | Protocol::Tls | Protocol::TlsPassthrough | Protocol::Udp))
}

/// A route that asks for nothing matches nothing, as the schema says it must ask for something.
fn has_conditions(route: &Route) -> bool {
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    some(&route.methods)
        || some(&route.hosts)
        || some(&route.paths)
        || some(&route.snis)
        || route.headers.as_ref().is_some_and(|headers| !headers.is_empty())
}

struct Compiler<'r, 'd> {
    diagnostics: &'d mut Vec<Diagnostic>,
    candidates: Vec<Candidate>,
    hosts: HostIndexBuilder<'r>,
    regexes: Vec<Regex>,
    /// The regexes as written, by id, and their ids.
    texts: Vec<&'r str>,
    ids: HashMap<&'r str, RegexId>,
}

impl<'r> Compiler<'r, '_> {
    fn warn(&mut self, route: &Route) {
        if route.path_handling == PathHandling::V1 {
            let message = "path_handling 'v1' has no effect in router flavor 'traditional_compatible'";
            let warning = Diagnostic::warning("path-handling-v1", place(route, "path_handling"), message);
            self.diagnostics.push(warning.help("paths are joined as by 'v0'"));
        }
    }

    fn add(&mut self, draft: Draft<'r>) {
        let route = draft.route;
        let Some(headers) = self.headers(route) else { return };
        let hosts: Vec<_> = route.hosts.iter().flatten().map(|host| HostPattern::new(host)).collect();
        let candidate = Candidate {
            route: draft.index,
            methods: route.methods.as_deref().filter(|methods| !methods.is_empty()).map(Methods::new),
            hosts: (!index_tells(&hosts)).then(|| hosts.clone().into()),
            headers,
            snis: route.snis.iter().flatten().map(|sni| NamePattern::new(sni)).collect(),
        };
        let is_regex = draft.paths.first().is_some_and(|path| path.starts_with('~'));
        if !is_regex {
            let places: Vec<_> = match draft.paths.is_empty() {
                true => vec![Place::Pathless],
                false => draft.paths.into_iter().map(Place::Prefix).collect(),
            };
            return self.stand(candidate, &hosts, &places);
        }
        // Each regex has a rank of its own, so that the one listed first decides what is stripped and captured.
        for path in draft.paths {
            if let Some(regex) = self.regex(route, path) {
                self.stand(candidate.clone(), &hosts, &[Place::Regex(regex)]);
            }
        }
    }

    fn stand(&mut self, candidate: Candidate, hosts: &[HostPattern], places: &[Place<'r>]) {
        self.hosts.add(self.candidates.len() as Rank, hosts, places);
        self.candidates.push(candidate);
    }

    fn regex(&mut self, route: &Route, path: &'r str) -> Option<RegexId> {
        let text = path.strip_prefix('~').unwrap_or(path);
        if let Some(id) = self.ids.get(text) {
            return Some(*id);
        }
        // By itself first: what closes a group it did not open must not pass.
        let compiled =
            regex_syntax::parse(text).map_err(|fault| fault.to_string()).and_then(|_| regex(&anchored(text)));
        let regex = match compiled {
            Ok(regex) => regex,
            Err(fault) => {
                self.diagnostics.push(Diagnostic::error(
                    "route-regex",
                    place(route, "paths"),
                    format!("invalid regex: '{text}' ({fault})"),
                ));
                return None;
            }
        };
        let id = RegexId(self.regexes.len() as u32);
        self.regexes.push(regex);
        self.texts.push(text);
        self.ids.insert(text, id);
        Some(id)
    }

    fn headers(&mut self, route: &Route) -> Option<Box<[HeaderRule]>> {
        let mut rules = Vec::new();
        for (name, values) in route.headers.iter().flatten() {
            let spellings = [name.clone(), name.replace('_', "-"), name.replace('-', "_")];
            let mut names: Vec<HeaderName> = Vec::new();
            for spelling in spellings {
                match HeaderName::try_from(spelling) {
                    Ok(name) if names.contains(&name) => {}
                    Ok(name) => names.push(name),
                    Err(_) => {
                        let message = format!("invalid header name: '{name}'");
                        self.diagnostics.push(Diagnostic::error("route-header", place(route, "headers"), message));
                        return None;
                    }
                }
            }
            let values = values.iter().map(|value| self.header_value(route, value)).collect::<Option<Vec<_>>>()?;
            rules.push(HeaderRule { names, values: values.into() });
        }
        Some(rules.into())
    }

    fn header_value(&mut self, route: &Route, value: &str) -> Option<HeaderValue> {
        let small = value.to_ascii_lowercase();
        let Some(text) = small.strip_prefix("~*") else {
            return Some(HeaderValue::Exact(small.into()));
        };
        if has_capital_escape(value) {
            let message =
                format!("header regex '{value}' is read in small letters, which changes the meaning of its escapes");
            let help = "write the class out, e.g. `[^0-9]` for `\\D`";
            self.diagnostics
                .push(Diagnostic::warning("route-header-regex", place(route, "headers"), message).help(help));
        }
        match regex(text) {
            Ok(regex) => Some(HeaderValue::Regex(regex)),
            Err(fault) => {
                let message = format!("invalid regex: '{text}' ({fault})");
                self.diagnostics.push(Diagnostic::error("route-header-regex", place(route, "headers"), message));
                None
            }
        }
    }

    fn finish(self) -> Router {
        let hosts = self.hosts.build(&self.candidates, &self.texts);
        Router { candidates: self.candidates.into(), regexes: self.regexes.into(), hosts }
    }
}

fn regex(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(REGEX_SIZE).build().map_err(|fault| fault.to_string())
}

fn has_capital_escape(text: &str) -> bool {
    let mut escaped = false;
    text.chars().any(|char| {
        let found = escaped && char.is_ascii_uppercase();
        escaped = !escaped && char == '\\';
        found
    })
}

fn place(route: &Route, field: &str) -> String {
    match &route.name {
        Some(name) => format!("routes[{name}].{field}"),
        None => format!("routes[{}].{field}", route.id),
    }
}
