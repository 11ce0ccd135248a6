//! Clients of one proxy: kept connections, each with one request out at a time.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::{ROOM, later, write};

pub const CONNECTIONS: usize = 32;

pub struct Target {
    port: u16,
    status: [u8; 3],
    /// Behind each other; `ends` says where.
    requests: Vec<u8>,
    places: Vec<std::ops::Range<usize>>,
    /// Which request is next.
    at: usize,
    /// The first connection's token.
    token: usize,
    connections: Vec<Option<Connection>>,
    /// Requests of a run that are not sent, and those that are not answered.
    left: usize,
    due: usize,
    pace: Option<Pace>,
}

/// A run at a rate: each request has its time, and is timed from then on, whether or not a connection was free.
struct Pace {
    next: Instant,
    every: Duration,
    idle: VecDeque<usize>,
    took: Vec<Duration>,
}

struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
    due: bool,
    /// When its request was due, in a run at a rate.
    since: Instant,
}

/// How long an answer is whose head is there.
fn length(answer: &[u8]) -> Option<usize> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n")? + 4;
    let lines = answer[..end].split(|byte| *byte == b'\n');
    let field = lines
        .filter_map(|line| line.split_at_checked(15))
        .find(|(name, _)| name.eq_ignore_ascii_case(b"content-length:"));
    let body = field.and_then(|(_, value)| std::str::from_utf8(value).ok()?.trim().parse().ok());
    Some(end + body.unwrap_or(0))
}

impl Target {
    pub fn new(port: u16, status: &str, requests: Vec<u8>, token: usize) -> Result<Self, String> {
        let status = status.as_bytes().try_into().map_err(|_| "not a status")?;
        let (mut places, mut at) = (Vec::new(), 0);
        while let Some(length) = requests.get(at..at + 4) {
            let start = at + 4;
            at = start + u32::from_le_bytes(length.try_into().map_err(|_| "no length")?) as usize;
            places.push(start..at);
        }
        if places.is_empty() || at != requests.len() {
            return Err("no requests, or not whole".into());
        }
        let connections = (0..CONNECTIONS).map(|_| None).collect();
        Ok(Self { port, status, requests, places, at: 0, token, connections, left: 0, due: 0, pace: None })
    }

    pub fn close(&mut self) {
        self.connections.fill_with(|| None);
    }

    pub fn has(&self, token: usize) -> bool {
        (self.token..self.token + CONNECTIONS).contains(&token)
    }

    /// Sends the first of so many requests, or the first when they are due.
    pub fn start(&mut self, count: usize, every: Option<Duration>, registry: &Registry) -> Result<(), String> {
        (self.left, self.due) = (count, 0);
        for number in 0..CONNECTIONS {
            if self.connections[number].as_mut().is_none_or(Connection::is_closed) {
                self.connections[number] =
                    Some(Connection::new(self.port, self.token + number, registry).map_err(|error| error.to_string())?);
            }
        }
        self.pace =
            every.map(|every| Pace { next: Instant::now(), every, idle: (0..CONNECTIONS).collect(), took: Vec::new() });
        if self.pace.is_some() { Ok(()) } else { (0..CONNECTIONS).try_for_each(|number| self.send(number)) }
    }

    /// Sends what is due by now.
    pub fn tick(&mut self) -> Result<(), String> {
        while let Some(pace) = self.pace.as_mut().filter(|pace| self.left > 0 && Instant::now() >= pace.next) {
            let Some(number) = pace.idle.pop_front() else { break };
            let since = pace.next;
            pace.next += pace.every;
            if let Some(connection) = &mut self.connections[number] {
                connection.since = since;
            }
            self.send(number)?;
        }
        Ok(())
    }

    /// How long the answers of a run at a rate took, in nanoseconds, each behind a space.
    pub fn took(&mut self) -> String {
        let pace = self.pace.take();
        pace.iter().flat_map(|pace| &pace.took).map(|took| format!(" {}", took.as_nanos())).collect()
    }

    fn send(&mut self, number: usize) -> Result<(), String> {
        let (Some(connection), true) = (&mut self.connections[number], self.left > 0) else { return Ok(()) };
        let place = self.places[self.at].clone();
        self.at = (self.at + 1) % self.places.len();
        (self.left, self.due, connection.due) = (self.left - 1, self.due + 1, true);
        write(&mut connection.stream, &self.requests[place]).map_err(|error| error.to_string())
    }

    /// A connection can be read. `Some` when all is answered.
    pub fn ready(&mut self, token: usize) -> Result<Option<()>, String> {
        let number = token - self.token;
        let Some(connection) = &mut self.connections[number] else { return Ok(None) };
        let open = connection.read().map_err(|error| error.to_string())?;
        let answered =
            connection.due && length(&connection.answer).is_some_and(|length| connection.answer.len() >= length);
        if answered {
            if connection.answer.get(9..12) != Some(&self.status) {
                return Err(format!(
                    "{} in place of {}",
                    String::from_utf8_lossy(&connection.answer),
                    String::from_utf8_lossy(&self.status)
                ));
            }
            connection.answer.clear();
            connection.due = false;
            self.due -= 1;
            if let Some(pace) = &mut self.pace {
                pace.took.push(connection.since.elapsed());
                pace.idle.push_back(number);
            }
        }
        if !open {
            let due = connection.due;
            self.connections[number] = None;
            if due || self.left > 0 {
                return Err("a connection ended".into());
            }
        } else if answered && self.pace.is_none() {
            self.send(number)?;
        }
        Ok((self.left + self.due == 0).then_some(()))
    }
}

impl Connection {
    fn new(port: u16, token: usize, registry: &Registry) -> io::Result<Self> {
        // Waits until it is there.
        let stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, Token(token), Interest::READABLE)?;
        Ok(Self { stream, answer: Vec::new(), due: false, since: Instant::now() })
    }

    /// Takes what there is; whether the connection is still open.
    fn read(&mut self) -> io::Result<bool> {
        let mut room = [0; ROOM];
        loop {
            match self.stream.read(&mut room) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.answer.extend_from_slice(&room[..read]);
                    if read < ROOM {
                        return Ok(true);
                    }
                }
                Err(error) if later(&error) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// Between two runs: whether the proxy has ended it.
    fn is_closed(&mut self) -> bool {
        self.due || !self.stream.peek(&mut [0]).is_err_and(|error| later(&error))
    }
}
