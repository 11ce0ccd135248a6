//! The built program with a declarative configuration, on ports of its own. It ends when this is dropped.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::http::{self, Endpoint};

pub struct Process {
    pub http: u16,
    pub https: u16,
    pub admin: u16,
    pub status: u16,
    child: Child,
    folder: tempfile::TempDir,
}

impl Process {
    pub fn start(configuration: &str) -> Self {
        Self::launch(configuration, false)
    }

    /// With the configuration imported into a new SQLite database.
    pub fn on_sqlite(configuration: &str) -> Self {
        Self::launch(configuration, true)
    }

    fn launch(configuration: &str, sqlite: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kong.yml");
        std::fs::write(&file, configuration).unwrap();
        let database = match sqlite {
            true => format!("sqlite:{}/store.db", folder.path().display()),
            false => "off".to_owned(),
        };
        let portcullis = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
            command.env("PORTCULLIS_PREFIX", folder.path()).env("PORTCULLIS_DATABASE", &database);
            command
        };
        if sqlite {
            let imported = portcullis().args(["config", "import"]).arg(&file).output().unwrap();
            assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
        }
        // Held until all are chosen, so that they differ.
        let held: Vec<TcpListener> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = held.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        drop(held);
        let (http, https, admin, status) = (ports[0], ports[1], ports[2], ports[3]);
        let mut command = portcullis();
        if !sqlite {
            command.env("PORTCULLIS_DECLARATIVE_CONFIG", &file);
        }
        let child = command
            .arg("run")
            .env("PORTCULLIS_PROXY_LISTEN", format!("127.0.0.1:{http}, 127.0.0.1:{https} http2 ssl"))
            .env("PORTCULLIS_ADMIN_LISTEN", format!("127.0.0.1:{admin}"))
            .env("PORTCULLIS_ADMIN_GUI_LISTEN", "off")
            .env("PORTCULLIS_STATUS_LISTEN", format!("127.0.0.1:{status}"))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let process = Self { http, https, admin, status, child, folder };
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

    /// Every byte that it keeps.
    pub fn kept(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        files
            .filter(|file| file.is_file() && !file.ends_with("kong.yml"))
            .flat_map(|file| std::fs::read(file).unwrap())
            .collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
