//! Which route a request takes, as clients and services see it. The router's own rules are tested with it.

use portcullis::gateway::testing::Setup;
use serde_json::{Value, json};

use super::support::echo::Echo;
use super::support::gateway::{Gateway, dataset};
use super::support::http::{self, Answer};

/// A gateway of these routes, whose service tells by its path which route was taken: `/0`, `/1` and so on.
struct Routes {
    gateway: Gateway,
    echo: Echo,
}

impl Routes {
    fn of(routes: &[Value]) -> Self {
        let echo = Echo::start();
        let services: Vec<Value> =
            (0..routes.len()).map(|number| json!({"port": echo.port, "path": format!("/{number}")})).collect();
        let routes: Vec<Value> = routes
            .iter()
            .enumerate()
            .map(|(number, route)| {
                let mut route = route.clone();
                route["service"] = json!(number);
                route
            })
            .collect();
        Self { gateway: Gateway::with(dataset(&services, &routes), Setup::default()), echo }
    }

    /// The answer to a request line and headers, and what the service was asked for.
    fn ask(&self, line: &str, headers: &str) -> (Answer, Option<String>) {
        let answer =
            http::exchange(&mut *self.gateway.endpoint().connect(), &format!("{line} HTTP/1.1\r\n{headers}\r\n"));
        (answer, self.echo.take().map(|seen| seen.uri))
    }

    /// Which route a request takes; `None` is 404.
    #[track_caller]
    fn taken(&self, line: &str, headers: &str) -> Option<usize> {
        let (answer, uri) = self.ask(line, headers);
        match (answer.status, uri) {
            (200, Some(uri)) => uri.split('/').nth(1)?.parse().ok(),
            (404, None) => None,
            other => panic!("{line} {headers:?}: {other:?}"),
        }
    }
}

/// Cases R02, R03, R15.
#[test]
fn methods() {
    let routes = Routes::of(&[
        json!({"hosts": ["h.test"], "methods": ["GET"]}),
        json!({"methods": ["PURGE"]}),
        json!({"paths": ["/my-route"]}),
    ]);
    assert_eq!(routes.taken("GET /", "Host: h.test\r\n"), Some(0));
    assert_eq!(routes.taken("POST /", "Host: h.test\r\n"), None);
    assert_eq!(routes.taken("get /", "Host: h.test\r\n"), None, "methods are case-sensitive");
    assert_eq!(routes.taken("PURGE /anything", "Host: other\r\n"), Some(1));
    assert_eq!(routes.taken("PURGE /my-route", "Host: other\r\n"), Some(2), "a path goes before a method");
}

/// Cases R06, R07, R16, R17; hosts in any case and with the root's dot are one host.
#[test]
fn hosts() {
    let routes = Routes::of(&[
        json!({"hosts": ["mock.a"]}),
        json!({"hosts": ["*.w.test"]}),
        json!({"hosts": ["w.*"]}),
        json!({"hosts": ["port.test:8080"]}),
        json!({"hosts": ["port.test"]}),
        json!({"hosts": ["only.test:8080"]}),
        json!({"hosts": ["*.ports.test:8080"]}),
        json!({"hosts": ["plain.w.test"]}),
    ]);
    for (host, route) in [
        ("mock.a", Some(0)),
        ("MOCK.A", Some(0)),
        ("mock.a.", Some(0)),
        ("mock.a:9999", Some(0)),
        ("x.mock.a", None),
        ("mock.ab", None),
        ("a.w.test", Some(1)),
        ("a.b.w.test:1", Some(1)),
        ("w.test", Some(2)),
        ("w.x.y", Some(2)),
        ("xw.test", None),
        ("port.test:1", Some(4)),
        ("port.test", Some(4)),
        ("only.test:8080", Some(5)),
        ("only.test:80", None),
        ("only.test", None),
        ("x.ports.test:8080", Some(6)),
        ("x.ports.test", None),
        ("plain.w.test", Some(7)),
        ("mock.a:", None),
        ("mock.a:80:80", None),
        ("[::1]:80", None),
    ] {
        assert_eq!(routes.taken("GET /", &format!("Host: {host}\r\n")), route, "{host}");
    }
    assert_eq!(routes.ask("GET /", "").0.status, 400, "case R04: HTTP/1.1 names a host");
    assert_eq!(routes.ask("GET /", "Host:\r\n").0.status, 400, "an empty one is none");
}

