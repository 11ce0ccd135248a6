//! The service behind a proxy: it answers every request alike, at once.

use std::collections::HashMap;
use std::io::{self, Read};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use super::{ROOM, later, write};

/// With the fields that a server sends.
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: service\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n\
    Content-Length: 3\r\nConnection: keep-alive\r\n\r\nok\n";

pub struct Service {
    listener: TcpListener,
    /// Its own token; the connections have those after it.
    token: usize,
    next: usize,
    connections: HashMap<usize, Connection>,
}

struct Connection {
    stream: TcpStream,
    /// What has come of requests that are not whole.
    text: Vec<u8>,
}

impl Service {
    pub fn new(registry: &Registry, token: usize) -> io::Result<Self> {
        let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into())?;
        registry.register(&mut listener, Token(token), Interest::READABLE)?;
        Ok(Self { listener, token, next: token + 1, connections: HashMap::new() })
    }

    pub fn port(&self) -> io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// One of its sockets can be read.
    pub fn ready(&mut self, at: usize, registry: &Registry) -> io::Result<()> {
        if at == self.token {
            return self.accept(registry);
        }
        if self.connections.get_mut(&at).is_some_and(|connection| !connection.answer()) {
            self.connections.remove(&at);
        }
        Ok(())
    }

    fn accept(&mut self, registry: &Registry) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if later(&error) => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            registry.register(&mut stream, Token(self.next), Interest::READABLE)?;
            self.connections.insert(self.next, Connection { stream, text: Vec::new() });
            self.next += 1;
        }
    }
}

impl Connection {
    /// Answers what has come; whether the connection stays. Requests have no body.
    fn answer(&mut self) -> bool {
        let mut room = [0; ROOM];
        loop {
            let read = match self.stream.read(&mut room) {
                Ok(0) => return false,
                Ok(read) => read,
                Err(error) if later(&error) => return true,
                Err(_) => return false,
            };
            self.text.extend_from_slice(&room[..read]);
            while let Some(end) = memchr::memmem::find(&self.text, b"\r\n\r\n") {
                self.text.drain(..end + 4);
                if write(&mut self.stream, ANSWER).is_err() {
                    return false;
                }
            }
            if read < ROOM {
                return true;
            }
        }
    }
}
