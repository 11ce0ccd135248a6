//! Health: passive counts, active probes over real sockets, thresholds, reloads, hands.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const TWO: [(&str, u16); 2] = [("10.0.0.1:80", 100), ("10.0.0.2:80", 100)];

fn passive(unhealthy: Value) -> Value {
    json!({"healthchecks": {"passive": {"unhealthy": unhealthy}}})
}

/// Active checks every 20 ms, down after two failures of any kind, up after two successes.
fn active(kind: &str) -> Value {
    json!({"healthchecks": {"active": {
        "type": kind, "timeout": 0.5, "http_path": "/health", "https_verify_certificate": false,
        "headers": {"x-probe": ["yes"]},
        "healthy": {"interval": 0.02, "successes": 2},
        "unhealthy": {"interval": 0.02, "http_failures": 2, "tcp_failures": 2, "timeouts": 2},
    }}})
}

fn health_of(registry: &Registry, target: &str) -> Health {
    let health = registry.upstream_health("up").unwrap();
    health.targets.iter().find(|entry| *entry.target == *target).unwrap().health
}

/// Lets `attempt` happen at one target until it is picked `times` times.
fn at(compiled: &Compiled, target: &str, times: usize, attempt: impl Fn(&Lease)) {
    let mut left = times;
    while left > 0 {
        let picked = compiled.pick().unwrap();
        if address(&picked) == target {
            attempt(&picked.lease);
            left -= 1;
        } else {
            picked.lease.answered(200, Duration::ZERO);
        }
    }
}

#[test]
fn off_by_default() {
    let (registry, _) = registry();
    let compiled = compile(&registry, &upstream(json!({}), &TWO));
    at(&compiled, TWO[0].0, 100, |lease| lease.answered(500, Duration::ZERO));
    assert_eq!(compiled.spread(10).len(), 2);
    assert_eq!(health_of(&registry, TWO[0].0), Health::HealthchecksOff);
    assert_eq!(registry.upstream_health("up").unwrap().health, Health::HealthchecksOff);
}

#[test]
fn passive_checks_take_a_target_out() {
    let (registry, _) = registry();
    let answer_500: fn(&Lease) = |lease| lease.answered(500, Duration::ZERO);
    let kinds =
        [("http_failures", answer_500), ("tcp_failures", Lease::connect_failed), ("timeouts", Lease::timed_out)];
    for (kind, attempt) in kinds {
        let rules = json!({kind: 3});
        let compiled = compile(&registry, &upstream(passive(rules.clone()), &TWO));
        at(&compiled, TWO[0].0, 2, attempt);
        assert_eq!(health_of(&registry, TWO[0].0), Health::Healthy, "{rules}");
        at(&compiled, TWO[0].0, 1, attempt);
        assert_eq!(health_of(&registry, TWO[0].0), Health::Unhealthy, "{rules}");
        assert_eq!(compiled.spread(10)[TWO[1].0], 10, "{rules}");
        assert_eq!(registry.upstream_health("up").unwrap().available, 50.0);
    }
}

#[test]
fn statuses_that_are_no_failures_do_not_count() {
    let (registry, _) = registry();
    let compiled = compile(&registry, &upstream(passive(json!({"http_failures": 2})), &TWO));
    at(&compiled, TWO[0].0, 5, |lease| lease.answered(404, Duration::ZERO));
    for _ in 0..5 {
        at(&compiled, TWO[0].0, 1, |lease| lease.answered(500, Duration::ZERO));
        at(&compiled, TWO[0].0, 1, |lease| lease.answered(200, Duration::ZERO));
    }
    assert_eq!(health_of(&registry, TWO[0].0), Health::Healthy, "never two in a row");
}

