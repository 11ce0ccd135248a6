//! What lasts longer than a request and an answer: WebSocket, HTTP/2, streamed responses.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{Request, Version};
use portcullis::gateway::testing::Setup;
use portcullis::gateway::{Options, Timeouts};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::support::echo::Echo;
use super::support::gateway::{Gateway, dataset, one_service};

#[test]
fn websockets_pass() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let port = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                    while let Some(Ok(message)) = socket.next().await {
                        if message.is_text() && socket.send(message).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        port
    });
    let timeouts = Timeouts { read: Duration::from_millis(300), ..Timeouts::default() };
    let options = Options { timeouts, ..Options::default() };
    let gateway = Gateway::with(one_service(port), Setup { options, ..Setup::default() });
    runtime.block_on(async {
        let url = format!("ws://127.0.0.1:{}/chat", gateway.port());
        let (mut socket, answer) = tokio_tungstenite::connect_async(url).await.unwrap();
        assert_eq!(answer.status(), 101);
        for text in ["one", "two"] {
            // A silent client is no slow one.
            tokio::time::sleep(Duration::from_millis(700)).await;
            socket.send(Message::text(text)).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
        }
        socket.close(None).await.unwrap();
        let end = tokio::time::timeout(Duration::from_secs(5), async { while socket.next().await.is_some() {} }).await;
        assert!(end.is_ok(), "the connection ends after the close");
    });
}

/// Sends one HTTP/2 request with prior knowledge; status, headers and body.
pub async fn http2(port: u16, request: Request<()>, body: Option<Bytes>) -> (http::response::Parts, Vec<u8>) {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let (answer, mut sender) = client.send_request(request, body.is_none()).unwrap();
    if let Some(body) = body {
        sender.send_data(body, true).unwrap();
    }
    let (parts, mut stream) = answer.await.unwrap().into_parts();
    let mut body = Vec::new();
    while let Some(part) = stream.data().await {
        let part = part.unwrap();
        let _ = stream.flow_control().release_capacity(part.len());
        body.extend_from_slice(&part);
    }
    (parts, body)
}

fn request(port: u16, path: &str) -> http::request::Builder {
    Request::builder().version(Version::HTTP_2).uri(format!("http://localhost:{port}{path}"))
}

#[test]
fn http2_clients_are_served() {
    let echo = Echo::start();
    let routes = [json!({"paths": ["/a"], "hosts": ["localhost"], "service": 0})];
    let gateway =
        Gateway::with(dataset(&[json!({"port": echo.port})], &routes), Setup { h2c: true, ..Setup::default() });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let port = gateway.port();
    let sent = request(port, "/a/b?c").header("cookie", "a=1").header("cookie", "b=2").body(()).unwrap();
    let (parts, body) = runtime.block_on(http2(port, sent, None));
    assert_eq!((parts.status.as_u16(), body.as_slice()), (200, &b"ok\n"[..]));
    assert_eq!(parts.headers["via"], concat!("1.1 portcullis/", env!("CARGO_PKG_VERSION")));
    let seen = echo.take().unwrap();
    assert_eq!(seen.uri, "/b?c");
    assert_eq!(seen.header("cookie"), ["a=1; b=2"]);
    assert_eq!(seen.header("host"), [format!("127.0.0.1:{}", echo.port)]);
    assert_eq!(seen.header("x-forwarded-host"), ["localhost"]);
    assert_eq!(seen.header("via"), [concat!("2 portcullis/", env!("CARGO_PKG_VERSION"))]);

    let sent = request(port, "/a").method("POST").body(()).unwrap();
    let (parts, _) = runtime.block_on(http2(port, sent, Some(Bytes::from(vec![b'x'; 100_000]))));
    assert_eq!(parts.status, 200);
    assert_eq!(echo.take().unwrap().body.len(), 100_000);

    let sent = request(port, "/other").method("POST").body(()).unwrap();
    let (parts, body) = runtime.block_on(http2(port, sent, Some(Bytes::from_static(b"small"))));
    assert_eq!(parts.status, 404);
    assert!(String::from_utf8(body).unwrap().contains("no Route matched"));
}

