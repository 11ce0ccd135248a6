//! Reloading: SIGHUP, `portcullis reload`, SIGUSR1.

use std::io::{BufReader, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use crate::support::{Place, configuration, connect, eventually, get, read, read_answer, try_get};

const SUCCESSES: &str = "portcullis_config_reload_total{result=\"success\"} ";
const FAILURES: &str = "portcullis_config_reload_total{result=\"failure\"} ";

#[test]
fn a_good_file_replaces_the_configuration_and_a_broken_one_changes_nothing() {
    let place = Place::new(&[]);
    let gateway = place.start();
    assert!(gateway.marker().contains("one"));

    place.configure(&configuration("two", place.service));
    gateway.signal(Signal::HUP);
    eventually("the second configuration serves", || gateway.marker().contains("two"));

    place.configure("_format_version: \"3.0\"\nservices:\n- name: a\n  url: http://a\n  hots: b\n");
    gateway.signal(Signal::HUP);
    eventually("the failure is counted", || gateway.metric(FAILURES) == Some(1.0));
    assert!(gateway.marker().contains("two"));
    assert_eq!(gateway.metric("portcullis_config_last_reload_successful "), Some(0.0));
    assert_eq!(gateway.metric("portcullis_snapshot_generation "), Some(2.0));
    let log = gateway.log();
    assert!(log.contains("kong.yml:5"), "no place in the log:\n{log}");

    place.configure(&configuration("three", place.service));
    let told = place.command(&["reload"], "stderr").output().unwrap();
    assert!(told.status.success(), "{told:?}");
    eventually("the third configuration serves", || gateway.marker().contains("three"));
    eventually("the reload is counted", || gateway.metric(SUCCESSES) == Some(3.0));
    assert_eq!(gateway.metric("portcullis_config_last_reload_successful "), Some(1.0));
}

#[test]
fn no_request_is_lost_over_many_reloads_good_and_broken() {
    let place = Place::new(&[]);
    let gateway = place.start();
    let (proxy, stop) = (gateway.proxy(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut served = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let (status, body) = try_get(proxy, "/echo").unwrap();
                        assert_eq!(status, 200, "{body}");
                        served += 1;
                    }
                    served
                })
            })
            .collect();
        for round in 1..=10_i32 {
            let broken = round % 2 == 0;
            let text = configuration(&format!("marker{round}"), place.service);
            place.configure(if broken { "_format_version: [" } else { &text });
            gateway.signal(Signal::HUP);
            let counter = if broken { FAILURES } else { SUCCESSES };
            let expected = f64::from(if broken { round / 2 } else { 1 + (round + 1) / 2 });
            eventually("the reload is counted", || gateway.metric(counter) == Some(expected));
            let last_good = if broken { round - 1 } else { round };
            assert!(gateway.marker().contains(&format!("marker{last_good}")));
        }
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            assert!(client.join().unwrap() > 0);
        }
    });
}

/// A credential that is withdrawn is dead at the first request after the reload; a request that is under way by then finishes as
/// it began.
#[test]
fn a_withdrawn_credential_ends_with_the_reload_and_requests_under_way_do_not() {
    let place = Place::new(&[]);
    let with = |keys: &[&str]| {
        let keys: String = keys.iter().map(|key| format!("  - {{key: {key}}}\n")).collect();
        configuration("one", place.service)
            + &format!(
                "- name: guarded\n  url: http://{}/echo\n  routes:\n  - name: guarded\n    paths: [/guarded]\n    plugins: [{{name: key-auth}}]\n\
                 consumers:\n- username: alice\n  keyauth_credentials:\n{keys}",
                place.service
            )
    };
    place.configure(&with(&["old", "kept"]));
    let gateway = place.start();
    let ask = |stream: &mut std::net::TcpStream, key: &str, path: &str| {
        write!(stream, "GET /guarded{path} HTTP/1.1\r\nHost: a\r\napikey: {key}\r\n\r\n").unwrap();
    };
    let answer = |stream: &mut std::net::TcpStream| read_answer(&mut BufReader::new(stream)).unwrap().status;
    let (mut kept, mut slow) = (connect(gateway.proxy()), connect(gateway.proxy()));
    ask(&mut kept, "old", "");
    assert_eq!(answer(&mut kept), 200);
    ask(&mut slow, "old", "/slow/3000");
    std::thread::sleep(std::time::Duration::from_millis(300));
    place.configure(&with(&["kept"]));
    gateway.signal(Signal::HUP);
    eventually("it is reloaded", || gateway.metric("portcullis_snapshot_generation ") == Some(2.0));
    ask(&mut kept, "old", "");
    assert_eq!(answer(&mut kept), 401, "on a connection that it opened before");
    ask(&mut kept, "kept", "");
    assert_eq!(answer(&mut kept), 200, "control");
    assert_eq!(answer(&mut slow), 200, "what was let in is answered");
}

#[test]
fn reload_without_a_process_says_so() {
    let place = Place::new(&[]);
    let told = place.command(&["reload"], "stderr").output().unwrap();
    assert_eq!(told.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&told.stderr).contains("names no process"));
}

#[test]
fn log_files_are_opened_anew_and_hold_no_token() {
    let place = Place::new(&[]);
    let gateway = place.start();
    let access = place.path("access.log");
    let secret = "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0.c2VjcmV0";
    get(gateway.proxy(), &format!("/echo?jwt={secret}"));
    eventually("the first line is written", || read(&access).contains("/echo"));
    std::fs::rename(&access, place.path("access.1")).unwrap();
    gateway.signal(Signal::USR1);
    eventually("the file is there again", || access.exists());
    get(gateway.proxy(), "/marker");
    eventually("the next line is in it", || read(&access).contains("/marker"));
    let all = read(&place.path("access.1")) + &read(&access) + &gateway.log();
    assert!(!all.contains(secret), "{all}");
    let line: serde_json::Value = serde_json::from_str(read(&access).lines().next().unwrap()).unwrap();
    assert_eq!((line["route"].as_str(), line["status"].as_u64()), (Some("marked"), Some(200)));
}
