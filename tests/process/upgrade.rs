//! Handing the sockets to a new process.

use std::io::{BufReader, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Gateway, Place, configuration, connect, eventually, read_answer, try_get};

/// Requests on new and on kept connections until told to stop; counts them. Any that fails, fails the test.
fn load(proxy: std::net::SocketAddr, stop: &AtomicBool, served: &AtomicU32, kept: bool) {
    while !stop.load(Ordering::Relaxed) {
        if !kept {
            assert_eq!(try_get(proxy, "/echo").unwrap().0, 200);
            served.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let mut stream = connect(proxy);
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            write!(stream, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let answer = read_answer(&mut reader).unwrap();
            assert_eq!(answer.status, 200);
            served.fetch_add(1, Ordering::Relaxed);
            if answer.header("connection") == Some("close") || stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
}

#[test]
fn no_request_is_lost_when_a_new_process_takes_over() {
    let place = Place::new(&[("PROXY_LISTEN", "127.0.0.1:0, 127.0.0.1:0 reuseport")]);
    let mut current = place.start();
    let (stop, served) = (AtomicBool::new(false), AtomicU32::new(0));
    let proxies = current.proxies.clone();
    std::thread::scope(|scope| {
        let clients: Vec<_> = [(0, false), (0, true), (1, false), (1, true)]
            .map(|(listener, kept)| {
                let (proxy, stop, served) = (proxies[listener], &stop, &served);
                scope.spawn(move || load(proxy, stop, served, kept))
            })
            .into();
        for round in 0..3 {
            let before = served.load(Ordering::Relaxed);
            eventually("clients are served", || served.load(Ordering::Relaxed) > before + 20);
            let marker = format!("process{round}");
            place.configure(&configuration(&marker, place.service));
            let next = take_over(&place, &current, &format!("error{round}.log"));
            assert_eq!(next.proxies, proxies, "the same sockets");
            assert!(current.ended().success(), "{}", current.log());
            assert!(next.marker().contains(&marker));
            current = next;
            let pid = std::fs::read_to_string(place.path("run/portcullis.pid")).unwrap();
            assert_eq!(pid.trim(), current.child.id().to_string());
        }
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
    });
}

/// Starts the next process and tells the current one to hand over.
fn take_over(place: &Place, current: &Gateway, log: &str) -> Gateway {
    let child = place.spawn(&["run", "--upgrade"], log);
    eventually("the next one waits", || place.path("run/upgrade.sock").exists());
    current.signal(Signal::QUIT);
    place.started(child, log)
}

#[test]
fn a_new_process_that_dies_leaves_the_old_one_serving() {
    let place = Place::new(&[]);
    let mut gateway = place.start();
    // It waits at the socket, and is killed before the hand-over.
    place.configure(&configuration("two", place.service));
    let mut next = place.spawn(&["run", "--upgrade"], "error2.log");
    eventually("the next one waits", || place.path("run/upgrade.sock").exists());
    // Stopped, it can be connected to but does not answer.
    rustix::process::kill_process(rustix::process::Pid::from_raw(next.id().try_into().unwrap()).unwrap(), Signal::STOP)
        .unwrap();
    gateway.signal(Signal::QUIT);
    std::thread::sleep(Duration::from_millis(300));
    next.kill().unwrap();
    next.wait().unwrap();
    eventually("the old one says that it goes on", || gateway.log().contains("this one goes on"));
    assert!(gateway.marker().contains("one"));
    assert_eq!(gateway.status("/status/ready").0, 200);
    gateway.signal(Signal::TERM);
    assert!(gateway.ended().success());
}

#[test]
fn quit_without_a_new_process_finishes() {
    let place = Place::new(&[]);
    let mut gateway = place.start();
    gateway.signal(Signal::QUIT);
    assert!(gateway.ended().success());
    assert!(gateway.log().contains("no new process waits"));
}
