//! Answers in the service's place.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use portcullis::entity::Kind;
use portcullis::gateway::testing::Setup;
use portcullis::gateway::{ErrorType, Options};
use serde_json::{Value, json};

use super::support::echo::Echo;
use super::support::gateway::{Gateway, dataset, one_service, put};
use super::support::http::{self, Answer};

fn message(answer: &Answer) -> String {
    serde_json::from_str::<Value>(&answer.body).unwrap()["message"].as_str().unwrap().to_owned()
}

/// A port that refuses connections.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Cases R01, R05, R46; golden case `no_route`.
#[test]
fn no_route_and_no_service_have_kongs_answers() {
    let gateway = Gateway::start(dataset(&[], &[json!({"paths": ["/alone"]})]));
    let answer = http::get(gateway.endpoint(), "/zzz", &[]);
    assert_eq!(answer.status, 404);
    let id = answer.header("x-kong-request-id").unwrap();
    assert_eq!(
        answer.body,
        format!("{{\n  \"message\":\"no Route matched with those values\",\n  \"request_id\":\"{id}\"\n}}")
    );
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert!(answer.header("x-kong-response-latency").is_some());
    assert_eq!(answer.header("via"), None);
    assert_eq!(answer.header("connection"), Some("keep-alive"));
    let answer = http::get(gateway.endpoint(), "/alone", &[("Accept", "text/html")]);
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(answer.body.contains("no Service found with those values"));
}

