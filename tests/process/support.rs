//! A gateway process, a service behind it, and a client that says exactly what it sends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::http::{self, Answer};

/// How long anything may take that is expected to happen; the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something to become so.
#[track_caller]
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "did not happen: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A configuration with one route that answers `marker` in the service's place, and one that goes to `service`.
pub fn configuration(marker: &str, service: SocketAddr) -> String {
    format!(
        r#"_format_version: "3.0"
services:
- name: echo
  url: http://{service}
  routes:
  - name: echo
    paths: [/echo]
    strip_path: false
- name: marked
  url: http://{service}
  routes:
  - name: marked
    paths: [/marker]
    plugins:
    - name: request-termination
      config: {{status_code: 200, message: {marker}}}
"#
    )
}

/// A directory with a configuration, in which gateways run.
pub struct Place {
    pub directory: TempDir,
    pub service: SocketAddr,
    settings: Vec<(String, String)>,
}

impl Place {
    pub fn new(settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let place = Self { directory: tempfile::tempdir().unwrap(), service: start_service(), settings };
        place.configure(&configuration("one", place.service));
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn configure(&self, text: &str) {
        std::fs::write(self.path("kong.yml"), text).unwrap();
    }

    /// The program with the settings of this place; `log` is the name of its log file.
    pub fn command(&self, arguments: &[&str], log: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PORTCULLIS_")) {
            command.env_remove(name);
        }
        let defaults = [
            ("PREFIX", "run"),
            ("DECLARATIVE_CONFIG", "kong.yml"),
            ("PROXY_LISTEN", "127.0.0.1:0"),
            ("STATUS_LISTEN", "127.0.0.1:0"),
            ("ADMIN_LISTEN", "off"),
            ("ADMIN_GUI_LISTEN", "off"),
            ("PROXY_ACCESS_LOG", "access.log"),
            ("PROXY_ERROR_LOG", log),
            ("LOG_LEVEL", "info"),
            ("WORKER_THREADS", "2"),
        ];
        let own = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in defaults.into_iter().chain(own) {
            command.env(format!("PORTCULLIS_{name}"), value);
        }
        command
    }

    pub fn start(&self) -> Gateway {
        self.start_with(&["run"], "error.log")
    }

    pub fn start_with(&self, arguments: &[&str], log: &str) -> Gateway {
        self.started(self.spawn(arguments, log), log)
    }

    /// Starts the program and waits for nothing.
    pub fn spawn(&self, arguments: &[&str], log: &str) -> Child {
        self.command(arguments, log).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Waits until a process serves.
    pub fn started(&self, child: Child, log: &str) -> Gateway {
        let mut gateway = Gateway { child, log: self.path(log), proxies: Vec::new(), status: None };
        gateway.wait_until_serving();
        gateway
    }
}

/// A running gateway; killed when dropped.
pub struct Gateway {
    pub child: Child,
    log: PathBuf,
    /// Where it listens, in the order of the setting; unix sockets are left out.
    pub proxies: Vec<SocketAddr>,
    status: Option<SocketAddr>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Gateway {
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn wait_until_serving(&mut self) {
        let start = Instant::now();
        loop {
            let log = self.log();
            if log.contains(" serving ") {
                break;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the gateway ended with {status}:\n{log}");
            }
            assert!(start.elapsed() < PATIENCE, "the gateway does not serve:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let log = self.log();
        let addresses = |role: &str| -> Vec<SocketAddr> {
            let lines = log.lines().filter_map(|line| line.split_once(&format!("{role} listens on ")));
            lines.filter_map(|(_, rest)| rest.split(' ').next()?.parse().ok()).collect()
        };
        self.proxies = addresses("proxy");
        self.status = addresses("status").first().copied();
    }

    pub fn proxy(&self) -> SocketAddr {
        self.proxies[0]
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let mut ended = None;
        let log = self.log.clone();
        let start = Instant::now();
        while ended.is_none() {
            let log = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(start.elapsed() < PATIENCE, "the gateway does not end:\n{}", log());
            ended = self.child.try_wait().unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        ended.unwrap()
    }

    pub fn metrics(&self) -> String {
        get(self.status.unwrap(), "/metrics").1
    }

    /// The value of a series of `/metrics`.
    pub fn metric(&self, series: &str) -> Option<f64> {
        self.metrics().lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    /// A path of the status listener.
    pub fn status(&self, path: &str) -> (u16, String) {
        get(self.status.unwrap(), path)
    }

    /// What the marked route answers.
    pub fn marker(&self) -> String {
        get(self.proxy(), "/marker").1
    }
}

pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// One request on a connection of its own: status and body.
#[track_caller]
pub fn get(from: SocketAddr, path: &str) -> (u16, String) {
    try_get(from, path).unwrap()
}

pub fn try_get(from: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(from)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let answer = read_answer(&mut BufReader::new(stream))?;
    Ok((answer.status, answer.body))
}

/// Reads one answer, whole.
pub fn read_answer<R: Read>(from: &mut R) -> std::io::Result<Answer> {
    let answer = http::read_answer(from, &mut Vec::new(), false);
    if answer.status == 0 { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}

/// A service that answers with the head of the request; `/echo/slow/MS` after a while. Returns its address.
fn start_service() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(&stream));
        }
    });
    address
}

fn serve(stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let path = head.split(' ').nth(1).unwrap_or("");
        if let Some(wait) = path.strip_prefix("/echo/slow/").and_then(|wait| wait.parse().ok()) {
            std::thread::sleep(Duration::from_millis(wait));
        }
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Reads a file that another process writes.
pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