#[test]
fn all_down_is_no_peer_until_someone_says_otherwise() {
    let (registry, _) = registry();
    let compiled = compile(&registry, &upstream(passive(json!({"tcp_failures": 1})), &TWO));
    at(&compiled, TWO[0].0, 1, Lease::connect_failed);
    at(&compiled, TWO[1].0, 1, Lease::connect_failed);
    assert_eq!(compiled.pick().unwrap_err(), PickFault::NoPeer);
    assert_eq!(registry.upstream_health("up").unwrap().health, Health::Unhealthy);
    assert!(registry.set_health("up", TWO[0].0, None, true));
    assert_eq!(compiled.spread(4)[TWO[0].0], 4);
    assert!(registry.set_health("up", TWO[1].0, Some("10.0.0.2:80"), true));
    assert!(registry.set_health("up", TWO[0].0, Some("10.0.0.1"), false));
    assert_eq!(compiled.spread(4)[TWO[1].0], 4);
    assert!(!registry.set_health("up", TWO[0].0, Some("10.0.0.9"), false));
    assert!(!registry.set_health("up", "10.0.0.9:80", None, false));
    assert!(!registry.set_health("other", TWO[0].0, None, false));
}

#[test]
fn below_the_threshold_the_whole_upstream_is_down() {
    let (registry, _) = registry();
    let mut fields = passive(json!({"tcp_failures": 1}));
    merge(&mut fields, json!({"healthchecks": {"threshold": 60}}));
    let compiled = compile(&registry, &upstream(fields, &TWO));
    assert!(compiled.pick().is_ok());
    at(&compiled, TWO[0].0, 1, Lease::connect_failed);
    assert_eq!(compiled.pick().unwrap_err(), PickFault::NoPeer, "50 % is less than 60 %");
}

#[test]
fn health_survives_a_reload() {
    let (registry, _) = registry();
    let rules = passive(json!({"tcp_failures": 2}));
    let three = [TWO[0], TWO[1], ("10.0.0.3:80", 100)];
    let old = compile(&registry, &upstream(rules.clone(), &TWO));
    at(&old, TWO[0].0, 2, Lease::connect_failed);
    at(&old, TWO[1].0, 1, Lease::connect_failed);

    let same = compile(&registry, &upstream(rules.clone(), &TWO));
    assert_eq!(same.spread(4)[TWO[1].0], 4, "the state is kept");
    let more = compile(&registry, &upstream(rules.clone(), &three));
    assert_eq!(more.spread(4).len(), 2, "also when the list of targets changes");
    drop((old, same));
    at(&more, TWO[1].0, 1, Lease::connect_failed);
    assert_eq!(more.spread(4)[three[2].0], 4, "and with it what was counted");

    let fewer = compile(&registry, &upstream(rules.clone(), &three[1..]));
    drop(more);
    let back = compile(&registry, &upstream(rules, &three));
    assert_eq!(health_of(&registry, TWO[0].0), Health::Healthy, "a target that was away starts anew");
    drop(fewer);
    let other_rules = compile(&registry, &upstream(passive(json!({"tcp_failures": 9})), &three));
    assert_eq!(other_rules.spread(3).len(), 3, "other rules judge anew");
    drop(back);
}

/// An HTTP server that answers with the status in `status`; 0 = it says nothing.
async fn http_server(status: Arc<AtomicUsize>, seen: Arc<Mutex<String>>) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let (status, seen) = (Arc::clone(&status), Arc::clone(&seen));
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let read = connection.read(&mut request).await.unwrap_or(0);
                *seen.lock() = String::from_utf8_lossy(&request[..read]).into_owned();
                match status.load(Ordering::Relaxed) {
                    0 => tokio::time::sleep(Duration::from_secs(5)).await,
                    code => {
                        let answer = format!("HTTP/1.1 {code} x\r\nContent-Length: 2\r\n\r\nok");
                        let _ = connection.write_all(answer.as_bytes()).await;
                    }
                }
            });
        }
    };
    (address, tokio::spawn(serve))
}

fn run(registry: &Registry) -> tokio::task::JoinHandle<()> {
    let registry = registry.clone();
    tokio::spawn(async move { registry.run().await })
}