/// Contract 2.6: a client that speaks gRPC gets a status it can read.
#[test]
fn grpc_clients_get_a_grpc_status() {
    let gateway = Gateway::with(dataset(&[], &[]), Setup { h2c: true, ..Setup::default() });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sent =
        request(gateway.port(), "/x").method("POST").header("content-type", "application/grpc").body(()).unwrap();
    let (parts, body) = runtime.block_on(http2(gateway.port(), sent, Some(Bytes::from_static(&[0; 5]))));
    assert_eq!((parts.status.as_u16(), body.len()), (404, 0));
    assert_eq!(parts.headers["grpc-status"], "5");
    assert_eq!(parts.headers["grpc-message"], "no Route matched with those values");
    assert_eq!(parts.headers["content-type"], "application/grpc");
}

/// A response is passed on as it comes, not when it is complete.
#[test]
fn responses_are_streamed() {
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = service.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = service.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").unwrap();
        std::thread::sleep(Duration::from_secs(2));
        stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").unwrap();
        std::thread::sleep(Duration::from_secs(1));
    });
    let gateway = Gateway::start(one_service(port));
    let mut client = gateway.endpoint().connect();
    let began = Instant::now();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let (mut all, mut part) = (Vec::new(), [0; 4096]);
    while !all.windows(5).any(|window| window == b"first") {
        let read = client.read(&mut part).unwrap();
        assert!(read > 0);
        all.extend_from_slice(&part[..read]);
    }
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    while !all.windows(4).any(|window| window == b"last") {
        let read = client.read(&mut part).unwrap();
        assert!(read > 0);
        all.extend_from_slice(&part[..read]);
    }
}

/// gRPC: HTTP/2 on both sides, `te` and the service's trailers pass.
#[test]
fn grpc_passes_with_its_trailers() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let port = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, mut respond))) = connection.accept().await {
                        let te = request.headers().get("te").cloned();
                        let answer = http::Response::builder()
                            .header("content-type", "application/grpc")
                            .header("seen-te", te.unwrap_or(http::HeaderValue::from_static("")))
                            .header("seen-path", request.uri().path())
                            .body(())
                            .unwrap();
                        let mut sender = respond.send_response(answer, false).unwrap();
                        sender.send_data(Bytes::from_static(b"\0\0\0\0\x01x"), false).unwrap();
                        let mut trailers = http::HeaderMap::new();
                        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
                        sender.send_trailers(trailers).unwrap();
                    }
                });
            }
        });
        port
    });
    let service = json!({"port": port, "protocol": "grpc"});
    let route = json!({"paths": ["/"], "protocols": ["grpc"], "strip_path": false, "service": 0});
    let gateway = Gateway::with(dataset(&[service], &[route]), Setup { h2c: true, ..Setup::default() });
    runtime.block_on(async {
        let stream = TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let call = request(gateway.port(), "/pkg.Svc/Do")
            .method("POST")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let (answer, mut sender) = client.send_request(call, false).unwrap();
        sender.send_data(Bytes::from_static(b"\0\0\0\0\0"), true).unwrap();
        let (parts, mut body) = answer.await.unwrap().into_parts();
        assert_eq!(parts.status, 200);
        assert_eq!(parts.headers["seen-te"], "trailers");
        assert_eq!(parts.headers["seen-path"], "/pkg.Svc/Do");
        assert_eq!(parts.headers["via"], concat!("2 portcullis/", env!("CARGO_PKG_VERSION")));
        while let Some(part) = body.data().await {
            let part = part.unwrap();
            let _ = body.flow_control().release_capacity(part.len());
        }
        let trailers = body.trailers().await.unwrap().expect("trailers");
        assert_eq!(trailers["grpc-status"], "0");
    });
}
