//! Plugins, as connections see them. What they decide is tested with them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use portcullis::entity::Dataset;
use portcullis::gateway::testing::Setup;
use portcullis::telemetry::AccessLog;
use portcullis::telemetry::access_log;
use portcullis::telemetry::output::Target;
use serde_json::{Value, json};

use super::streams::http2;
use super::support::echo::Echo;
use super::support::gateway::{Gateway, consumer, dataset, one_service, plugin, token};
use super::support::http;

fn with_jwt(port: u16) -> Dataset {
    let mut dataset = one_service(port);
    consumer(&mut dataset, 1, "alice");
    consumer(&mut dataset, 2, "bob");
    plugin(&mut dataset, Some(0), "jwt", json!({"cookie_names": ["token"]}));
    dataset
}

/// Every way to ask that must not be a way round (pingap's upgrade bypass; SECURITY 1c).
#[test]
fn a_token_is_needed_whatever_the_request_looks_like() {
    let echo = Echo::start();
    let gateway = Gateway::start(with_jwt(echo.port));
    let good = token("alice");
    let mut stream = gateway.endpoint().connect();
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\n",
        "OPTIONS / HTTP/1.1\r\nHost: a\r\n",
        "options / HTTP/1.1\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nX-HTTP-Method-Override: OPTIONS\r\nContent-Length: 0\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 127.0.0.1\r\nX-Original-URL: /open\r\nX-Consumer-ID: 1\r\n",
    ] {
        let answer = http::exchange(&mut *stream, &format!("{request}\r\n"));
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{request}");
        assert_eq!(answer.header("connection"), Some("keep-alive"), "{request}");
        assert!(echo.take_all().is_empty(), "{request}");
        let control = format!("{request}Authorization: Bearer {good}\r\n\r\n");
        assert_eq!(http::exchange(&mut *gateway.endpoint().connect(), &control).status, 200, "{control}");
        assert_eq!(echo.take().unwrap().header("x-consumer-username"), ["alice"], "{control}");
    }
}

#[test]
fn connections_remember_nobody() {
    let echo = Echo::start();
    let gateway = Gateway::start(with_jwt(echo.port));
    let mut stream = gateway.endpoint().connect();
    for (sent, seen) in [("alice", Some("alice")), ("", None), ("bob", Some("bob")), ("", None)] {
        let header = if sent.is_empty() { String::new() } else { format!("Authorization: Bearer {}\r\n", token(sent)) };
        let answer = http::exchange(&mut *stream, &format!("GET / HTTP/1.1\r\nHost: a\r\n{header}\r\n"));
        assert_eq!(answer.status, if seen.is_some() { 200 } else { 401 });
        let names = echo.take().map(|seen| seen.header("x-consumer-username").join(","));
        assert_eq!(names.as_deref(), seen);
    }
}

#[test]
fn spoofed_identities_are_replaced() {
    let echo = Echo::start();
    let gateway = Gateway::start(with_jwt(echo.port));
    let bearer = format!("Bearer {}", token("alice"));
    let sent = [
        ("Authorization", bearer.as_str()),
        ("Connection", "close, X-Consumer-Username"),
        ("X-Consumer-Username", "root"),
        ("X_Consumer_Username", "root"),
        ("X-Consumer-Custom-ID", "root"),
        ("X-Anonymous-Consumer", "true"),
    ];
    assert_eq!(http::get(gateway.endpoint(), "/", &sent).status, 200);
    let seen = echo.take().unwrap();
    assert_eq!(seen.header("x-consumer-username"), ["alice"]);
    assert!(seen.headers.iter().all(|(_, value)| value != "root" && value != "true"), "{:?}", seen.headers);
    assert_eq!(seen.header("authorization"), [bearer.as_str()]);
}

/// Pingora takes this header out by itself, and we put it back for the service (as Kong passes it on).
#[test]
fn a_credential_in_proxy_authorization_is_hidden_too() {
    let echo = Echo::start();
    let gateway = keeping_and_hiding(&echo, &json!({"key_names": ["proxy-authorization"]}));
    for (path, seen) in [("/keep", &["key-of-alice"][..]), ("/hide", &[])] {
        assert_eq!(http::get(gateway.endpoint(), path, &[("Proxy-Authorization", "key-of-alice")]).status, 200);
        assert_eq!(echo.take().unwrap().header("proxy-authorization"), seen, "{path}");
    }
}

/// key-auth on `/keep` and on `/hide`, which hides the credential.
fn keeping_and_hiding(echo: &Echo, config: &Value) -> Gateway {
    let routes = [json!({"paths": ["/keep"], "service": 0}), json!({"paths": ["/hide"], "service": 0})];
    let mut dataset = dataset(&[json!({"port": echo.port})], &routes);
    consumer(&mut dataset, 1, "alice");
    for (route, hide) in [(0, false), (1, true)] {
        let mut config = config.clone();
        config["hide_credentials"] = hide.into();
        plugin(&mut dataset, Some(route), "key-auth", config);
    }
    Gateway::start(dataset)
}

