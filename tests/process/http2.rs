//! HTTP/2 clients that keep to the letter of the protocol to wear the gateway out (SECURITY 1d). Frames are written by hand:
//! no client library sends them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::{Gateway, Place, connect, eventually};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET` of a path, as a header block without compression but for the static table.
fn block(path: &str) -> Vec<u8> {
    let text = |index: u8, value: &str| [&[index, u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    [vec![0x82, 0x86], text(0x04, path), text(0x01, "a")].concat()
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(path))
}

fn open(gateway: &Gateway) -> TcpStream {
    let mut stream = connect(gateway.proxy());
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).unwrap();
    stream
}

/// Reads frames until one is as wanted; `None` when the connection ends before.
fn until(stream: &mut TcpStream, mut wanted: impl FnMut(u8, u32, &[u8]) -> bool) -> Option<()> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).ok()?;
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if head[3] == SETTINGS && head[4] == 0 {
            stream.write_all(&frame(SETTINGS, 1, 0, &[])).ok()?;
        }
        if wanted(head[3], id, &payload) {
            return Some(());
        }
    }
}

/// Whether a stream is answered 200 (`:status 200` is one byte of the static table).
fn answered(stream: &mut TcpStream, id: u32) -> bool {
    let mut status = None;
    until(stream, |kind, of, payload| {
        if kind == HEADERS && of == id {
            status = payload.first().copied();
        }
        status.is_some()
    });
    status == Some(0x88)
}

#[test]
fn a_dribbled_header_block_is_cut_and_others_are_served_beside_it() {
    let place = Place::new(&[("PROXY_LISTEN", "127.0.0.1:0 http2"), ("CLIENT_HEADER_TIMEOUT", "1s")]);
    let gateway = place.start();
    let block = block("/marker");
    // Within the preface, the head of a frame, a HEADERS frame, CONTINUATIONs, and in all of these after a complete request.
    let beginnings = [
        PREFACE[..12].to_vec(),
        [PREFACE, &frame(SETTINGS, 0, 0, &[]), &get(1, "/marker")[..4]].concat(),
        [PREFACE, &frame(SETTINGS, 0, 0, &[]), &get(1, "/marker")[..14]].concat(),
        [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, END_STREAM, 1, &block[..4])].concat(),
        [PREFACE, &frame(SETTINGS, 0, 0, &[]), &get(1, "/marker"), &frame(HEADERS, END_STREAM, 3, &block[..4])]
            .concat(),
    ];
    let mut slow: Vec<TcpStream> = beginnings.iter().map(|_| connect(gateway.proxy())).collect();
    for (stream, beginning) in slow.iter_mut().zip(&beginnings) {
        stream.write_all(beginning).unwrap();
    }
    let start = Instant::now();
    let (mut cut, mut round) = (0, 0);
    while cut < slow.len() && start.elapsed() < Duration::from_secs(20) {
        // An empty CONTINUATION now and then looks alive, and never ends. More of them would be too many.
        for (number, stream) in slow.iter_mut().enumerate().skip(3).filter(|_| round % 4 == 0) {
            let _ = stream.write_all(&frame(CONTINUATION, 0, if number == 3 { 1 } else { 3 }, &[]));
        }
        let mut good = open(&gateway);
        good.write_all(&get(1, "/marker")).unwrap();
        assert!(answered(&mut good, 1), "a good client beside slow ones");
        cut = slow.iter_mut().map(ended).filter(|ended| *ended).count();
        round += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(cut, slow.len(), "after {:?}", start.elapsed());
    assert!(start.elapsed() >= Duration::from_millis(800), "{:?}", start.elapsed());
    eventually("they are counted", || gateway.metric("portcullis_shed_total{cause=\"header_timeout\"} ") == Some(5.0));
    // The control: silence between requests is not slowness.
    let mut patient = open(&gateway);
    for id in [1, 3] {
        patient.write_all(&get(id, "/marker")).unwrap();
        assert!(answered(&mut patient, id));
        std::thread::sleep(Duration::from_millis(1500));
    }
}

