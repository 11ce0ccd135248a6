//! What the service and the client get of each other.

use std::io::Write;
use std::net::TcpListener;

use portcullis::gateway::testing::Setup;
use portcullis::gateway::{Options, ResponseTokens};
use serde_json::json;

use super::support::echo::Echo;
use super::support::gateway::{Gateway, dataset, one_service};
use super::support::http;

/// Golden case `xff_incoming`.
#[test]
fn forwarded_headers_are_ours() {
    let echo = Echo::start();
    let gateway =
        Gateway::start(dataset(&[json!({"port": echo.port})], &[json!({"paths": ["/default"], "service": 0})]));
    let answer = http::get(
        gateway.endpoint(),
        "/default/x?a=b",
        &[("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Host", "evil"), ("X-Real-IP", "9.9.9.9"), ("Via", "1.1 dev")],
    );
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    let seen = echo.take().unwrap();
    assert_eq!(seen.uri, "/x?a=b");
    for (name, value) in [
        ("host", format!("127.0.0.1:{}", echo.port)),
        ("x-forwarded-for", "1.2.3.4, 127.0.0.1".into()),
        ("x-real-ip", "127.0.0.1".into()),
        ("x-forwarded-proto", "http".into()),
        ("x-forwarded-host", "localhost".into()),
        ("x-forwarded-port", gateway.port().to_string()),
        ("x-forwarded-path", "/default/x".into()),
        ("x-forwarded-prefix", "/default".into()),
        ("via", format!("1.1 dev, 1.1 portcullis/{}", env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(seen.header(name), [value], "{name}");
    }
    let id = seen.header("x-kong-request-id");
    assert_eq!(answer.header("x-kong-request-id"), Some(id[0]));
    assert_eq!(answer.header("server"), Some(concat!("portcullis/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(answer.header("via"), Some(concat!("1.1 portcullis/", env!("CARGO_PKG_VERSION"))));
    assert!(answer.header("x-kong-upstream-latency").is_some() && answer.header("x-kong-proxy-latency").is_some());
    assert!(answer.header("x-kong-response-latency").is_none());
}

/// Golden case `hop_by_hop`; SECURITY: `Connection` cannot take away what we set.
#[test]
fn hop_by_hop_headers_do_not_pass() {
    let echo = Echo::start();
    let gateway = Gateway::start(one_service(echo.port));
    let sent = [
        ("Connection", "keep-alive, X-Foo, X-Real-IP"),
        ("X-Foo", "1"),
        ("Keep-Alive", "5"),
        ("TE", "trailers"),
        ("Proxy", "http://evil"),
        ("Proxy-Connection", "x"),
        ("Proxy-Authorization", "x"),
        ("Upgrade", "foo"),
    ];
    assert_eq!(http::get(gateway.endpoint(), "/", &sent).status, 200);
    let seen = echo.take().unwrap();
    for gone in ["x-foo", "keep-alive", "proxy", "proxy-connection", "upgrade"] {
        assert!(seen.header(gone).is_empty(), "{gone}");
    }
    assert_eq!(seen.header("te"), ["trailers"]);
    assert_eq!(seen.header("proxy-authorization"), ["x"]);
    assert_eq!(seen.header("x-real-ip"), ["127.0.0.1"]);
}

/// RFC 9110 2.5: a service that speaks HTTP/1.0 does not make us speak it.
#[test]
fn the_status_line_is_ours() {
    for head in ["Content-Length: 3\r\n", ""] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let gateway = Gateway::start(one_service(listener.local_addr().unwrap().port()));
        let service = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            http::read_head(&mut stream, &mut Vec::new()).unwrap();
            stream.write_all(format!("HTTP/1.0 200 OK\r\n{head}\r\nok\n").as_bytes()).unwrap();
        });
        let mut stream = gateway.endpoint().connect();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut rest = Vec::new();
        let (first, headers) = http::read_head(&mut stream, &mut rest).unwrap();
        assert_eq!(first, "HTTP/1.1 200 OK", "{head:?}");
        assert_eq!(http::read_body(&mut stream, &headers, &mut rest, true).unwrap(), b"ok\n");
        service.join().unwrap();
    }
}

/// SECURITY 1c: in every spelling, on a route without any plugin.
#[test]
fn identity_headers_of_clients_end_here() {
    let echo = Echo::start();
    let gateway = Gateway::start(one_service(echo.port));
    let names = ["X-Consumer-ID", "x_consumer_username", "X-Credential-Identifier", "X_Anonymous-Consumer"];
    let sent: Vec<(&str, &str)> = names.iter().map(|name| (*name, "evil")).collect();
    assert_eq!(http::get(gateway.endpoint(), "/", &sent).status, 200);
    let seen = echo.take().unwrap();
    assert!(seen.headers.iter().all(|(_, value)| value != "evil"), "{:?}", seen.headers);
    assert_eq!(http::get(gateway.endpoint(), "/", &[("X-Other", "good")]).status, 200);
    assert_eq!(echo.take().unwrap().header("x-other"), ["good"], "control");
}

/// Case R28.
#[test]
fn the_host_is_preserved_where_the_route_says_so() {
    let echo = Echo::start();
    let service = json!({"port": echo.port});
    let gateway = Gateway::start(dataset(&[service], &[json!({"paths": ["/"], "preserve_host": true, "service": 0})]));
    let request = "GET / HTTP/1.1\r\nHost: Example.com:123\r\n\r\n";
    assert_eq!(http::exchange(&mut *gateway.endpoint().connect(), request).status, 200);
    let seen = echo.take().unwrap();
    assert_eq!(seen.header("host"), ["Example.com:123"]);
    assert_eq!(seen.header("x-forwarded-host"), ["example.com"]);
}

/// The routed path is the one the service gets (golden case `path_encoded`; SECURITY 0.7).
#[test]
fn paths_are_normalised_once_for_routing_and_service() {
    let echo = Echo::start();
    let gateway = Gateway::start(dataset(
        &[json!({"port": echo.port, "path": "/base"})],
        &[json!({"paths": ["/default"], "service": 0}), json!({"paths": ["/open"], "strip_path": false, "service": 0})],
    ));
    for (sent, got) in [
        ("/default/a%2Fb%20c/../d", "/base/d"),
        ("/open/../default/x", "/base/x"),
        ("//default//x", "/base/x"),
        ("/open/h%65llo", "/base/open/hello"),
        ("/open/x?", "/base/open/x?"),
    ] {
        assert_eq!(http::get(gateway.endpoint(), sent, &[]).status, 200, "{sent}");
        assert_eq!(echo.take().unwrap().uri, got, "{sent}");
    }
    for ambiguous in ["/default/%00", "/default/..%5cx", "/../../x"] {
        let answer = http::get(gateway.endpoint(), ambiguous, &[]);
        assert_eq!(answer.status, 400, "{ambiguous}");
        assert!(echo.take().is_none(), "{ambiguous}");
    }
    let absolute = "GET http://localhost/default/x?q HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(http::exchange(&mut *gateway.endpoint().connect(), absolute).status, 200);
    assert_eq!(echo.take().unwrap().uri, "/base/x?q");
}

#[test]
fn bodies_arrive_intact() {
    let echo = Echo::start();
    let gateway = Gateway::start(one_service(echo.port));
    let body = "x".repeat(300_000);
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(http::exchange(&mut *gateway.endpoint().connect(), &request).status, 200);
    assert_eq!(echo.take().unwrap().body, body);
    let chunked =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
    assert_eq!(http::exchange(&mut *gateway.endpoint().connect(), chunked).status, 200);
    assert_eq!(echo.take().unwrap().body, "abcde");
    let expecting = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(http::exchange(&mut *gateway.endpoint().connect(), expecting).status, 200);
    let seen = echo.take().unwrap();
    assert_eq!((seen.body.as_str(), seen.header("expect").len()), ("hi", 0));
}

/// `preserve_header_case`: names have no case, and keep what they have only when asked to.
#[test]
fn the_case_of_names_is_kept_only_when_asked_for() {
    let echo = Echo::start();
    for preserve_header_case in [false, true] {
        let options = Options { preserve_header_case, ..Options::default() };
        let routed = dataset(&[json!({"port": echo.port})], &[json!({"paths": ["/default"], "service": 0})]);
        let gateway = Gateway::with(routed, Setup { options, ..Setup::default() });
        let answer = http::get(gateway.endpoint(), "/default", &[("X-SOAP-Action", "x"), ("x-lower", "y")]);
        let unmatched = http::get(gateway.endpoint(), "/", &[]);
        let seen = echo.take().unwrap();
        let there = |headers: &[(String, String)], name: &str| headers.iter().any(|(there, _)| there == name);
        for (headers, name) in [
            (&seen.headers, "X-SOAP-Action"),
            (&seen.headers, "X-Forwarded-For"),
            (&seen.headers, "X-Kong-Request-Id"),
            (&answer.headers, "X-Kong-Proxy-Latency"),
            (&answer.headers, "Via"),
            (&unmatched.headers, "X-Kong-Request-Id"),
        ] {
            let expected = if preserve_header_case { name.to_owned() } else { name.to_ascii_lowercase() };
            assert!(there(headers, &expected), "{expected}: {headers:?}");
        }
        assert!(there(&seen.headers, "x-lower"));
        assert_eq!((answer.status, unmatched.status), (200, 404));
    }
}

/// Case R48.
#[test]
fn our_headers_can_be_turned_off() {
    let echo = Echo::start();
    let options = Options { headers: ResponseTokens::OFF, request_id_upstream: false, ..Options::default() };
    let gateway = Gateway::with(one_service(echo.port), Setup { options, ..Setup::default() });
    let answer = http::get(gateway.endpoint(), "/", &[]);
    for name in ["server", "via", "x-kong-request-id", "x-kong-proxy-latency", "x-kong-upstream-latency"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert!(echo.take().unwrap().header("x-kong-request-id").is_empty());
}

/// Cases R39 and R42.
#[test]
fn trusted_peers_are_believed() {
    let echo = Echo::start();
    let mut options = Options { trusted_ips: vec!["127.0.0.0/8".parse().unwrap()], ..Options::default() };
    let https_only = json!({"paths": ["/secure"], "protocols": ["https"], "service": 0});
    let routes = [json!({"paths": ["/"], "service": 0}), https_only];
    options.port_maps = vec![(80, 1)];
    let gateway = Gateway::with(dataset(&[json!({"port": echo.port})], &routes), Setup { options, ..Setup::default() });
    let sent = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "outside"), ("X-Real-IP", "9.9.9.9")];
    assert_eq!(http::get(gateway.endpoint(), "/secure", &sent).status, 200);
    let seen = echo.take().unwrap();
    assert_eq!(seen.header("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.header("x-forwarded-host"), ["outside"]);
    assert_eq!(seen.header("x-real-ip"), ["9.9.9.9"]);
    assert_eq!(seen.header("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(http::get(gateway.endpoint(), "/secure", &[("X-Forwarded-Proto", "httpsa")]).status, 426);
}
