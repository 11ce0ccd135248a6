//! No log line holds a token, at any level, whatever the request or the response is like (SECURITY 1c).

use std::io::{Read, Write};
use std::net::TcpListener;

use rustix::process::Signal;

use crate::support::{Gateway, Place, configuration, connect, eventually, get, read};

/// What must never be in a log.
const SECRET: &str = "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0LXBheWxvYWQ.c2VjcmV0LXNpZ25hdHVyZQ";

/// Requests that are broken in as many ways, each with a secret where a token may be.
fn broken() -> Vec<Vec<u8>> {
    let bearer = format!("Authorization: Bearer {SECRET}\r\n");
    [
        format!("GET /echo HTTP/1.1\r\nHost: a\r\n{bearer}no colon\r\n\r\n"),
        format!("GET /echo HTTP/1.1\r\nHost: a\r\n{bearer}Space : a\r\n\r\n"),
        format!("GET /echo HTTP/1.1\r\nHost: a\r\n{bearer}X: a\0b\r\n\r\n"),
        format!("GET /echo HTTP/1.1\r\nHost: a\r\n{bearer}X: a\r\n folded\r\n\r\n"),
        format!("GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n{bearer}\r\n"),
        format!("GET /echo HTTP/9.9\r\nHost: a\r\n{bearer}\r\n"),
        format!("GET /echo?jwt={SECRET} HTTP/1.1\r\n\r\n"),
        format!("GET /echo?jwt={SECRET}\r\n"),
        format!("GET http://b/echo?jwt={SECRET} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET /%00?jwt={SECRET} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("{SECRET} /echo HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\r\n"),
        format!("POST /echo HTTP/1.1\r\nHost: a\r\n{bearer}Transfer-Encoding: chunked\r\n\r\nzz\r\n{SECRET}\r\n"),
        format!("POST /echo HTTP/1.1\r\nHost: a\r\n{bearer}Transfer-Encoding: gzip\r\n\r\n"),
        format!("POST /echo HTTP/1.1\r\nHost: a\r\n{bearer}Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        format!("GET /nothing?jwt={SECRET} HTTP/1.1\r\nHost: a\r\nCookie: token={SECRET}\r\n\r\n"),
        format!("GET /broken/head?jwt={SECRET} HTTP/1.1\r\nHost: a\r\n{bearer}\r\n"),
        format!("GET /broken/body?jwt={SECRET} HTTP/1.1\r\nHost: a\r\n{bearer}\r\n"),
        format!("GET /broken/none?jwt={SECRET} HTTP/1.1\r\nHost: a\r\n{bearer}\r\n"),
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect()
}

/// A service whose answers are broken, and hold a secret.
fn broken_service() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let answer = match head.split(' ').nth(1).unwrap_or("") {
                path if path.starts_with("/head") => {
                    format!("HTTP/1.1 200 OK\r\nSet-Cookie: token={SECRET}\r\nno colon\r\n\r\n")
                }
                path if path.starts_with("/body") => {
                    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: {SECRET}\r\n\r\nzz\r\n{SECRET}\r\n")
                }
                _ => String::new(),
            };
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

/// Sends bytes and reads until the connection ends or falls silent.
fn send(gateway: &Gateway, bytes: &[u8]) {
    let mut stream = connect(gateway.proxy());
    stream.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    stream.write_all(bytes).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn no_level_of_the_log_shows_what_a_broken_request_or_response_holds() {
    for level in ["debug", "info", "notice"] {
        let place = Place::new(&[("LOG_LEVEL", level), ("PROXY_LISTEN", "127.0.0.1:0 http2")]);
        let broken_port = broken_service();
        place.configure(&format!(
            "{}- name: broken\n  url: http://127.0.0.1:{broken_port}\n  retries: 1\n  routes:\n  - name: broken\n    paths: [/broken]\n",
            configuration("one", place.service)
        ));
        let gateway = place.start();
        for request in broken() {
            send(&gateway, &request);
            let cut = request.len() - 10;
            send(&gateway, &request[..cut]);
        }
        assert_eq!(get(gateway.proxy(), "/marker").0, 200);
        // The control: the log is written, and at this level.
        gateway.signal(Signal::HUP);
        eventually("the reload is in the log", || gateway.log().contains("configuration reloaded"));
        eventually("the access log has the last request", || read(&place.path("access.log")).contains("/marker"));
        for (name, text) in [("error.log", gateway.log()), ("access.log", read(&place.path("access.log")))] {
            for part in SECRET.split('.') {
                let line = text.lines().find(|line| line.contains(part));
                assert_eq!(line, None, "{name} at {level}");
            }
        }
    }
}
