//! Ending: SIGTERM with and without requests in flight, SIGINT.

use std::io::{BufReader, Read, Write};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Place, connect, get, read_answer, try_get};

#[test]
fn idle_it_ends_at_once_whatever_the_grace_period() {
    let place = Place::new(&[("GRACE_PERIOD", "60s")]);
    let mut gateway = place.start();
    // A connection that is kept, and one that has not said anything yet.
    let mut kept = connect(gateway.proxy());
    write!(kept, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut kept = BufReader::new(kept);
    assert_eq!(read_answer(&mut kept).unwrap().status, 200);
    let _silent = connect(gateway.proxy());
    let start = Instant::now();
    gateway.signal(Signal::TERM);
    assert!(gateway.ended().success());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(kept.read(&mut [0]).unwrap_or(0), 0, "the idle connection is closed");
    assert!(!place.path("run/portcullis.pid").exists());
}

#[test]
fn a_request_in_flight_is_finished_and_no_new_one_is_taken() {
    let place = Place::new(&[]);
    let mut gateway = place.start();
    let proxy = gateway.proxy();
    let slow = std::thread::spawn(move || get(proxy, "/echo/slow/2000"));
    std::thread::sleep(Duration::from_millis(500));
    gateway.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(gateway.status("/status/ready"), (503, r#"{"message":"draining"}"#.into()));
    assert!(try_get(proxy, "/echo").is_err());
    assert_eq!(slow.join().unwrap().0, 200);
    assert!(gateway.ended().success());
}

#[test]
fn the_grace_period_is_an_end() {
    let place = Place::new(&[("GRACE_PERIOD", "1s")]);
    let mut gateway = place.start();
    let proxy = gateway.proxy();
    let slow = std::thread::spawn(move || try_get(proxy, "/echo/slow/25000"));
    std::thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    gateway.signal(Signal::TERM);
    assert!(gateway.ended().success());
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(10), "{took:?}");
    assert!(slow.join().unwrap().is_err());
    assert!(gateway.log().contains("connections are cut"));
}

#[test]
fn an_interrupt_does_not_wait() {
    let place = Place::new(&[]);
    let mut gateway = place.start();
    let proxy = gateway.proxy();
    let slow = std::thread::spawn(move || try_get(proxy, "/echo/slow/25000"));
    std::thread::sleep(Duration::from_millis(500));
    let start = Instant::now();
    gateway.signal(Signal::INT);
    assert!(gateway.ended().success());
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(slow.join().unwrap().is_err());
}
