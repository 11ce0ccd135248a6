//! What becomes of clients' connections.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use portcullis::gateway::testing::Setup;
use portcullis::gateway::{Limits, Options, Timeouts};

use super::support::echo::Echo;
use super::support::gateway::{Gateway, dataset, one_service};
use super::support::http;

fn limited(limits: Limits, timeouts: Timeouts) -> Setup {
    Setup { options: Options { limits, timeouts, ..Options::default() }, ..Setup::default() }
}

#[test]
fn a_refused_client_keeps_its_connection() {
    let gateway = Gateway::start(dataset(&[], &[]));
    let mut stream = gateway.endpoint().connect();
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let answer = http::exchange(&mut *stream, request);
        assert_eq!((answer.status, answer.header("connection")), (404, Some("keep-alive")), "{request}");
    }
}

#[test]
fn a_large_unread_body_closes_the_connection_after_the_answer() {
    let gateway = Gateway::start(dataset(&[], &[]));
    let body = "x".repeat(300_000);
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let answer = http::exchange(&mut *gateway.endpoint().connect(), &request);
    assert_eq!((answer.status, answer.header("connection")), (404, Some("close")));
    let waiting = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let began = Instant::now();
    let answer = http::exchange(&mut *gateway.endpoint().connect(), waiting);
    assert_eq!((answer.status, answer.header("connection")), (404, Some("close")));
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let echo = Echo::start();
    let gateway = Gateway::start(one_service(echo.port));
    let mut stream = gateway.endpoint().connect();
    stream
        .write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut rest = Vec::new();
    for _ in 0..2 {
        assert_eq!(http::read_answer(&mut *stream, &mut rest, false).status, 200);
    }
    let seen: Vec<String> = echo.take_all().into_iter().map(|seen| seen.uri).collect();
    assert_eq!(seen, ["/1", "/2"]);
}

#[test]
fn an_idle_connection_is_closed() {
    let echo = Echo::start();
    let timeouts = Timeouts { keepalive: Duration::from_secs(1), ..Timeouts::default() };
    let gateway = Gateway::with(one_service(echo.port), limited(Limits::default(), timeouts));
    let mut stream = gateway.endpoint().connect();
    assert_eq!(http::exchange(&mut *stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    let began = Instant::now();
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0);
    assert!((Duration::from_millis(800)..Duration::from_secs(5)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

#[test]
fn sizes_are_limited() {
    let echo = Echo::start();
    let limits = Limits { header_count: 250, body_bytes: Some(10), ..Limits::default() };
    let gateway = Gateway::with(one_service(echo.port), limited(limits, Timeouts::default()));
    let many: Vec<(String, &str)> = (0..260).map(|n| (format!("X-{n}"), "y")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(http::get(gateway.endpoint(), "/", &many[..200]).status, 200);
    assert_eq!(echo.take().unwrap().header("x-199"), ["y"], "control");
    let answer = http::get(gateway.endpoint(), "/", &many[..254]);
    assert_eq!((answer.status, answer.header("connection")), (400, Some("close")));
    assert!(answer.body.starts_with("Request header or cookie too large"));
    let answer = http::get(gateway.endpoint(), "/", &many);
    assert_eq!(answer.status, 400, "Pingora's own limit");
    let large = "y".repeat(70_000);
    assert_eq!(http::get(gateway.endpoint(), "/", &[("X-Large", &large)]).status, 400);
    let answer = http::get(gateway.endpoint(), &format!("/{}", "y".repeat(40_000)), &[]);
    assert_eq!((answer.status, answer.body.lines().next()), (414, Some("URI too long")));
    let post = |body: &str| {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        http::exchange(&mut *gateway.endpoint().connect(), &request).status
    };
    assert_eq!((post("0123456789"), post("0123456789a")), (200, 413));
    echo.clear();
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n";
    assert_eq!(http::exchange(&mut *gateway.endpoint().connect(), chunked).status, 413);
}

#[test]
fn a_trickled_body_is_cut_off() {
    let echo = Echo::start();
    let limits = Limits { body_min_rate: 1000, ..Limits::default() };
    let timeouts = Timeouts { body_grace: Duration::from_millis(300), ..Timeouts::default() };
    let gateway = Gateway::with(one_service(echo.port), limited(limits, timeouts));
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port())).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n").unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) && stream.write_all(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(100));
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let mut answer = [0; 64];
        if let Ok(read) = stream.read(&mut answer) {
            assert!(answer[..read].starts_with(b"HTTP/1.1 408"), "{:?}", String::from_utf8_lossy(&answer[..read]));
            return;
        }
    }
    panic!("still served after {:?}", began.elapsed());
}