/// Cases R08 to R14.
#[test]
fn paths() {
    let routes = Routes::of(&[
        json!({"paths": ["/my-route"]}),
        json!({"paths": ["/my-route/deeper"]}),
        json!({"paths": [r"~/users/\d+/profile"]}),
        json!({"paths": ["/users/123/profile"]}),
        json!({"paths": ["~/prefix/[0-9]+"]}),
        json!({"paths": [r"~/status/(?<re>\d+)"], "regex_priority": 10}),
        json!({"paths": ["~/status/200"]}),
        json!({"paths": ["/my-route/deeper/still"], "methods": ["PUT"]}),
        json!({"paths": ["/my"], "methods": ["PUT"]}),
        json!({"paths": ["/exact$"], "strip_path": false}),
        json!({"paths": ["~/end$"]}),
    ]);
    for (line, route) in [
        ("GET /my-route", Some(0)),
        ("GET /my-route/x", Some(0)),
        ("GET /my-routeXYZ", Some(0)),
        ("GET /my-rout", None),
        ("GET /My-Route", None),
        ("GET /my-route/deeper/x", Some(1)),
        ("PUT /my-route/deeper/still", Some(7)),
        ("PUT /my-route/deeper/x", Some(8)),
        ("GET /users/123/profile", Some(2)),
        ("GET /users/123/profile/hello", Some(2)),
        ("GET /users/x/profile", None),
        ("GET /extra/prefix/123", None),
        ("GET /prefix/123", Some(4)),
        ("GET /status/200", Some(5)),
        ("GET /exact$", Some(9)),
        ("GET /end", Some(10)),
        ("GET /end/", None),
    ] {
        assert_eq!(routes.taken(line, "Host: a\r\n"), route, "{line}");
    }
    assert_eq!(routes.ask("GET /users/123/profile/hello", "Host: a\r\n").1.as_deref(), Some("/2/hello"), "case R13");
}

/// Cases R18, R19.
#[test]
fn headers() {
    let routes = Routes::of(&[
        json!({"headers": {"location": ["a", "B"]}, "paths": ["/long/path"]}),
        json!({"headers": {"location": ["a"], "version": ["2"]}, "paths": ["/"]}),
        json!({"headers": {"agent": ["~*^curl/[0-9]"]}}),
    ]);
    for (headers, route) in [
        ("Location: a\r\n", Some(0)),
        ("LOCATION: b\r\n", Some(0)),
        ("Location: c\r\n", None),
        ("Location: c\r\nLocation: a\r\n", Some(0)),
        ("Location: a, b\r\n", None),
        ("Location: A\r\nVersion: 2\r\n", Some(1)),
        ("Agent: Curl/8\r\n", Some(2)),
        ("Agent: x curl/8\r\n", None),
        ("", None),
    ] {
        assert_eq!(routes.taken("GET /long/path", &format!("Host: a\r\n{headers}")), route, "{headers:?}");
    }
}

