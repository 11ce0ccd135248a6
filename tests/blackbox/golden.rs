//! Recorded answers of a real Kong: the jwt plugin in this process at the recorded time, oauth2 against the built program over TLS.

use portcullis::declarative;
use portcullis::gateway::Clock;
use portcullis::gateway::testing::Setup;
use serde_json::Value;

use super::support::echo::Echo;
use super::support::gateway::Gateway;
use super::support::golden::{self, Ports};
use super::support::process::Process;
use super::support::recorded;

#[test]
fn jwt() {
    let echo = Echo::start();
    let first = recorded::conformance("jwt.jsonl");
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    let setup = Setup { clock: Clock::Fixed(first["time"].as_u64().unwrap()), ..Setup::default() };
    let mut ports = Ports { proxy: 0, tls: 0, admin: 0, service: echo.port };
    let text = golden::configuration("jwt_kong_config.json", ports);
    let loaded = declarative::load_text("jwt_kong_config.json", &text, &declarative::Options::default());
    let gateway = Gateway::with(loaded.unwrap_or_else(|refused| panic!("{:?}", refused.diagnostics)).dataset, setup);
    ports.proxy = gateway.port();
    golden::assert_all(golden::replay("jwt.jsonl", ports, &echo, false), 210);
}

#[test]
fn oauth2() {
    let echo = Echo::start();
    let mut ports = Ports { proxy: 0, tls: 0, admin: 0, service: echo.port };
    let process = Process::start(&golden::configuration("oauth2_kong_config.json", ports));
    (ports.proxy, ports.tls) = (process.http, process.https);
    golden::assert_all(golden::replay("oauth2.jsonl", ports, &echo, false), 130);
}

/// The same cases with everything in a database: entities imported, tokens and codes in its tables.
#[test]
fn oauth2_on_sqlite() {
    let echo = Echo::start();
    let mut ports = Ports { proxy: 0, tls: 0, admin: 0, service: echo.port };
    let process = Process::on_sqlite(&golden::configuration("oauth2_kong_config.json", ports));
    (ports.proxy, ports.tls) = (process.http, process.https);
    golden::assert_all(golden::replay("oauth2.jsonl", ports, &echo, false), 130);
}
