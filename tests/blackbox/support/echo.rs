//! A service that answers every request with 200 and remembers the last one.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::http;

/// What reached the service.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub uri: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Seen {
    /// Every value of a header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }
}

/// The service; it ends with the test process.
#[derive(Clone)]
pub struct Echo {
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Echo {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let echo = Self { port: listener.local_addr().unwrap().port(), seen: Arc::default() };
        let there = echo.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let echo = there.clone();
                std::thread::spawn(move || echo.serve(stream));
            }
        });
        echo
    }

    /// Forgets what was seen.
    pub fn clear(&self) {
        self.seen.lock().unwrap().clear();
    }

    /// The last request, and forgets all.
    pub fn take(&self) -> Option<Seen> {
        self.seen.lock().unwrap().drain(..).next_back()
    }

    /// Everything seen since the last look.
    pub fn take_all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().drain(..).collect()
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut rest = Vec::new();
        loop {
            let (line, headers) = http::read_head(&mut stream, &mut rest)?;
            let expects = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("expect"));
            if expects {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
            }
            let body = http::read_body(&mut stream, &headers, &mut rest, false)?;
            let mut words = line.split(' ');
            let (method, uri) = (words.next()?.to_owned(), words.next()?.to_owned());
            let tail: &[u8] = if method == "HEAD" { b"" } else { b"ok\n" };
            let body = body.iter().map(|byte| char::from(*byte)).collect();
            self.seen.lock().unwrap().push(Seen { method, uri, headers, body });
            stream
                .write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Upstream: echo\r\nContent-Length: 3\r\n\r\n",
                )
                .ok()?;
            stream.write_all(tail).ok()?;
        }
    }
}