/// Cases R21 to R27: the routed path is the one the service gets.
#[test]
fn paths_towards_the_service() {
    let routes = Routes::of(&[
        json!({"paths": ["/hello"]}),
        json!({"paths": ["/foo/bar"], "strip_path": false}),
        json!({"paths": ["/endel%2Fst"]}),
        json!({"paths": ["/x/y/z", "/z/y/x"]}),
        json!({"paths": ["/caf\u{e9}"], "strip_path": false}),
        json!({"paths": ["/with space"], "strip_path": false}),
    ]);
    for (sent, got) in [
        ("/foo/a/../bar", "/1/foo/bar"),
        ("/foo//bar", "/1/foo/bar"),
        ("/foo/./bar", "/1/foo/bar"),
        ("/foo/bar?", "/1/foo/bar?"),
        ("/foo/bar?hello", "/1/foo/bar?hello"),
        ("/foo/bar?a=%2f%zz&b=/../", "/1/foo/bar?a=%2f%zz&b=/../"),
        ("/foo/bar/cat%20and%20dog", "/1/foo/bar/cat%20and%20dog"),
        ("/foo/bar/%7e%2d%41", "/1/foo/bar/~-A"),
        ("/foo/bar/a%3bb;c", "/1/foo/bar/a%3Bb;c"),
        ("/foo/bar/%25", "/1/foo/bar/%25"),
        ("/h%65llo/anything/a/../b", "/0/anything/b"),
        ("/hello", "/0"),
        ("/hello/", "/0/"),
        ("/hello../x", "/0/x"),
        ("/endel%2fst", "/2"),
        ("/x/y/z/1", "/3/1"),
        ("/z/y/x/2", "/3/2"),
        ("/caf%C3%A9", "/4/caf%C3%A9"),
        ("/with%20space", "/5/with%20space"),
    ] {
        let (answer, uri) = routes.ask(&format!("GET {sent}"), "Host: a\r\n");
        assert_eq!((answer.status, uri.as_deref()), (200, Some(got)), "{sent}");
    }
    for (refused, status) in [
        ("/foo/%c3", 404),
        ("/foo/bar/%zz", 400),
        ("/foo/bar/%4", 400),
        ("/foo/bar/%0a", 400),
        ("/foo/bar/..%2f..%2fetc", 400),
        ("/foo/bar/%252e%252e/", 400),
        ("/foo/bar/..;/x", 400),
        ("/foo/bar/a%5cb", 400),
        ("/foo/bar\\..\\x", 400),
        ("/%2e%2e/foo/bar", 400),
    ] {
        let (answer, uri) = routes.ask(&format!("GET {refused}"), "Host: a\r\n");
        assert_eq!((answer.status, uri), (status, None), "{refused}");
    }
}

/// Case R20: without TLS an sni is no condition, so that a client is told to come by TLS.
#[test]
fn server_names() {
    let routes = Routes::of(&[json!({"snis": ["a.test"], "paths": ["/secure"], "protocols": ["https"]})]);
    let (answer, uri) = routes.ask("GET /secure", "Host: b\r\n");
    assert_eq!((answer.status, uri), (426, None));
}

/// CVE-2021-43824's kind: an expression that backtracking engines never come back from.
#[test]
fn no_path_makes_an_expression_slow() {
    let routes = Routes::of(&[json!({"paths": [r"~/(a+)+$", r"~/(\w|\d)*!", r"~/(.*)*x(.*)*y"]})]);
    let path = format!("/{}!", "a".repeat(20_000));
    let start = std::time::Instant::now();
    assert_eq!(routes.ask(&format!("GET {path}b"), "Host: a\r\n").0.status, 200, "the second matches its beginning");
    assert_eq!(routes.ask(&format!("GET /{}?", "b.".repeat(10_000)), "Host: a\r\n").0.status, 404);
    assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
}

/// Headers by which some frameworks are told another path or host do not route (SECURITY 1c).
#[test]
fn nothing_but_the_request_line_and_host_chooses_the_route() {
    let routes = Routes::of(&[json!({"paths": ["/guarded"]}), json!({"hosts": ["inside.test"]})]);
    for header in [
        "X-Original-URL: /guarded",
        "X-Rewrite-URL: /guarded",
        "X-Forwarded-Host: inside.test",
        "X-Forwarded-Path: /guarded",
        "X-Host: inside.test",
        "Forwarded: host=inside.test",
    ] {
        assert_eq!(routes.taken("GET /", &format!("Host: a\r\n{header}\r\n")), None, "{header}");
    }
    assert_eq!(routes.taken("GET /guarded", "Host: a\r\n"), Some(0), "control");
    assert_eq!(routes.taken("GET /", "Host: inside.test\r\n"), Some(1), "control");
}

/// Case R34.
#[test]
fn a_disabled_service_has_no_routes() {
    let echo = Echo::start();
    let services = [json!({"port": echo.port, "enabled": false}), json!({"port": echo.port})];
    let routes = [json!({"paths": ["/a/b"], "service": 0}), json!({"paths": ["/a"], "service": 1})];
    let gateway = Gateway::start(dataset(&services, &routes));
    assert_eq!(http::get(gateway.endpoint(), "/a/b/c", &[]).status, 200);
    assert_eq!(echo.take().unwrap().uri, "/b/c", "the shorter path of the service that is on");
    let gateway = Gateway::start(dataset(&services, &routes[..1]));
    assert_eq!(http::get(gateway.endpoint(), "/a/b", &[]).status, 404);
}
