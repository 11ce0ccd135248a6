//! openid-connect over connections, with the development provider: rotation, storms, a provider that hangs. And the
//! provider's own command.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use portcullis::idp::{Faults, Idp, Options, People};
use portcullis::jose::{Algorithm, SigningKey};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use super::support::echo::Echo;
use super::support::gateway::{Gateway, dataset, plugin};
use super::support::http;

/// A provider, and a gateway with `/` for its tokens and `/open` for everybody.
struct World {
    idp: Idp,
    gateway: Gateway,
    _echo: Echo,
    _runtime: Runtime,
}

impl World {
    fn start(cooldown: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        portcullis::runtime::install_crypto_providers();
        let options = Options { people: People::sample(), algorithm: Algorithm::Es256, ..Options::default() };
        let idp = runtime.block_on(async { Idp::start(options).unwrap() });
        let echo = Echo::start();
        let routes = [json!({"paths": ["/"], "service": 0}), json!({"paths": ["/open"], "service": 0})];
        let mut dataset = dataset(&[json!({"port": echo.port})], &routes);
        let config = json!({
            "issuer": idp.issuer(), "auth_methods": ["bearer", "password"], "client_id": ["gateway"],
            "client_secret": ["gateway-secret"], "rediscovery_lifetime": cooldown,
        });
        plugin(&mut dataset, Some(0), "openid-connect", config);
        Self { idp, gateway: Gateway::start(dataset), _echo: echo, _runtime: runtime }
    }

    fn token(&self) -> String {
        self.idp.token("john", &Map::new()).unwrap()
    }

    fn status(&self, authorization: &str) -> u16 {
        http::get(self.gateway.endpoint(), "/", &[("Authorization", authorization)]).status
    }

    fn bearer(&self, token: &str) -> u16 {
        self.status(&format!("Bearer {token}"))
    }

    /// A token that is wrong in nothing but its key.
    fn made_up(&self, kid: &str) -> String {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let header = json!({ "kid": kid, "typ": "at+jwt" });
        let claims: Value = json!({ "iss": self.idp.issuer(), "sub": "john", "exp": 4_000_000_000u64 });
        key.sign(header.as_object().unwrap(), claims.as_object().unwrap()).unwrap()
    }
}

#[test]
fn a_rotation_refuses_no_good_token() {
    let world = World::start(1);
    let mut old = world.token();
    assert_eq!(world.bearer(&old), 200);
    assert_eq!(world.status("Basic am9objpkb2U="), 200, "john:doe");
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(1100));
        world.idp.rotate().unwrap();
        let new = world.token();
        assert_eq!((world.bearer(&new), world.bearer(&old)), (200, 200));
        old = new;
    }
    // What is gone from the key set is gone here, with the next fetch.
    let last = world.token();
    (0..3).for_each(|_| drop(world.idp.rotate().unwrap()));
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!((world.bearer(&world.token()), world.bearer(&last)), (200, 401));
}

#[test]
fn made_up_key_ids_ask_the_provider_once_a_cooldown() {
    let world = World::start(60);
    let good = world.token();
    assert_eq!(world.bearer(&good), 200);
    let before = world.idp.count("jwks");
    for number in 0..200 {
        assert_eq!(world.bearer(&world.made_up(&format!("made-up-{number}"))), 401);
        assert_eq!(world.bearer(&good), 200);
    }
    assert_eq!(world.idp.count("jwks") - before, 1);
}

#[test]
fn a_provider_that_hangs_holds_nobody_up_who_does_not_need_it() {
    let world = World::start(1);
    let good = world.token();
    assert_eq!(world.bearer(&good), 200);
    std::thread::sleep(Duration::from_millis(1100));
    world.idp.misbehave(Faults { delay: 60_000, ..Faults::default() });
    std::thread::scope(|scope| {
        let world = &world;
        for number in 0..50 {
            scope.spawn(move || assert_eq!(world.bearer(&world.made_up(&format!("slow-{number}"))), 401));
        }
        let start = Instant::now();
        for _ in 0..20 {
            assert_eq!(http::get(world.gateway.endpoint(), "/open", &[]).status, 200);
            assert_eq!(world.bearer(&good), 200);
        }
        assert!(start.elapsed() < Duration::from_secs(4), "they waited: {:?}", start.elapsed());
    });
}

#[test]
fn a_provider_that_fails_or_sends_nonsense_takes_no_good_key_away() {
    let world = World::start(1);
    let good = world.token();
    assert_eq!(world.bearer(&good), 200);
    for faults in [
        Faults { status: Some(500), ..Faults::default() },
        Faults { extra_keys: 10_000, ..Faults::default() },
        Faults { status: Some(200), only: vec!["jwks".into()], ..Faults::default() },
    ] {
        world.idp.misbehave(faults.clone());
        let (before, start) = (world.idp.count("jwks"), Instant::now());
        // By what the requests ask for or by a retry of its own, the gateway gets to see it.
        for number in 0.. {
            assert_eq!(world.bearer(&world.made_up(&format!("{faults:?}{number}"))), 401);
            assert_eq!(world.bearer(&good), 200, "{faults:?}");
            if world.idp.count("jwks") > before + 1 {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "the keys were not asked for: {faults:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    // A key that is named in no set is not found by trying.
    std::thread::sleep(Duration::from_millis(1100));
    world.idp.misbehave(Faults { wrong_kid: true, ..Faults::default() });
    assert_eq!(world.bearer(&world.token()), 401);
}

/// The command: says its issuer, answers, and refuses to serve anyone but this machine.
#[test]
fn the_command_serves_this_machine_only() {
    let command = || Command::new(env!("CARGO_BIN_EXE_portcullis"));
    let folder = tempfile::tempdir().unwrap();
    let people = folder.path().join("people.yml");
    std::fs::write(
        &people,
        "users: [{name: eve, password: x, claims: {groups: [/staff]}}]\nclients: [{id: c, secret: s}]\n",
    )
    .unwrap();
    let mut child = command()
        .args(["idp", "--listen", "127.0.0.1:0", "--alg", "EdDSA", "--audience", "api", "--people"])
        .arg(&people)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port: u16 = line.trim().rsplit(':').next().unwrap().parse().unwrap();
    let form = "grant_type=password&username=eve&password=x&client_id=c&client_secret=s";
    let mut stream = http::Endpoint::plain(port).connect();
    let request = format!(
        "POST /token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let answer = http::exchange(&mut *stream, &request);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("access_token"));

    std::fs::write(&people, "users: [{name: eve, pasword: x}]\n").unwrap();
    for (arguments, said) in [
        (vec!["idp", "--listen", "0.0.0.0:0"], "not a loopback address"),
        (vec!["idp", "--listen", "127.0.0.1:0", "--alg", "HS256"], "HS256 cannot sign"),
        (vec!["idp", "--listen", "127.0.0.1:0", "--status", "7"], "from 200 to 599"),
        (vec!["idp", "--listen", "127.0.0.1:0", "--people", people.to_str().unwrap()], "pasword"),
    ] {
        let done = command().args(&arguments).output().unwrap();
        let text = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
}