/// As nginx: `TRACE` would show a client what we add for the service.
#[test]
fn trace_reaches_no_service() {
    let echo = Echo::start();
    let gateway = Gateway::start(one_service(echo.port));
    let answer = http::exchange(&mut *gateway.endpoint().connect(), "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, answer.body.lines().next()), (405, Some("Method not allowed")));
    assert!(echo.take().is_none());
    let control = http::exchange(&mut *gateway.endpoint().connect(), "TRACES / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(control.status, 200);
}

/// Cases R30 and R31.
#[test]
fn https_only_routes_say_so() {
    let echo = Echo::start();
    let route = |status: u16| json!({"paths": [format!("/redirect-{status}")], "protocols": ["https"], "https_redirect_status_code": status, "service": 0});
    let gateway = Gateway::start(dataset(&[json!({"port": echo.port})], &[route(426), route(301), route(307)]));
    let answer = http::get(gateway.endpoint(), "/redirect-426", &[]);
    assert_eq!((answer.status, message(&answer).as_str()), (426, "Please use HTTPS protocol"));
    assert_eq!(answer.header("upgrade"), Some("TLS/1.2, HTTP/1.1"));
    let request = "GET /redirect-301?foo=bar HTTP/1.1\r\nHost: example.com\r\n\r\n";
    let answer = http::exchange(&mut *gateway.endpoint().connect(), request);
    assert_eq!((answer.status, answer.header("location")), (301, Some("https://example.com/redirect-301?foo=bar")));
    assert_eq!(http::get(gateway.endpoint(), "/redirect-307", &[]).status, 307);
    assert!(echo.take().is_none());
}

/// Case R33.
#[test]
fn grpc_routes_take_grpc_only() {
    let echo = Echo::start();
    let route = json!({"paths": ["/"], "protocols": ["grpc", "grpcs"], "service": 0});
    let gateway = Gateway::start(dataset(&[json!({"port": echo.port})], &[route]));
    let answer = http::get(gateway.endpoint(), "/", &[]);
    assert_eq!((answer.status, message(&answer).as_str()), (415, "Non-gRPC request matched gRPC route"));
    let answer = http::get(gateway.endpoint(), "/", &[("Content-Type", "application/grpc")]);
    assert_eq!((answer.status, message(&answer).as_str()), (426, "Please use HTTP2 protocol"));
    assert_eq!(answer.header("upgrade"), Some("HTTP/2"));
}

/// Cases R43 to R45.
#[test]
fn a_service_that_refuses_is_502_in_the_wanted_form() {
    let options = Options { error_default_type: ErrorType::Html, ..Options::default() };
    let gateway = Gateway::with(one_service(closed_port()), Setup { options, ..Setup::default() });
    let answer = http::get(gateway.endpoint(), "/", &[]);
    assert_eq!((answer.status, answer.header("content-type")), (502, Some("text/html; charset=utf-8")));
    assert!(answer.body.contains("An invalid response was received from the upstream server."));
    for (accept, got) in [
        ("application/json", "application/json; charset=utf-8"),
        ("text/plain;q=0.3, text/xml", "application/xml; charset=utf-8"),
    ] {
        let answer = http::get(gateway.endpoint(), "/", &[("Accept", accept)]);
        assert_eq!((answer.status, answer.header("content-type")), (502, Some(got)));
    }
    let head = http::exchange(&mut *gateway.endpoint().connect(), "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.status, head.body.as_str()), (502, ""));
}

#[test]
fn a_silent_service_is_504() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = json!({"port": silent.local_addr().unwrap().port(), "read_timeout": 200, "retries": 1});
    let gateway = Gateway::start(dataset(&[service], &[json!({"paths": ["/"], "service": 0})]));
    let began = Instant::now();
    let answer = http::get(gateway.endpoint(), "/", &[]);
    assert_eq!((answer.status, answer.body.lines().next()), (504, Some("The upstream server is timing out")));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(began.elapsed() >= Duration::from_millis(400), "GET is tried again");
    let began = Instant::now();
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(http::exchange(&mut *gateway.endpoint().connect(), post).status, 504);
    assert!(began.elapsed() < Duration::from_millis(390), "POST is not");
}

#[test]
fn garbage_from_a_service_is_502() {
    let garbage = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = json!({"port": garbage.local_addr().unwrap().port(), "retries": 0});
    std::thread::spawn(move || {
        for mut stream in garbage.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.2\r\n\r\n");
        }
    });
    let gateway = Gateway::start(dataset(&[service], &[json!({"paths": ["/"], "service": 0})]));
    assert_eq!(http::get(gateway.endpoint(), "/", &[("Accept", "application/json")]).status, 502);
}

#[test]
fn a_refused_attempt_is_followed_by_another_target() {
    let echo = Echo::start();
    let mut dataset = dataset(&[json!({"host": "backends"})], &[json!({"paths": ["/"], "service": 0})]);
    let upstream = "00000000-0000-4000-8000-000000000009";
    put(&mut dataset, Kind::Upstream, json!({"id": upstream, "name": "backends"}));
    for port in [closed_port(), echo.port] {
        let target = json!({"upstream": {"id": upstream}, "target": format!("127.0.0.1:{port}")});
        put(&mut dataset, Kind::Target, target);
    }
    let gateway = Gateway::start(dataset);
    let mut stream = gateway.endpoint().connect();
    for _ in 0..10 {
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(http::exchange(&mut *stream, post).status, 200);
        assert_eq!(echo.take().unwrap().body, "hi");
    }
}

#[test]
fn a_service_without_an_address_is_503_and_the_connection_stays() {
    let services = [json!({"host": "empty"}), json!({"host": "does-not-exist.invalid"})];
    let routes = [json!({"paths": ["/empty"], "service": 0}), json!({"paths": ["/unknown"], "service": 1})];
    let mut dataset = dataset(&services, &routes);
    put(&mut dataset, Kind::Upstream, json!({"name": "empty"}));
    let gateway = Gateway::start(dataset);
    let mut stream = gateway.endpoint().connect();
    for (path, said) in
        [("/empty", "failure to get a peer from the ring-balancer"), ("/unknown", "name resolution failed")]
    {
        let answer = http::exchange(&mut *stream, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!((answer.status, message(&answer).as_str()), (503, said));
        assert_eq!(answer.header("connection"), Some("keep-alive"));
    }
}
