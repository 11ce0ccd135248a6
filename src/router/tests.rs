//! What the parts do together: Kong's matching cases, and equivalence with the plain rule.

mod equivalence;
mod matching;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use super::*;
use crate::diagnostic::Diagnostic;
use crate::entity::{PathHandling, Protocol, Route};

/// A route of which only what `change` sets is defined.
fn route(id: u128, change: impl FnOnce(&mut Route)) -> Route {
    let mut route = Route {
        id: Uuid::from_u128(id),
        created_at: 0,
        updated_at: 0,
        name: None,
        protocols: vec![Protocol::Http, Protocol::Https],
        methods: None,
        hosts: None,
        paths: None,
        headers: None,
        snis: None,
        sources: None,
        destinations: None,
        https_redirect_status_code: 426,
        regex_priority: 0,
        strip_path: true,
        path_handling: PathHandling::V0,
        preserve_host: false,
        request_buffering: true,
        response_buffering: true,
        service: None,
        tags: None,
    };
    change(&mut route);
    route
}

fn strings(items: &[&str]) -> Option<Vec<String>> {
    Some(items.iter().map(|item| item.to_string()).collect())
}

fn headers_of(wanted: &[(&str, &[&str])]) -> Option<indexmap::IndexMap<String, Vec<String>>> {
    Some(wanted.iter().map(|(name, values)| (name.to_string(), strings(values).unwrap())).collect())
}

/// A request; `GET / ` without host unless said otherwise.
#[derive(Clone, Debug)]
struct Asked {
    method: String,
    host: String,
    listen_port: u16,
    path: String,
    headers: HeaderMap,
    tls: bool,
    sni: Option<String>,
}

impl Asked {
    fn get(path: &str) -> Self {
        Self {
            method: "GET".into(),
            host: String::new(),
            listen_port: 8000,
            path: path.into(),
            headers: HeaderMap::new(),
            tls: false,
            sni: None,
        }
    }

    fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.append(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        self
    }

    fn sni(mut self, sni: Option<&str>) -> Self {
        self.tls = true;
        self.sni = sni.map(str::to_string);
        self
    }

    fn lookup(&self) -> Lookup<'_> {
        let (host, host_port) = split_host(&self.host);
        Lookup {
            method: &self.method,
            host,
            host_port,
            listen_port: self.listen_port,
            path: &self.path,
            headers: &self.headers,
            tls: self.tls,
            sni: self.sni.as_deref(),
        }
    }

    /// The route's index.
    fn of(&self, routes: &[Route]) -> Option<usize> {
        Some(self.find(routes)?.route)
    }

    fn find(&self, routes: &[Route]) -> Option<Match> {
        compile(routes).find(&self.lookup())
    }
}

fn compile(routes: &[Route]) -> Router {
    let (router, diagnostics) = compile_with_diagnostics(routes);
    assert_eq!(diagnostics, []);
    router
}

fn compile_with_diagnostics(routes: &[Route]) -> (Router, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let router = Router::compile(&routes.iter().collect::<Vec<_>>(), &mut diagnostics);
    (router, diagnostics)
}

#[test]
fn splits_hosts() {
    for (authority, host, port) in [
        ("a.test", "a.test", None),
        ("a.test:80", "a.test", Some(80)),
        ("a.test:", "a.test:", None),
        ("a.test:+80", "a.test:+80", None),
        ("a.test:65536", "a.test:65536", None),
        ("[::1]", "[::1]", None),
        ("[::1]:80", "[::1]", Some(80)),
        ("::1:80", "::1:80", None),
        ("a.*:80", "a.*", Some(80)),
    ] {
        assert_eq!(split_host(authority), (host, port), "{authority}");
    }
}
