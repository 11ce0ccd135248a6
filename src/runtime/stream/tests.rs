use tokio::io::AsyncReadExt;

use super::*;
use crate::telemetry::{Metrics, Shed};

#[test]
fn the_end_of_a_header_is_found_however_it_is_cut() {
    for (text, end) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("GET / HTTP/1.1\nHost: a\n\n", true),
        ("GET / HTTP/1.1\r\nHost: a\n\r\nbody", true),
        ("POST / HTTP/1.1\r\n\r\nbody\r\nmore", true),
        ("GET / HTTP/1.1\r\nHost: a\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rX\n", false),
        ("GET / HTTP/1.1\r\n\r\r\n", false),
        ("\r\r\r\r", false),
        ("\r\n\r\nGET / HTTP/1.1\r\n", false),
        ("\r\n\n\n\r\nG\r\n\r\n", true),
    ] {
        let whole = EndOfHeader::default().found(text.as_bytes());
        assert_eq!(whole, end, "{text:?}");
        for cut in 0..text.len() {
            let (one, two) = text.as_bytes().split_at(cut);
            let mut seen = EndOfHeader::default();
            let found = seen.found(one) || seen.found(two);
            assert_eq!(found, end, "{text:?} cut at {cut}");
        }
        let mut seen = EndOfHeader::default();
        let bytewise = text.bytes().any(|byte| seen.found(&[byte]));
        assert_eq!(bytewise, end, "{text:?} byte by byte");
    }
}

fn guarded() -> (tokio::io::DuplexStream, Guarded<tokio::io::DuplexStream>, Arc<Phase>, Arc<Metrics>) {
    let (client, server) = tokio::io::duplex(4096);
    let metrics = Arc::new(Metrics::default());
    let phase = Phase::first(Duration::from_secs(10), metrics.clone());
    (client, Guarded::new(server, phase.clone()), phase, metrics)
}

#[tokio::test(start_paused = true)]
async fn a_dribbled_header_is_cut_at_the_deadline_and_told() {
    let (mut client, mut server, _phase, metrics) = guarded();
    let dribble = tokio::spawn(async move {
        loop {
            if client.write_all(b"a").await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let mut told = String::new();
        let _ = client.read_to_string(&mut told).await;
        told
    });
    let start = Instant::now();
    let mut buf = [0; 64];
    let error = loop {
        match server.read(&mut buf).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(metrics.shed_count(Shed::HeaderTimeout), 1);
    drop(server);
    assert!(dribble.await.unwrap().starts_with("HTTP/1.1 408"));
}

#[tokio::test(start_paused = true)]
async fn bodies_and_idle_connections_have_no_header_deadline_and_the_next_header_has() {
    let (mut client, mut server, phase, metrics) = guarded();
    let mut buf = [0; 64];
    client.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(server.read(&mut buf).await.unwrap() > 0);
    tokio::time::sleep(Duration::from_secs(60)).await;
    client.write_all(b"body").await.unwrap();
    assert!(server.read(&mut buf).await.unwrap() > 0);
    phase.next_request();
    assert!(tokio::time::timeout(Duration::from_secs(60), server.read(&mut buf)).await.is_err(), "idle is not slow");
    client.write_all(b"GET").await.unwrap();
    assert!(server.read(&mut buf).await.unwrap() > 0);
    let start = Instant::now();
    assert!(server.read(&mut buf).await.is_err());
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(metrics.shed_count(Shed::HeaderTimeout), 1);
}

#[tokio::test]
async fn a_preface_is_told_from_a_request_and_nothing_is_lost() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for (sent, is) in [(PREFACE, true), (b"POST / HTTP/1.1\r\n\r\n", false), (b"P", false)] {
        let (mut client, mut server, ..) = guarded();
        client.write_all(sent).await.unwrap();
        drop(client);
        assert_eq!(server.starts_with(PREFACE).await.unwrap(), is);
        let mut head = [0; PREFACE.len()];
        assert_eq!(server.try_peek(&mut head).await.unwrap(), is);
        let mut all = Vec::new();
        server.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, sent);
    }
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

#[test]
fn header_blocks_are_told_from_other_frames_however_they_are_cut() {
    let (headers, continuation, data, settings) = (1, 9, 0, 4);
    for (frames, under_way) in [
        (vec![], false),
        (vec![frame(settings, 0, &[])], false),
        (vec![frame(settings, 0, &[0; 6]), frame(headers, 4, b"block")], false),
        (vec![frame(headers, 4, b"")], false),
        (vec![frame(headers, 0, b"block")], true),
        (vec![frame(headers, 0, b""), frame(continuation, 0, b"more")], true),
        (vec![frame(headers, 0, b"block"), frame(continuation, 4, b"end")], false),
        (vec![frame(headers, 4, b"block"), frame(data, 0, &[b'x'; 300])], false),
        (vec![frame(headers, 4, b"block"), frame(data, 4, b"x")[..9].to_vec()], false),
        (vec![frame(headers, 4, b"block")[..12].to_vec()], true),
        (vec![frame(data, 0, b"x")[..4].to_vec()], true),
    ] {
        let all = [&[0; 24][..], &frames.concat()].concat();
        for step in [1, 7, 9, 33, all.len()] {
            let mut blocks = HeaderBlocks::new();
            assert!(blocks.under_way(), "the preface");
            for part in all.chunks(step) {
                blocks.take(part);
            }
            assert_eq!(blocks.under_way(), under_way, "{frames:?} by {step}");
        }
    }
    let mut blocks = HeaderBlocks::new();
    assert!(blocks.take(&[&[0; 24][..], &frame(headers, 0, b"one")].concat()), "the preface ended");
    assert!(!blocks.take(&frame(continuation, 0, b"more")));
    let end_and_next = [frame(continuation, 4, b"end"), frame(headers, 0, b"two")].concat();
    assert!(blocks.take(&end_and_next) && blocks.under_way(), "one ended, another has a deadline of its own");
}

#[tokio::test(start_paused = true)]
async fn http2_header_blocks_are_held_to_the_deadline_and_nothing_else_is() {
    let (mut client, mut server, _phase, metrics) = guarded();
    server.speaks_http2();
    let mut buf = [0; 512];
    client.write_all(&[&[0; 24][..], &frame(1, 4, b"block")].concat()).await.unwrap();
    assert!(server.read(&mut buf).await.unwrap() > 0);
    assert!(tokio::time::timeout(Duration::from_secs(60), server.read(&mut buf)).await.is_err(), "idle is not slow");
    // A body may take its time, other limits are for that.
    client.write_all(&frame(0, 0, b"body")[..10]).await.unwrap();
    assert!(server.read(&mut buf).await.unwrap() > 0);
    assert!(tokio::time::timeout(Duration::from_secs(60), server.read(&mut buf)).await.is_err());
    client.write_all(&[&b"ody"[..], &frame(1, 0, b"block")].concat()).await.unwrap();
    assert!(server.read(&mut buf).await.unwrap() > 0);
    let start = Instant::now();
    let endless = tokio::spawn(async move {
        while client.write_all(&frame(9, 0, b"x")).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    while server.read(&mut buf).await.is_ok() {}
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(metrics.shed_count(Shed::HeaderTimeout), 1);
    drop(server);
    endless.await.unwrap();
}
