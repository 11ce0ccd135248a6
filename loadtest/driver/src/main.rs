//! The load side of a measured slice in one thread that never sleeps: clients in front of a proxy, and the service behind it.
//!
//! Who writes to a socket whose reader sleeps wakes that reader, and on a virtual machine waking another CPU takes some microseconds of
//! the writer's own time. How often a reader sleeps depends on how much slower the proxy is than its load, so that these microseconds
//! would be counted as the proxy's, more of them for a slower one. Here sockets are asked again and again while requests are out.
//!
//! `driver` writes the port of the service, then answers each line of its input with one line:
//! - `open ID PORT STATUS FILE`: a target, whose requests are in a file, each behind its length in four bytes (little endian);
//! - `run ID COUNT`: so many of its requests in turn, over 32 kept connections, each sending its next one when its answer is there;
//! - `run ID COUNT NANOSECONDS`: the same, one each so many nanoseconds, each timed from when it was due;
//! - `close ID`: its connections, not its requests;
//! - `forget ID`.
//!
//! The answer is `ok`, with the nanoseconds that each took where they were timed, or `error` and why: another status than that of the target, a connection that ended.

mod client;
mod service;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use client::Target;
use service::Service;

/// Without any answer for so long, a run has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that are read at once. What fills less was all there was: the next ones are announced anew.
const ROOM: usize = 4096;

const INPUT: Token = Token(0);
/// The service's sockets have the tokens from here on, the targets' connections those after `CLIENTS`.
const SERVICE: usize = 1;
const CLIENTS: usize = 1 << 20;

/// Nothing to read now.
fn later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Writes all of it, to a socket with room for what is sent here.
fn write(stream: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if later(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

struct Driver {
    poll: Poll,
    service: Service,
    targets: HashMap<String, Target>,
    /// How many targets there were, which gives each its tokens.
    opened: usize,
    running: Option<String>,
}

impl Driver {
    /// Carries out a line; `None` while it goes on.
    fn command(&mut self, line: &str) -> Option<Result<(), String>> {
        let words: Vec<&str> = line.split(' ').collect();
        let there = |found: Option<()>, id: &str| found.ok_or_else(|| format!("no target {id}"));
        match *words {
            ["open", id, port, status, file] => Some(self.open(id, port, status, file)),
            ["run", id, count] => self.run(id, count, None).err().map(Err),
            ["run", id, count, every] => self.run(id, count, Some(every)).err().map(Err),
            ["close", id] => Some(there(self.targets.get_mut(id).map(Target::close), id)),
            ["forget", id] => Some(there(self.targets.remove(id).map(drop), id)),
            _ => Some(Err(format!("not a command: {line}"))),
        }
    }

    fn open(&mut self, id: &str, port: &str, status: &str, file: &str) -> Result<(), String> {
        let port = port.parse().map_err(|_| "not a port")?;
        let requests = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        let target = Target::new(port, status, requests, CLIENTS + self.opened * client::CONNECTIONS)?;
        self.opened += 1;
        self.targets.insert(id.to_owned(), target);
        Ok(())
    }

    fn run(&mut self, id: &str, count: &str, every: Option<&str>) -> Result<(), String> {
        let count = count.parse().map_err(|_| "not a number")?;
        let every = every.map(str::parse).transpose().map_err(|_| "not a time")?.map(Duration::from_nanos);
        let target = self.targets.get_mut(id).ok_or_else(|| format!("no target {id}"))?;
        target.start(count, every, self.poll.registry())?;
        self.running = Some(id.to_owned());
        Ok(())
    }

    fn work(&mut self) -> io::Result<()> {
        let (mut input, mut lines) = (io::stdin(), Vec::new());
        let mut events = Events::with_capacity(256);
        let mut heard = Instant::now();
        loop {
            self.poll
                .poll(&mut events, self.running.is_some().then_some(Duration::ZERO))
                .or_else(|error| if later(&error) { Ok(()) } else { Err(error) })?;
            if !events.is_empty() {
                heard = Instant::now();
            }
            let mut done = None;
            let mut took = String::new();
            if let Some(target) = self.running.as_ref().and_then(|id| self.targets.get_mut(id)) {
                done = target.tick().err().map(Err);
            }
            for event in &events {
                match event.token() {
                    INPUT => {
                        let mut room = [0; 4096];
                        match input.read(&mut room) {
                            Ok(0) => return Ok(()),
                            Ok(read) => lines.extend_from_slice(&room[..read]),
                            Err(error) if later(&error) => {}
                            Err(error) => return Err(error),
                        }
                    }
                    Token(at) if at < CLIENTS => self.service.ready(at, self.poll.registry())?,
                    Token(at) => {
                        let target = self.running.as_ref().and_then(|id| self.targets.get_mut(id));
                        if let Some(target) = target.filter(|target| target.has(at)) {
                            done = target.ready(at).transpose().or(done);
                        }
                    }
                }
            }
            if self.running.is_some() && done.is_none() && heard.elapsed() > PATIENCE {
                done = Some(Err("no answer".into()));
            }
            if done.is_some()
                && let Some(target) = self.running.take().and_then(|id| self.targets.get_mut(&id))
            {
                took = target.took();
            }
            if let Some(end) =
                lines.iter().position(|byte| *byte == b'\n').filter(|_| self.running.is_none() && done.is_none())
            {
                let line: Vec<u8> = lines.drain(..=end).collect();
                done = self.command(String::from_utf8_lossy(&line).trim_end());
                heard = Instant::now();
            }
            if let Some(done) = done {
                println!("{}", done.map_or_else(|error| format!("error {error:?}"), |()| format!("ok{took}")));
            }
        }
    }
}

fn main() -> io::Result<()> {
    let poll = Poll::new()?;
    let service = Service::new(poll.registry(), SERVICE)?;
    let input = io::stdin().as_raw_fd();
    poll.registry().register(&mut SourceFd(&input), INPUT, Interest::READABLE)?;
    println!("{}", service.port()?);
    Driver { poll, service, targets: HashMap::new(), opened: 0, running: None }.work()
}