/// A plugin that reads a body leaves it as it was; one that hides its credential takes only that out.
#[test]
fn bodies_that_plugins_read_go_on() {
    let echo = Echo::start();
    let gateway = keeping_and_hiding(&echo, &json!({"key_names": ["apikey"], "key_in_body": true}));
    let body = "a=1&apikey=key-of-alice&b=%20x";
    let request = |path: &str, headers: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n{headers}")
    };
    let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let mut stream = gateway.endpoint().connect();
    assert_eq!(http::exchange(&mut *stream, &request("/keep", &length)).status, 200);
    assert_eq!(echo.take().unwrap().body, body);
    assert_eq!(http::exchange(&mut *stream, &request("/hide", &length)).status, 200);
    let seen = echo.take().unwrap();
    assert_eq!(seen.body, "a=1&b=%20x");
    assert_eq!(seen.header("content-length"), ["10"]);
    let answer = http::exchange(&mut *stream, &request("/hide", "Content-Length: 3\r\n\r\na=1"));
    assert_eq!((answer.status, answer.header("connection")), (401, Some("keep-alive")));
    let expecting = request("/keep", &format!("Expect: 100-continue\r\n{length}"));
    assert_eq!(http::exchange(&mut *stream, &expecting).status, 200);
    assert_eq!(echo.take().unwrap().body, body);
}

/// SECURITY: no log line holds a token or a query.
#[test]
fn the_access_log_tells_who_and_why_but_no_token() {
    let echo = Echo::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    let options = access_log::Options {
        target: Target::File(file.path().to_owned()),
        sample: 1.0,
        sample_rejects: 1.0,
        queue: 100,
    };
    let log = Arc::new(AccessLog::start(&options, Arc::new(AtomicU64::new(0))).unwrap());
    let gateway = Gateway::with(with_jwt(echo.port), Setup { access_log: log.clone(), ..Setup::default() });
    let good = token("alice");
    assert_eq!(http::get(gateway.endpoint(), &format!("/a?jwt={good}"), &[]).status, 200);
    assert_eq!(http::get(gateway.endpoint(), &format!("/b?jwt={good}x"), &[]).status, 401);
    assert_eq!(http::get(gateway.endpoint(), "/c%00", &[]).status, 400);
    let lines: Vec<Value> = (0..50)
        .map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            log.flush();
            let text = std::fs::read_to_string(file.path()).unwrap();
            let signature = good.rsplit('.').next().unwrap();
            assert!(!text.contains(signature) && !text.contains("jwt="), "{text}");
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        })
        .find(|lines| lines.len() == 3)
        .expect("three lines");
    // Each on a connection of its own: they end in any order.
    let field = |path: &str, name: &str| lines.iter().find(|line| line["path"] == path).unwrap()[name].clone();
    assert_eq!(
        (field("/a", "status"), field("/a", "auth"), field("/a", "consumer"), field("/a", "source")),
        (json!(200), json!("allow"), json!("alice"), json!("service"))
    );
    assert_eq!(
        (field("/a", "route"), field("/a", "service"), field("/a", "tries")),
        (json!("route-0"), json!("service-0"), json!(1))
    );
    assert_eq!(
        (field("/b", "status"), field("/b", "auth"), field("/b", "reason"), field("/b", "source")),
        (json!(401), json!("deny"), json!("signature_invalid"), json!("gateway"))
    );
    assert_eq!(
        (field("/c%00", "status"), field("/c%00", "reason"), field("/c%00", "auth")),
        (json!(400), json!("bad_request"), Value::Null)
    );
    let text = gateway.proxy.metrics.encode();
    assert!(text.contains("portcullis_auth_requests_total"), "{text}");
}

/// What clients choose stands in the log as they chose it, and never as a line or a field of its own.
#[test]
fn clients_cannot_write_log_lines() {
    let echo = Echo::start();
    let file = tempfile::NamedTempFile::new().unwrap();
    let target = Target::File(file.path().to_owned());
    let options = access_log::Options { target, sample: 1.0, sample_rejects: 1.0, queue: 100 };
    let log = Arc::new(AccessLog::start(&options, Arc::new(AtomicU64::new(0))).unwrap());
    let gateway = Gateway::with(with_jwt(echo.port), Setup { access_log: log.clone(), ..Setup::default() });
    let agent = "x\",\"consumer\":\"alice\\ \u{e9}\t\u{1b}[31m".replace('\u{1b}', "");
    for path in ["/%0a{\"status\":200}", "/a\",\"status\":200", "/ok"] {
        http::get(gateway.endpoint(), path, &[("User-Agent", &agent)]);
    }
    let lines = (0..50).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        log.flush();
        let text = std::fs::read_to_string(file.path()).unwrap();
        (text.lines().count() == 3).then(|| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    });
    let lines: Vec<Value> = lines.expect("three lines");
    for line in &lines {
        assert!(line["status"] == json!(401) || line["status"] == json!(400), "{line}");
        assert_eq!(line["consumer"], Value::Null, "{line}");
    }
}

/// Case J46; and tokens in cookies that HTTP/2 has split.
#[test]
fn http2_clients_are_authenticated() {
    let echo = Echo::start();
    let gateway = Gateway::with(with_jwt(echo.port), Setup { h2c: true, ..Setup::default() });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let call = |headers: &[(&str, &str)]| {
        let mut request = ::http::Request::builder().uri(format!("http://localhost:{}/", gateway.port()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        runtime.block_on(http2(gateway.port(), request.body(()).unwrap(), None)).0
    };
    let answer = call(&[("content-type", "application/grpc")]);
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["grpc-status"]),
        (401, &::http::HeaderValue::from_static("16"))
    );
    assert_eq!(call(&[]).headers["www-authenticate"], "Bearer");
    let (alice, bob) = (format!("token={}", token("alice")), format!("token={}", token("bob")));
    assert_eq!(call(&[("cookie", "a=1"), ("cookie", &alice)]).status, 200);
    assert_eq!(echo.take().unwrap().header("x-consumer-username"), ["alice"]);
    assert_eq!(call(&[("cookie", &alice), ("authorization", &format!("Bearer {}", token("bob")))]).status, 401);
    assert_eq!(call(&[("cookie", &bob)]).status, 200);
    assert_eq!(echo.take_all().len(), 1);
}