/// Whether the gateway has closed a connection; what it sent is read.
fn ended(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

/// CVE-2023-44487: streams that are opened and reset at once cost a service nothing worth having, and end the connection.
#[test]
fn rapid_resets_end_the_connection_and_do_not_hold_others_up() {
    let place = Place::new(&[("PROXY_LISTEN", "127.0.0.1:0 http2")]);
    let gateway = place.start();
    let mut attacker = open(&gateway);
    attacker.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut broken = false;
    for round in 0..200_u32 {
        let burst: Vec<u8> = (0..100)
            .flat_map(|n| {
                let id = (round * 100 + n) * 2 + 1;
                [get(id, "/echo/slow/1000"), frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())].concat()
            })
            .collect();
        if attacker.write_all(&burst).is_err() {
            broken = true;
            break;
        }
    }
    let told = until(&mut attacker, |kind, _, _| kind == GOAWAY).is_some();
    assert!(broken || told, "20,000 resets on one connection");
    let mut good = open(&gateway);
    let start = Instant::now();
    good.write_all(&get(1, "/echo")).unwrap();
    assert!(answered(&mut good, 1) && start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // As many as may be in flight at once, and some for those that were being reset: not one for each stream.
    eventually("what it began has ended", || gateway.metric("portcullis_connections ") == Some(1.0));
    let served = served(&gateway);
    assert!(served < 5_000.0, "{served} of 20,000 reached a service");
}

/// How many requests went to a service.
fn served(gateway: &Gateway) -> f64 {
    let text = gateway.metrics();
    let counts = text.lines().filter(|line| line.starts_with("kong_http_requests_total{service=\"echo\""));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// RUSTSEC-2024-0332: a header block without end is cut off by its size, not kept.
#[test]
fn a_flood_of_continuations_ends_the_connection() {
    let place = Place::new(&[("PROXY_LISTEN", "127.0.0.1:0 http2")]);
    let gateway = place.start();
    let mut attacker = open(&gateway);
    attacker.write_all(&frame(HEADERS, END_STREAM, 1, &block("/marker"))).unwrap();
    attacker.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    // A literal header field that is not indexed: `x: yyyy…`.
    let field = [&[0, 1, b'x', 127, 0x80, 0x7e][..], &[b'y'; 16_255]].concat();
    let start = Instant::now();
    let mut sent = 0;
    while attacker.write_all(&frame(CONTINUATION, 0, 1, &field)).is_ok() && start.elapsed() < Duration::from_secs(8) {
        sent += field.len();
    }
    assert!(sent < 64 << 20, "{sent} bytes of one header block were taken");
    assert!(start.elapsed() < Duration::from_secs(8), "by its size, before its time");
    let mut good = open(&gateway);
    good.write_all(&get(1, "/marker")).unwrap();
    assert!(answered(&mut good, 1));
}

#[test]
fn streams_beyond_the_limit_are_refused_and_the_rest_is_served() {
    let place = Place::new(&[("PROXY_LISTEN", "127.0.0.1:0 http2"), ("HTTP2_MAX_CONCURRENT_STREAMS", "5")]);
    let gateway = place.start();
    let mut client = open(&gateway);
    let mut limit = None;
    until(&mut client, |kind, _, payload| {
        if kind == SETTINGS {
            limit = payload.chunks(6).find(|setting| setting[..2] == [0, 3]).map(|setting| setting[5]);
        }
        limit.is_some()
    });
    assert_eq!(limit, Some(5), "it is announced");
    let all: Vec<u8> = (0..20).flat_map(|n| get(n * 2 + 1, "/echo/slow/300")).collect();
    client.write_all(&all).unwrap();
    let (mut good, mut refused) = (0, 0);
    until(&mut client, |kind, _, payload| {
        good += u32::from(kind == HEADERS && payload.first() == Some(&0x88));
        refused += u32::from(kind == RST_STREAM && payload == 7_u32.to_be_bytes());
        good + refused == 20
    });
    assert_eq!((good, refused), (5, 15), "REFUSED_STREAM may be sent again");
    client.write_all(&get(101, "/marker")).unwrap();
    assert!(answered(&mut client, 101), "the connection is as good as before");
}

/// What cannot be read in two ways reaches no service.
#[test]
fn malformed_requests_are_refused_and_the_next_one_is_served() {
    let place = Place::new(&[("PROXY_LISTEN", "127.0.0.1:0 http2")]);
    let gateway = place.start();
    let literal = |name: &str, value: &str| {
        let length = |text: &str| u8::try_from(text.len()).unwrap();
        [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
    };
    let good = block("/echo");
    let without_path = [&[0x82, 0x86][..], &literal(":authority", "a")].concat();
    for (what, block) in [
        ("a name in capitals", [good.clone(), literal("X-Upper", "1")].concat()),
        ("Connection", [good.clone(), literal("connection", "close")].concat()),
        ("Transfer-Encoding", [good.clone(), literal("transfer-encoding", "chunked")].concat()),
        ("a line break in a value", [good.clone(), literal("x", "a\r\nX-Consumer-Id: 1")].concat()),
        ("a NUL in a value", [good.clone(), literal("x", "a\0b")].concat()),
        ("a space in a name", [good.clone(), literal("x y", "a")].concat()),
        ("no path", without_path.clone()),
        ("a path that is none", [without_path.clone(), literal(":path", "echo")].concat()),
        ("a path with a space", [without_path.clone(), literal(":path", "/echo x")].concat()),
        ("a path with a line break", [without_path, literal(":path", "/echo HTTP/1.1\r\nX: ")].concat()),
        ("a pseudo header at the end", [good.clone(), literal("x", "1"), literal(":path", "/echo")].concat()),
        ("two authorities", [good.clone(), literal("host", "b")].concat()),
        ("a length that is not the body's", [good.clone(), literal("content-length", "3")].concat()),
    ] {
        let mut client = open(&gateway);
        client.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).unwrap();
        client.write_all(&frame(PING, 0, 0, &[0; 8])).unwrap();
        let mut accepted = false;
        until(&mut client, |kind, id, payload| {
            accepted |= kind == HEADERS && id == 1 && payload.first() == Some(&0x88);
            (id == 1 && matches!(kind, RST_STREAM | HEADERS | DATA)) || kind == GOAWAY
        });
        assert!(!accepted, "{what}");
        let mut next = open(&gateway);
        next.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &good)).unwrap();
        assert!(answered(&mut next, 1), "control, after {what}");
    }
    assert_eq!(served(&gateway), 13.0, "the controls alone");
}
