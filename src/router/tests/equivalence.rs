//! The index finds what trying all routes in Kong's order finds.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use regex::Regex;

use super::*;

/// Kong's rule as it is written down: every part of every route with its 64-bit priority, highest first, larger id
/// first among equals; the first that matches. Shares nothing with the router but the entity.
struct Plain<'r> {
    parts: Vec<Part<'r>>,
}

struct Part<'r> {
    priority: u64,
    id: Uuid,
    index: usize,
    route: &'r Route,
    paths: Vec<&'r str>,
    /// Of the paths that are regexes.
    regexes: Vec<Regex>,
}

impl<'r> Plain<'r> {
    fn new(routes: &'r [Route]) -> Self {
        let mut parts = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            let mut groups: indexmap::IndexMap<usize, Vec<&str>> = indexmap::IndexMap::new();
            for path in route.paths.iter().flatten() {
                groups.entry(if path.starts_with('~') { 0 } else { path.len() }).or_default().push(path);
            }
            let split = groups.len() > 1;
            if groups.is_empty() {
                groups.insert(0, Vec::new());
            }
            for (n, (_, paths)) in groups.into_iter().enumerate() {
                let namespace = Uuid::parse_str("7f145bf9-0dce-4f91-98eb-debbce4b9f6b").unwrap();
                let id = match split {
                    true => Uuid::new_v5(&namespace, format!("{}#{}", route.id, n + 1).as_bytes()),
                    false => route.id,
                };
                let regexes = paths.iter().filter_map(|path| path.strip_prefix('~'));
                let regexes = regexes.map(|regex| Regex::new(&format!("^(?:{regex})")).unwrap()).collect();
                parts.push(Part { priority: priority(route, &paths), id, index, route, paths, regexes });
            }
        }
        parts.sort_by_key(|part| std::cmp::Reverse((part.priority, part.id)));
        Self { parts }
    }

    fn find(&self, asked: &Asked) -> Option<(usize, usize)> {
        self.parts.iter().find_map(|part| Some((part.index, part.matches(asked)?)))
    }
}

fn priority(route: &Route, paths: &[&str]) -> u64 {
    let count = |list: &Option<Vec<String>>| u64::from(list.as_ref().is_some_and(|list| !list.is_empty()));
    let headers = route.headers.as_ref().map_or(0, |headers| headers.len() as u64);
    let attributes =
        count(&route.methods) + count(&route.hosts) + count(&route.paths) + count(&route.snis) + headers.min(1);
    let plain = route.hosts.as_ref().is_some_and(|hosts| !hosts.iter().any(|host| host.contains('*')));
    let regex = paths.first().is_some_and(|path| path.starts_with('~'));
    let tail = match paths.first() {
        Some(_) if regex => 1 << 51 | (route.regex_priority as u64) << 19,
        Some(path) => path.len() as u64 & 0x7_FFFF,
        None => 0,
    };
    attributes << 61 | u64::from(plain) << 60 | headers.min(255) << 52 | tail
}

impl Part<'_> {
    /// Bytes of the path that matched.
    fn matches(&self, asked: &Asked) -> Option<usize> {
        let route = self.route;
        if let Some(methods) = &route.methods
            && !methods.contains(&asked.method)
        {
            return None;
        }
        let (host, port) = split_host(&asked.host);
        let host = host.to_lowercase();
        let port = port.unwrap_or(asked.listen_port);
        if let Some(hosts) = &route.hosts
            && !hosts.iter().any(|wanted| {
                let (name, wanted_port) = split_host(wanted);
                name_matches(name, &host) && wanted_port.is_none_or(|wanted| wanted == port)
            })
        {
            return None;
        }
        for (name, values) in route.headers.iter().flatten() {
            let matched = asked.headers.get_all(name).iter().any(|value| {
                let value = value.to_str().unwrap().to_lowercase();
                values.iter().any(|wanted| match wanted.strip_prefix("~*") {
                    Some(regex) => Regex::new(regex).unwrap().is_match(&value),
                    None => wanted.to_lowercase() == value,
                })
            });
            if !matched {
                return None;
            }
        }
        if let Some(snis) = &route.snis
            && asked.tls
            && !snis
                .iter()
                .any(|wanted| asked.sni.as_ref().is_some_and(|sni| name_matches(wanted, &sni.to_lowercase())))
        {
            return None;
        }
        if self.paths.is_empty() {
            return Some(0);
        }
        if !self.regexes.is_empty() {
            return self.regexes.iter().find_map(|regex| Some(regex.find(&asked.path)?.end()));
        }
        self.paths.iter().find(|path| asked.path.starts_with(**path)).map(|path| path.len())
    }
}

fn name_matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(end), _) => name.ends_with(end),
        (_, Some(start)) => name.starts_with(start),
        _ => pattern == name,
    }
}

/// Few different values, so that routes overlap.
fn any_of(items: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(items).prop_map(str::to_string)
}

fn list(items: &'static [&'static str], chance: f64) -> impl Strategy<Value = Option<Vec<String>>> {
    prop::option::weighted(chance, prop::collection::vec(any_of(items), 1..4))
}

const METHODS: &[&str] = &["GET", "POST", "PURGE"];
const HOSTS: &[&str] =
    &["a.test", "b.a.test", "*.a.test", "*.test", "a.*", "b.a.*", "a.test:80", "*.test:81", "a.*:80", "*est", "b*"];
