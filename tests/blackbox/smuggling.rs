//! Requests that could be read in two ways (SECURITY 1c; the probes of Pingora's own behaviour).

use std::io::{Read, Write};

use super::support::echo::Echo;
use super::support::gateway::{Gateway, one_service};
use super::support::http;

/// Sends bytes, and returns all that comes until the connection is closed or falls silent.
fn raw(gateway: &Gateway, request: &[u8]) -> String {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", gateway.port())).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_millis(700))).unwrap();
    stream.write_all(request).unwrap();
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut part) {
        all.extend_from_slice(&part[..read]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

#[test]
fn ambiguous_framing_is_refused_and_ends_the_connection() {
    let echo = Echo::start();
    let gateway = Gateway::start(one_service(echo.port));
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for head in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: chunked\r\ncontent-LENGTH: 6\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 3, 3\r\n",
        "Content-Length: +3\r\n",
        "Content-Length: 0x3\r\n",
        "Content-Length: -3\r\n",
        "Content-Length : 3\r\n",
        "X: a\r\n folded\r\n",
        "Host: b\r\n",
        "Authorization: a\r\nAuthorization: b\r\n",
    ] {
        let answer = raw(&gateway, format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n{smuggled}").as_bytes());
        assert_eq!(status(&answer), 400, "{head}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{head}: {answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{head}: {answer}");
        assert!(echo.take_all().is_empty(), "{head}");
    }
    let good = raw(&gateway, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(status(&good), 200, "control: {good}");
}

/// Header lines that one reader takes for a field and another does not.
#[test]
fn malformed_header_lines_are_refused_and_end_the_connection() {
    let echo = Echo::start();
    let gateway = Gateway::start(one_service(echo.port));
    for line in [
        "X-Consumer-Id : 1",
        "X-Consumer-Id\t: 1",
        " X-Folded: 1",
        "no colon",
        ": no name",
        "X: a\0b",
        "X: a\rX-Consumer-Id: 1",
        "X\0: a",
        "X Y: a",
        "X(Y): a",
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = raw(&gateway, request.as_bytes());
        assert_eq!((status(&answer), answer.matches("HTTP/1.1 ").count()), (400, 1), "{line:?}: {answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{line:?}: {answer}");
        assert!(echo.take_all().is_empty(), "{line:?}");
    }
    for line in ["X: a", "X:a", "X:\ta ", "X: \u{e9}", "X_Y: a", "X:"] {
        let answer = raw(&gateway, format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n").as_bytes());
        assert_eq!(status(&answer), 200, "control, {line:?}: {answer}");
    }
}

/// Request lines of no version, of another one, and framing that HTTP/1.0 does not have.
#[test]
fn request_lines_must_be_those_of_http_1() {
    let echo = Echo::start();
    let gateway = Gateway::start(one_service(echo.port));
    for request in [
        "GET /\r\n\r\n",
        "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 x\r\nHost: a\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\r\n\r\n",
    ] {
        let answer = raw(&gateway, request.as_bytes());
        assert!(matches!(status(&answer), 400 | 0), "{request:?}: {answer}");
        assert!(echo.take_all().is_empty(), "{request:?}");
    }
    assert_eq!(status(&raw(&gateway, b"GET / HTTP/1.1\nHost: a\n\n")), 200, "nginx takes line feeds alone as well");
}

#[test]
fn authorities_must_agree() {
    let echo = Echo::start();
    let gateway = Gateway::start(one_service(echo.port));
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let answer = raw(&gateway, request.as_bytes());
        assert_eq!(status(&answer), 400, "{request}: {answer}");
    }
    assert_eq!(status(&raw(&gateway, b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n")), 405);
    assert!(echo.take_all().is_empty());
    assert_eq!(status(&raw(&gateway, b"GET / HTTP/1.0\r\n\r\n")), 200, "case R04");
    assert_eq!(status(&raw(&gateway, b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n")), 200, "control");
}

/// CVE-2026-2833: what follows a request for an upgrade that is not granted is another request, not a tunnel.
#[test]
fn an_upgrade_that_is_not_granted_opens_no_tunnel() {
    let echo = Echo::start();
    let gateway = Gateway::start(one_service(echo.port));
    for upgrade in ["foo", "websocket", "h2c"] {
        let request = format!(
            "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n\
             GET /2 HTTP/1.1\r\nHost: a\r\nX-Consumer-Id: evil\r\n\r\n"
        );
        let answer = raw(&gateway, request.as_bytes());
        assert_eq!(status(&answer), 200, "{answer}");
        for seen in echo.take_all() {
            assert!(seen.header("x-consumer-id").is_empty() && !seen.header("x-forwarded-for").is_empty(), "{seen:?}");
        }
    }
}

/// CVE-2025-4366: the body of a refused request is not the next request.
#[test]
fn a_refused_body_is_not_a_request() {
    let echo = Echo::start();
    let gateway = Gateway::start(one_service(echo.port));
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let request = format!("POST /%00 HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{smuggled}", smuggled.len());
    let answer = raw(&gateway, request.as_bytes());
    assert_eq!((status(&answer), answer.matches("HTTP/1.1 ").count()), (400, 1), "{answer}");
    assert!(echo.take_all().is_empty());
    assert_eq!(http::get(gateway.endpoint(), "/", &[]).status, 200, "control");
}