#[tokio::test]
async fn active_http_checks() {
    let (registry, _) = registry();
    let (status, seen) = (Arc::new(AtomicUsize::new(200)), Arc::new(Mutex::default()));
    let (address, server) = http_server(Arc::clone(&status), Arc::clone(&seen)).await;
    let compiled = compile(&registry, &upstream(active("http"), &[(&address, 1)]));
    let task = run(&registry);
    eventually("a probe came", || !seen.lock().is_empty()).await;
    let request = seen.lock().to_lowercase();
    assert!(request.starts_with("get /health http/1.1\r\n"), "{request}");
    assert!(
        request.contains(&format!("\r\nhost: {address}\r\n")) && request.contains("\r\nx-probe: yes\r\n"),
        "{request}"
    );
    assert_eq!(health_of(&registry, &address), Health::Healthy);
    for bad in [503, 0] {
        status.store(bad, Ordering::Relaxed);
        eventually("down", || compiled.pick().is_err()).await;
        assert_eq!(health_of(&registry, &address), Health::Unhealthy);
        status.store(302, Ordering::Relaxed);
        eventually("up", || compiled.pick().is_ok()).await;
    }
    // A status in neither list says nothing.
    status.store(418, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(health_of(&registry, &address), Health::Healthy);
    server.abort();
    eventually("refused", || compiled.pick().is_err()).await;
    task.abort();
}

#[tokio::test]
async fn active_tcp_checks() {
    let (registry, _) = registry();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let compiled = compile(&registry, &upstream(active("tcp"), &[(&address, 1)]));
    let task = run(&registry);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(health_of(&registry, &address), Health::Healthy);
    drop(listener);
    eventually("down", || compiled.pick().is_err()).await;
    let _listener = TcpListener::bind(&address).await.unwrap();
    eventually("up", || compiled.pick().is_ok()).await;
    task.abort();
}

#[tokio::test]
async fn checks_end_with_the_last_snapshot() {
    let (registry, _) = registry();
    let (status, seen) = (Arc::new(AtomicUsize::new(200)), Arc::new(Mutex::default()));
    let (address, _server) = http_server(status, Arc::clone(&seen)).await;
    let compiled = compile(&registry, &upstream(active("http"), &[(&address, 1)]));
    let task = run(&registry);
    eventually("a probe came", || !seen.lock().is_empty()).await;
    drop(compiled);
    for round in 0.. {
        assert!(round < 20, "still probed");
        seen.lock().clear();
        tokio::time::sleep(Duration::from_millis(100)).await;
        if seen.lock().is_empty() {
            break;
        }
    }
    task.abort();
}

/// What a gRPC server's health service says.
#[derive(Clone, Copy, PartialEq)]
enum Says {
    Serving,
    NotServing,
    Unimplemented,
}

async fn grpc_server(says: Arc<Mutex<Says>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            let says = Arc::clone(&says);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(connection).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                    let answer = http::Response::builder().header("content-type", "application/grpc");
                    let said = *says.lock();
                    if said == Says::Unimplemented {
                        respond.send_response(answer.header("grpc-status", "12").body(()).unwrap(), true).unwrap();
                        continue;
                    }
                    let mut stream = respond.send_response(answer.body(()).unwrap(), false).unwrap();
                    let state = if said == Says::Serving { 1 } else { 2 };
                    stream.send_data(bytes::Bytes::from(vec![0, 0, 0, 0, 2, 8, state]), false).unwrap();
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", "0".parse().unwrap());
                    stream.send_trailers(trailers).unwrap();
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn active_grpc_checks() {
    let (registry, _) = registry();
    let says = Arc::new(Mutex::new(Says::NotServing));
    let address = grpc_server(Arc::clone(&says)).await;
    let compiled = compile(&registry, &upstream(active("grpc"), &[(&address, 1)]));
    let task = run(&registry);
    eventually("not serving", || compiled.pick().is_err()).await;
    *says.lock() = Says::Serving;
    eventually("serving", || compiled.pick().is_ok()).await;
    *says.lock() = Says::NotServing;
    eventually("not serving again", || compiled.pick().is_err()).await;
    *says.lock() = Says::Unimplemented;
    eventually("alive without a health service", || compiled.pick().is_ok()).await;
    task.abort();
}