const PATHS: &[&str] = &[
    "/",
    "/a",
    "/b",
    "/a/",
    "/ab",
    "/a/b",
    "/a/c",
    "/a/b/c",
    "/\u{e9}",
    "/\u{e8}",
    "~/",
    "~/a",
    "~/a/[bc]",
    "~/a/b$",
    "~/(a|b)/c",
    "~.*c",
    r"~/\w+",
    "~/a*",
    "~(?i)/A",
    "~^/b",
    "~/\u{e9}?",
    "~/(?:ab|ac)",
];
const SNIS: &[&str] = &["a.test", "*.test", "b.*"];

fn routes() -> impl Strategy<Value = Vec<Route>> {
    let headers = prop::option::weighted(
        0.3,
        prop::collection::vec(
            (any_of(&["x-a", "x-b"]), prop::collection::vec(any_of(&["1", "Two", "~*^[a-z]"]), 1..3)),
            1..3,
        ),
    );
    let one = (
        list(METHODS, 0.3),
        list(HOSTS, 0.5),
        list(PATHS, 0.8),
        headers,
        list(SNIS, 0.2),
        prop_oneof![4 => Just(0i64), 1 => 0..3i64],
        any::<u128>(),
    );
    prop::collection::vec(one, 0..60).prop_map(|routes| {
        routes
            .into_iter()
            .map(|(methods, hosts, paths, headers, snis, regex_priority, id)| {
                route(id, |route| {
                    route.methods = methods;
                    route.hosts = hosts;
                    route.paths = paths;
                    route.headers = headers.map(|headers| headers.into_iter().collect());
                    route.snis = snis;
                    route.regex_priority = regex_priority;
                    if route.headers.is_none()
                        && [&route.methods, &route.hosts, &route.paths, &route.snis].iter().all(|l| l.is_none())
                    {
                        route.paths = strings(&["/"]);
                    }
                })
            })
            .collect()
    })
}

fn requests() -> impl Strategy<Value = Vec<Asked>> {
    let one = (
        any_of(&["GET", "POST", "PURGE", "PUT"]),
        any_of(&[
            "",
            "a.test",
            "A.test",
            "b.a.test",
            "c.b.a.test",
            "a.x",
            "b.a.x",
            "a.test:80",
            "x.test:81",
            "test",
            "best",
        ]),
        any_of(&[
            "/", "/a", "/b", "/a/", "/ab", "/abc", "/a/b", "/a/b/c", "/a/c", "/b/c", "/A", "/\u{e9}", "/\u{e9}x",
            "/\u{e8}", "/ac",
        ]),
        prop::collection::vec((any_of(&["x-a", "x-b"]), any_of(&["1", "two", "TWO", "2"])), 0..3),
        prop::option::of(prop::option::of(any_of(&["a.test", "x.TEST", "b.x"]))),
        prop::sample::select(&[80u16, 81, 8000]),
    );
    prop::collection::vec(
        one.prop_map(|(method, host, path, headers, tls, listen_port)| {
            let mut asked = Asked::get(&path).method(&method).host(&host);
            for (name, value) in headers {
                asked = asked.header(&name, &value);
            }
            asked.listen_port = listen_port;
            match tls {
                Some(sni) => asked.sni(sni.as_deref()),
                None => asked,
            }
        }),
        1..40,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_index_finds_what_the_plain_rule_finds(routes in routes(), requests in requests()) {
        let router = compile(&routes);
        let plain = Plain::new(&routes);
        for asked in requests {
            let found = router.find(&asked.lookup()).map(|found| (found.route, found.matched.len()));
            prop_assert_eq!(found, plain.find(&asked), "{:?}", asked);
        }
    }
}

/// Few places in the index and many routes in each.
#[test]
fn crowds_find_what_the_plain_rule_finds() {
    // More regexes that begin with no more than a slash than are tried one by one.
    const CROWDED: &[&str] = &[
        "/",
        "/a",
        "~/[ab]",
        "~/.$",
        "~/.*b",
        "~/a|/b",
        "~/[a-c]/b",
        "~/a?",
        r"~/\w",
        "~/[^a]",
        "~/(a|b|c)(/b)?",
        "~/.",
        "~/$",
        "~/.?$",
        "~/a(/b)?",
        "~/a+",
        "~/(a)",
        "~.*b",
        "~.",
        "~(/|/a)",
        "~/[a-c].*$",
    ];
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let crowd =
        prop::collection::vec((list(&["GET", "POST"], 0.3), any_of(CROWDED), 0..30u8, 0..30u8, any::<u128>()), 300);
    for _ in 0..8 {
        let drawn = crowd.new_tree(&mut runner).unwrap().current();
        let routes: Vec<_> = drawn
            .into_iter()
            .map(|(methods, path, tenant, sni, id)| {
                route(id, |route| {
                    route.methods = methods;
                    route.paths = Some(vec![path]);
                    route.headers = (tenant < 20).then(|| headers_of(&[("x-a", &[&format!("T{tenant}")])]).unwrap());
                    route.snis = (sni < 10).then(|| vec![format!("s{sni}.test")]);
                })
            })
            .collect();
        let (router, plain) = (compile(&routes), Plain::new(&routes));
        for tenant in 0..25 {
            for (path, sni) in
                [("/", Some("s1.test")), ("/a", None), ("/b", Some("s9.test")), ("/a/b", Some("none")), ("/c/b", None)]
            {
                let asked = Asked::get(path).header("x-a", &format!("t{tenant}"));
                for asked in [asked.clone().method("PUT"), asked.sni(sni)] {
                    let found = router.find(&asked.lookup()).map(|found| (found.route, found.matched.len()));
                    assert_eq!(found, plain.find(&asked), "{asked:?}");
                }
            }
        }
    }
}
