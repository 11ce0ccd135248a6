//! TLS, HTTP/2 and unix sockets on the listeners.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::http::AnyCertificate;
use crate::support::{Place, configuration, connect, eventually, read_answer};

type Tls = StreamOwned<ClientConnection, std::net::TcpStream>;

/// A handshake for a server name; `alpn` is what is offered.
fn handshake(
    to: std::net::SocketAddr,
    name: &str,
    alpn: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<Tls> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(client, connect(to));
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}

fn certificate(stream: &Tls) -> Vec<u8> {
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

fn pem(name: &str) -> (String, String, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem(), made.cert.der().to_vec())
}

#[test]
fn certificates_follow_the_name_and_the_configuration_without_dropping_connections() {
    let (cert, key, fallback) = pem("default");
    let place = Place::new(&[
        ("PROXY_LISTEN", "127.0.0.1:0 ssl http2"),
        ("SSL_CERT", "default.pem"),
        ("SSL_CERT_KEY", "default.key"),
    ]);
    std::fs::write(place.path("default.pem"), cert).unwrap();
    std::fs::write(place.path("default.key"), key).unwrap();
    let with = |name: &str| {
        let (cert, key, der) = pem(name);
        let indent = |text: &str| text.trim().replace('\n', "\n    ");
        let text = format!(
            "{}certificates:\n- cert: |\n    {}\n  key: |\n    {}\n  snis: [{{name: a.test}}, {{name: \"*.b.test\"}}]\n",
            configuration("one", place.service),
            indent(&cert),
            indent(&key)
        );
        place.configure(&text);
        der
    };
    let first = with("first");
    let gateway = place.start();
    let versions = rustls::ALL_VERSIONS;
    let shown = |name: &str| certificate(&handshake(gateway.proxy(), name, &[], versions).unwrap());
    assert_eq!(shown("a.test"), first);
    assert_eq!(shown("x.b.test"), first);
    assert_eq!(shown("other.test"), fallback);

    let mut kept = handshake(gateway.proxy(), "a.test", &[], versions).unwrap();
    let second = with("second");
    let (cert, key, fallback) = pem("newer");
    std::fs::write(place.path("default.pem"), cert).unwrap();
    std::fs::write(place.path("default.key"), key).unwrap();
    gateway.signal(rustix::process::Signal::HUP);
    eventually("the new certificate is shown", || shown("a.test") == second);
    assert_eq!(shown("other.test"), fallback);
    write!(kept, "GET /echo HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    let answer = read_answer(&mut BufReader::new(&mut kept)).unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.body.to_ascii_lowercase().contains("x-forwarded-proto: https"), "{}", answer.body);
}

#[test]
fn alpn_and_versions_are_those_of_the_settings() {
    let place = Place::new(&[("PROXY_LISTEN", "127.0.0.1:0 ssl http2, 127.0.0.1:0 ssl"), ("SSL_PROTOCOLS", "TLSv1.3")]);
    let gateway = place.start();
    let offered: &[&str] = &["h2", "http/1.1"];
    let versions = rustls::ALL_VERSIONS;
    let chosen = |listener: usize| {
        let stream = handshake(gateway.proxies[listener], "a.test", offered, versions).unwrap();
        String::from_utf8(stream.conn.alpn_protocol().unwrap().to_vec()).unwrap()
    };
    assert_eq!(chosen(0), "h2");
    assert_eq!(chosen(1), "http/1.1");
    assert!(handshake(gateway.proxies[1], "a.test", &[], &[&rustls::version::TLS12]).is_err());
    eventually("it is counted", || gateway.metric("portcullis_shed_total{cause=\"tls_handshake\"} ") == Some(1.0));
}

#[test]
fn a_handshake_that_does_not_come_is_cut() {
    let place = Place::new(&[("PROXY_LISTEN", "127.0.0.1:0 ssl"), ("TLS_HANDSHAKE_TIMEOUT", "500ms")]);
    let gateway = place.start();
    let mut silent = connect(gateway.proxy());
    assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0);
    eventually("it is counted", || {
        gateway.metric("portcullis_shed_total{cause=\"tls_handshake_timeout\"} ") == Some(1.0)
    });
}

#[test]
fn a_plain_listener_with_http2_speaks_both() {
    let place = Place::new(&[("PROXY_LISTEN", "127.0.0.1:0 http2")]);
    let gateway = place.start();
    assert!(gateway.marker().contains("one"), "HTTP/1.1");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let status = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(gateway.proxy()).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("http://a/echo").body(()).unwrap();
        client.send_request(request, true).unwrap().0.await.unwrap().status()
    });
    assert_eq!(status, 200);
    let mut slow = connect(gateway.proxy());
    slow.write_all(b"PRI * HT").unwrap();
    slow.write_all(b"X\r\n\r\n").unwrap();
    assert_ne!(slow.read(&mut [0; 512]).unwrap_or(0), 512, "neither protocol: refused, not a crash");
}

#[test]
fn a_unix_socket_serves_and_goes_with_the_process() {
    let place = Place::new(&[("PROXY_LISTEN", "unix:proxy.sock, 127.0.0.1:0")]);
    let mut gateway = place.start();
    let mut stream = UnixStream::connect(place.path("proxy.sock")).unwrap();
    write!(stream, "GET /marker HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    assert!(read_answer(&mut BufReader::new(stream)).unwrap().body.contains("one"));
    gateway.signal(rustix::process::Signal::TERM);
    assert!(gateway.ended().success());
    assert!(!place.path("proxy.sock").exists());
}
