//! Clients that are slow, many, or come through a balancer.

use std::io::{BufReader, Read, Write};
use std::time::{Duration, Instant};

use crate::support::{Place, connect, eventually, get, read_answer};

#[test]
fn a_dribbled_header_is_cut_and_others_are_served_beside_it() {
    let place = Place::new(&[("CLIENT_HEADER_TIMEOUT", "1s")]);
    let gateway = place.start();
    let mut slow: Vec<_> = (0..20).map(|_| connect(gateway.proxy())).collect();
    // The second of them after a first, complete request: later requests are held to it as well.
    write!(slow[1], "GET /marker HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut kept = BufReader::new(slow[1].try_clone().unwrap());
    assert_eq!(read_answer(&mut kept).unwrap().status, 200);
    let start = Instant::now();
    let mut cut = 0;
    for byte in "GET /marker HTTP/1.1\r\nHost: a\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".bytes() {
        cut = slow.iter_mut().filter_map(|stream| stream.write_all(&[byte]).err()).count();
        if cut == slow.len() {
            break;
        }
        assert_eq!(get(gateway.proxy(), "/marker").0, 200);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(cut, 20, "all are cut within the time it takes to send the header");
    eventually("they are counted", || gateway.metric("portcullis_shed_total{cause=\"header_timeout\"} ") == Some(20.0));
    // The control: as slow between requests as they like, as long as a header comes at once.
    let mut patient = connect(gateway.proxy());
    let mut answers = BufReader::new(patient.try_clone().unwrap());
    for _ in 0..2 {
        write!(patient, "GET /marker HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(read_answer(&mut answers).unwrap().status, 200);
        std::thread::sleep(Duration::from_millis(1500));
    }
}

#[test]
fn a_client_that_is_cut_is_told_408() {
    let place = Place::new(&[("CLIENT_HEADER_TIMEOUT", "500ms")]);
    let gateway = place.start();
    let mut silent = connect(gateway.proxy());
    let mut told = String::new();
    silent.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 408 "), "{told:?}");
}

/// What the HTTP library cannot read is answered as Kong would, under our name, counted and logged.
#[test]
fn what_cannot_be_read_is_answered_counted_and_logged() {
    let place = Place::new(&[("PROXY_LISTEN", "127.0.0.1:0, 127.0.0.1:0 http2, 127.0.0.1:0 proxy_protocol")]);
    let gateway = place.start();
    let malformed = "GET /marker HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n";
    for (number, (listener, before, request, status, message)) in [
        (0, "", malformed, 400, "Bad request"),
        (0, "", "garbage\r\n\r\n", 400, "Bad request"),
        (0, "", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405, "Method not allowed"),
        (1, "", malformed, 400, "Bad request"),
        (2, "PROXY TCP4 192.0.2.7 192.0.2.1 5000 80\r\n", malformed, 400, "Bad request"),
        // After a good request on the same connection.
        (0, "GET /marker HTTP/1.1\r\nHost: a\r\n\r\n", malformed, 400, "Bad request"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut stream = connect(gateway.proxies[listener]);
        write!(stream, "{before}").unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        if before.starts_with("GET") {
            assert_eq!(read_answer(&mut reader).unwrap().status, 200);
        }
        write!(stream, "{request}").unwrap();
        let answer = read_answer(&mut reader).unwrap();
        assert_eq!(answer.status, status, "{request:?}");
        let id = answer.header("x-kong-request-id").unwrap();
        assert_eq!(answer.body, format!("{message}\nrequest_id: {id}\n"));
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert!(answer.header("server").unwrap().starts_with("portcullis/"));
        assert_eq!((answer.header("connection"), answer.header("cache-control")), (Some("close"), None));
        assert_eq!(reader.read(&mut [0]).unwrap_or(0), 0, "closed");
        eventually("it is logged", || {
            let log = crate::support::read(&place.path("access.log"));
            let line = log.lines().find(|line| line.contains(id)).map(str::to_owned);
            line.is_some_and(|line| {
                let from = if listener == 2 { "192.0.2.7" } else { "127.0.0.1" };
                line.contains(&format!("\"status\":{status}")) && line.contains(from)
            })
        });
        let counted = ["400", "405"].map(|code| {
            gateway.metric(&format!("portcullis_unmatched_requests_total{{code=\"{code}\"}} ")).unwrap_or(0.0)
        });
        assert_eq!(counted.iter().sum::<f64>(), number as f64 + 1.0);
    }
}

/// Whether a connection is served: it may be closed before or after the request is written.
fn served(stream: &mut std::net::TcpStream) -> bool {
    let sent = write!(stream, "GET /marker HTTP/1.1\r\nHost: a\r\n\r\n").is_ok();
    sent && read_answer(&mut BufReader::new(stream)).is_ok_and(|answer| answer.status == 200)
}

#[test]
fn connections_are_capped_in_all_and_for_each_client() {
    for (settings, cause) in [
        ([("MAX_CONNECTIONS", "3"), ("MAX_CONNECTIONS_PER_CLIENT", "0")], "connections"),
        ([("MAX_CONNECTIONS", "0"), ("MAX_CONNECTIONS_PER_CLIENT", "3")], "client_connections"),
    ] {
        let place = Place::new(&settings);
        let gateway = place.start();
        let mut connections: Vec<_> = (0..3).map(|_| connect(gateway.proxy())).collect();
        for stream in &mut connections {
            assert!(served(stream));
        }
        assert!(!served(&mut connect(gateway.proxy())), "{cause}");
        let shed = format!("portcullis_shed_total{{cause=\"{cause}\"}} ");
        assert_eq!(gateway.metric(&shed), Some(1.0));
        assert_eq!(gateway.metric("portcullis_connections "), Some(3.0));
        // One leaves, one may come.
        connections.pop();
        eventually("there is room again", || served(&mut connect(gateway.proxy())));
    }
}

#[test]
fn trusted_balancers_are_exempt_from_the_cap_for_clients() {
    let place = Place::new(&[("MAX_CONNECTIONS_PER_CLIENT", "1"), ("TRUSTED_IPS", "127.0.0.1")]);
    let gateway = place.start();
    let mut connections: Vec<_> = (0..5).map(|_| connect(gateway.proxy())).collect();
    assert!(connections.iter_mut().all(served));
}

#[test]
fn the_proxy_protocol_tells_the_client_and_is_required_where_it_is_set() {
    let place = Place::new(&[("PROXY_LISTEN", "127.0.0.1:0 proxy_protocol")]);
    let gateway = place.start();
    let ask = |header: &[u8]| {
        let mut stream = connect(gateway.proxy());
        stream.write_all(header).unwrap();
        write!(stream, "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
        read_answer(&mut BufReader::new(stream)).ok()
    };
    let answer = ask(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 80\r\n").unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.body.to_ascii_lowercase().contains("x-forwarded-for: 192.0.2.7"), "{}", answer.body);
    let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x09\xc0\0\x02\x01\x10\0\0\x50";
    assert!(ask(v2).unwrap().body.contains("192.0.2.9"));
    assert!(ask(b"").is_none(), "without the header the connection is closed");
    eventually("that is counted", || gateway.metric("portcullis_shed_total{cause=\"proxy_protocol\"} ") == Some(1.0));
}

#[test]
fn it_serves_again_after_running_out_of_descriptors() {
    let place = Place::new(&[("MAX_CONNECTIONS", "0"), ("MAX_CONNECTIONS_PER_CLIENT", "0")]);
    let direct = place.command(&["run"], "error.log");
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", "ulimit -n 64; exec \"$0\" run"]).arg(direct.get_program()).current_dir(place.directory.path());
    for (name, value) in direct.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let mut child = shell.spawn().unwrap();
    let log = || std::fs::read_to_string(place.path("error.log")).unwrap_or_default();
    eventually("it serves", || log().contains(" serving "));
    let log = log();
    let address = log.split("proxy listens on ").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    let flood: Vec<_> = (0..200).map(|_| connect(address)).collect();
    std::thread::sleep(Duration::from_millis(500));
    drop(flood);
    eventually("it serves again", || {
        crate::support::try_get(address, "/marker").is_ok_and(|(status, _)| status == 200)
    });
    child.kill().unwrap();
    child.wait().unwrap();
}
