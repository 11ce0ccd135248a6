//! A client that sends exactly what it is told, and reads what comes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

pub use super::answer::Answer;

/// Where to connect, and how.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    port: u16,
    tls: bool,
    /// The last byte of the loopback address that the client has.
    client: u8,
}

impl Endpoint {
    pub fn plain(port: u16) -> Self {
        Self { port, tls: false, client: 1 }
    }

    pub fn tls(port: u16) -> Self {
        Self { port, tls: true, client: 1 }
    }

    /// The same, seen from 127.0.0.`client`.
    pub fn from(self, client: u8) -> Self {
        Self { client, ..self }
    }

    /// A new connection.
    pub fn connect(self) -> Box<dyn Stream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, self.client], 0)).into()).unwrap();
        socket.connect(&SocketAddr::from(([127, 0, 0, 1], self.port)).into()).expect("the gateway listens");
        let tcp = TcpStream::from(socket);
        tcp.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        if !self.tls {
            return Box::new(tcp);
        }
        let config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate))
                .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        Box::new(rustls::StreamOwned::new(session, tcp))
    }
}

/// Both directions of a connection.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// Sends a recorded request on a new connection. With `rebound`, its `Content-Length` is computed anew.
pub fn send(endpoint: Endpoint, request: &Value, rebound: bool) -> Answer {
    let body = request["body"].as_str().unwrap_or("").as_bytes();
    let mut head = format!("{} {} HTTP/1.1\r\n", text(&request["method"]), text(&request["path"]));
    for pair in request["headers"].as_array().into_iter().flatten() {
        let (name, value) = (text(&pair[0]), text(&pair[1]));
        match name.eq_ignore_ascii_case("content-length") && rebound {
            true => head += &format!("{name}: {}\r\n", body.len()),
            false => head += &format!("{name}: {value}\r\n"),
        }
    }
    head += "\r\n";
    // Recorded heads are Latin-1.
    let mut bytes: Vec<u8> = head.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
    bytes.extend_from_slice(body);
    let mut stream = endpoint.connect();
    let _refused_early = stream.write_all(&bytes);
    let _flushed = stream.flush();
    read_answer(&mut *stream, &mut Vec::new(), request["method"] == "HEAD")
}

/// Sends text as it is on a connection and reads one answer.
pub fn exchange(stream: &mut dyn Stream, request: &str) -> Answer {
    let _refused_early = stream.write_all(request.as_bytes());
    let _flushed = stream.flush();
    read_answer(stream, &mut Vec::new(), request.starts_with("HEAD "))
}

/// `GET path` with headers, on a new connection.
pub fn get(endpoint: Endpoint, path: &str, headers: &[(&str, &str)]) -> Answer {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    exchange(&mut *endpoint.connect(), &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"))
}

/// Reads one answer; informational ones are skipped.
pub fn read_answer<S: Read + ?Sized>(stream: &mut S, rest: &mut Vec<u8>, head_only: bool) -> Answer {
    loop {
        let Some((line, headers)) = read_head(stream, rest) else { return Answer::default() };
        let status: u16 = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let empty = head_only || matches!(status, 101 | 204 | 304);
        let body = if empty { Some(Vec::new()) } else { read_body(stream, &headers, rest, true) };
        let Some(body) = body else { return Answer { headers, ..Answer::default() } };
        return Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() };
    }
}

/// The first line and the headers; what follows stays in `rest`.
pub fn read_head<S: Read + ?Sized>(stream: &mut S, rest: &mut Vec<u8>) -> Option<(String, Vec<(String, String)>)> {
    let end = loop {
        if let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        more(stream, rest)?;
    };
    let head: String = rest.drain(..end + 4).map(char::from).collect();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next()?.to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Some((line, headers))
}

/// The body that the headers announce; `None` when it breaks off.
pub fn read_body<S: Read + ?Sized>(
    stream: &mut S,
    headers: &[(String, String)],
    rest: &mut Vec<u8>,
    until_close: bool,
) -> Option<Vec<u8>> {
    let find = |name: &str| headers.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_lowercase());
    if find("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        return read_chunks(stream, rest);
    }
    let want = find("content-length").and_then(|value| value.parse().ok()).or((!until_close).then_some(0));
    let Some(want) = want else {
        while more(stream, rest).is_some() {}
        return Some(std::mem::take(rest));
    };
    while rest.len() < want {
        more(stream, rest)?;
    }
    Some(rest.drain(..want).collect())
}

fn read_chunks<S: Read + ?Sized>(stream: &mut S, rest: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
                break end;
            }
            more(stream, rest)?;
        };
        let line: Vec<u8> = rest.drain(..end + 2).collect();
        let size = String::from_utf8_lossy(&line);
        let size = usize::from_str_radix(size.trim().split(';').next().unwrap_or("0"), 16).unwrap_or(0);
        while rest.len() < size + 2 {
            more(stream, rest)?;
        }
        body.extend(rest.drain(..size));
        rest.drain(..2);
        if size == 0 {
            return Some(body);
        }
    }
}

fn more<S: Read + ?Sized>(stream: &mut S, rest: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer) {
        Ok(0) | Err(_) => None,
        Ok(n) => {
            rest.extend_from_slice(&buffer[..n]);
            Some(())
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Accepts every certificate: the gateway under test signs its own. Looking at it is the test's.
#[derive(Debug)]
pub struct AnyCertificate;

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
