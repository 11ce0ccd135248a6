//! The built program with a declarative configuration, on ports of its own. It ends when this is dropped.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::http::{self, Endpoint};

pub struct Process {
    pub http: u16,
    pub https: u16,
    pub status: u16,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Process {
    pub fn start(configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kong.yml");
        std::fs::write(&file, configuration).unwrap();
        // Held until all are chosen, so that they differ.
        let held: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = held.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        drop(held);
        let (http, https, status) = (ports[0], ports[1], ports[2]);
        let child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .arg("run")
            .env("PORTCULLIS_PREFIX", folder.path())
            .env("PORTCULLIS_DATABASE", "off")
            .env("PORTCULLIS_DECLARATIVE_CONFIG", &file)
            .env("PORTCULLIS_PROXY_LISTEN", format!("127.0.0.1:{http}, 127.0.0.1:{https} http2 ssl"))
            .env("PORTCULLIS_ADMIN_LISTEN", "off")
            .env("PORTCULLIS_ADMIN_GUI_LISTEN", "off")
            .env("PORTCULLIS_STATUS_LISTEN", format!("127.0.0.1:{status}"))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let process = Self { http, https, status, child, _folder: folder };
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            let listens = std::net::TcpStream::connect(("127.0.0.1", status)).is_ok();
            if listens && http::get(Endpoint::plain(status), "/status/ready", &[]).status == 200 {
                return process;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the gateway did not become ready");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
