//! Providers that change their keys: no good token is refused, and a withdrawn key ends.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::json;

use super::support::Guarded;
use crate::blackbox::support::idp::{Idp, jwk, new_key};

#[test]
fn a_new_key_works_at_once_and_a_withdrawn_one_ends_at_the_next_refresh() {
    let idp = Idp::start();
    // The shortest time that is honoured, so that a refresh comes without being asked for.
    idp.answer(
        "/jwks",
        200,
        "Content-Type: application/json\r\nCache-Control: max-age=1",
        json!({"keys": [jwk(idp.key(), "one")]}).to_string().as_bytes(),
    );
    let guarded = Guarded::one(&idp, json!({"rediscovery_lifetime": 600}));
    let old = idp.token(json!({}));
    assert_eq!(guarded.status(0, &old), 200, "control");
    let two = new_key();
    idp.publish(&[jwk(idp.key(), "one"), jwk(&two, "two")]);
    let new = idp.token_by(&two, json!({"kid": "two"}), json!({}));
    let began = Instant::now();
    assert_eq!(guarded.status(0, &new), 200);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(guarded.status(0, &old), 200, "both are published");
    // That fetch brought what it was asked for: another change is not made to wait for the cooldown.
    let three = new_key();
    idp.publish(&[jwk(&three, "three")]);
    assert_eq!(guarded.status(0, &idp.token_by(&three, json!({"kid": "three"}), json!({}))), 200);
    assert_eq!(guarded.status(0, &old), 401, "withdrawn");
    assert_eq!(guarded.status(0, &new), 401, "withdrawn");
    assert_eq!(guarded.status(0, &idp.token_by(&three, json!({"kid": "three"}), json!({"n": 1}))), 200);
}

/// Without any token that asks for it.
#[test]
fn a_withdrawn_key_ends_in_the_background_too() {
    let idp = Idp::start();
    let short = "Content-Type: application/json\r\nCache-Control: max-age=1";
    let keys = |keys: &[serde_json::Value]| json!({"keys": keys}).to_string().into_bytes();
    idp.answer("/jwks", 200, short, &keys(&[jwk(idp.key(), "one")]));
    let guarded = Guarded::one(&idp, json!({}));
    let old = idp.token(json!({}));
    assert_eq!(guarded.status(0, &old), 200, "control");
    idp.answer("/jwks", 200, short, &keys(&[jwk(&new_key(), "two")]));
    let began = Instant::now();
    while guarded.status(0, &old) == 200 {
        assert!(began.elapsed() < Duration::from_secs(20), "ten seconds are the shortest life");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(idp.hits("/jwks") <= 3, "{}", idp.hits("/jwks"));
}

/// A slow provider rotates while clients come and come: not one of them is refused.
#[test]
fn rotation_under_load_refuses_nobody() {
    let idp = Idp::start();
    let guarded = Guarded::one(&idp, json!({}));
    assert_eq!(guarded.status(0, &idp.token(json!({}))), 200, "control");
    idp.delay(500);
    let current = std::sync::Mutex::new(idp.token(json!({})));
    let (over, sent, refused) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    let token = current.lock().unwrap().clone();
                    sent.fetch_add(1, Relaxed);
                    if guarded.status(0, &token) != 200 {
                        refused.fetch_add(1, Relaxed);
                    }
                }
            });
        }
        let mut keys = vec![jwk(idp.key(), "one")];
        for number in 0..3 {
            std::thread::sleep(Duration::from_millis(700));
            let key = new_key();
            let kid = format!("rotated-{number}");
            // As providers do: published first, then used; the old one stays for a while.
            keys.insert(0, jwk(&key, &kid));
            keys.truncate(2);
            idp.publish(&keys);
            *current.lock().unwrap() = idp.token_by(&key, json!({"kid": kid}), json!({}));
        }
        std::thread::sleep(Duration::from_millis(700));
        over.store(true, Relaxed);
    });
    assert_eq!(refused.load(Relaxed), 0, "of {}", sent.load(Relaxed));
    assert!(sent.load(Relaxed) > 50, "{}", sent.load(Relaxed));
}

#[test]
fn known_keys_stay_while_the_provider_is_away() {
    let idp = Idp::start();
    let guarded = Guarded::one(&idp, json!({"rediscovery_lifetime": 1}));
    let good = idp.token(json!({}));
    assert_eq!(guarded.status(0, &good), 200, "control");
    idp.fail();
    for number in 0..3 {
        std::thread::sleep(Duration::from_millis(1100));
        let unknown = idp.token_by(&new_key(), json!({"kid": format!("x{number}")}), json!({}));
        assert_eq!(guarded.status(0, &unknown), 401, "fails closed");
        assert_eq!(guarded.status(0, &idp.token(json!({"n": number}))), 200);
    }
    assert!(idp.hits("/jwks") > 1, "it was asked for");
}
