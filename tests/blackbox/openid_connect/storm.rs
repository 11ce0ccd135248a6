//! Tokens with made-up key ids, as fast as they come: SECURITY 1d (refresh storm).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::json;

use super::support::Guarded;
use crate::blackbox::support::http;
use crate::blackbox::support::idp::{Idp, jwk, new_key};

#[test]
fn made_up_key_ids_cost_one_fetch_a_cooldown() {
    let idp = Idp::start();
    let guarded = Guarded::one(&idp, json!({"rediscovery_lifetime": 2}));
    let good = idp.token(json!({}));
    assert_eq!(guarded.status(0, &good), 200, "control");
    let before = idp.hits("/jwks");
    let evil = new_key();
    let (over, bad, through) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (over, bad, through, idp, guarded, evil) = (&over, &bad, &through, &idp, &guarded, &evil);
            scope.spawn(move || {
                let mut stream = guarded.gateway.endpoint().connect();
                while !over.load(Relaxed) {
                    let kid = format!("{thread}-{}", bad.fetch_add(1, Relaxed));
                    let token = idp.token_by(evil, json!({"kid": kid}), json!({}));
                    let request = format!("GET /0/ HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
                    let answer = http::exchange(&mut *stream, &request);
                    if answer.status != 401 {
                        through.fetch_add(1, Relaxed);
                    }
                }
            });
        }
        while began.elapsed() < Duration::from_secs(5) {
            assert_eq!(guarded.status(0, &good), 200, "good tokens pass all the while");
        }
        over.store(true, Relaxed);
    });
    let (fetches, cooldowns) = (idp.hits("/jwks") - before, began.elapsed().as_secs_f64() / 2.0);
    assert_eq!(through.load(Relaxed), 0);
    assert!(bad.load(Relaxed) > 200, "a storm: {}", bad.load(Relaxed));
    assert!(fetches >= 1 && fetches as f64 <= cooldowns + 1.0, "{fetches} fetches in {cooldowns} cooldowns");
    // And when it is over, a new key is found.
    std::thread::sleep(Duration::from_millis(2100));
    let two = new_key();
    idp.publish(&[jwk(&two, "two")]);
    assert_eq!(guarded.status(0, &idp.token_by(&two, json!({"kid": "two"}), json!({}))), 200, "control");
}
