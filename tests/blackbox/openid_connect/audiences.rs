//! Whom a token is for, and what kind of token it is: SECURITY 1a (kinds) and 1b (audiences).

use serde_json::{Value, json};

use super::support::Guarded;
use crate::blackbox::support::idp::{Idp, now};

#[test]
fn a_required_audience_is_one_of_the_tokens() {
    let idp = Idp::start();
    let guarded = Guarded::one(&idp, json!({"audience_required": ["api"]}));
    for (audience, status) in [
        (json!("api"), 200),
        (json!(["other", "api"]), 200),
        (json!("ap"), 403),
        (json!("api2"), 403),
        (json!("API"), 403),
        (json!(["apis", "ap"]), 403),
        (json!({"api": true}), 403),
        (json!([["api"]]), 403),
        (json!(""), 403),
        (json!([]), 403),
        (Value::Null, 403),
    ] {
        assert_eq!(guarded.status(0, &idp.token(json!({"aud": audience}))), status, "{audience}");
    }
}

#[test]
fn other_kinds_of_token_are_no_access_tokens() {
    let idp = Idp::start();
    let guarded = Guarded::one(&idp, json!({}));
    let key = idp.key();
    for (typ, claims, status) in [
        (Value::Null, json!({}), 200),
        (json!("JWT"), json!({"typ": "Bearer"}), 200),
        (json!("at+jwt"), json!({}), 200),
        (json!("application/at+jwt"), json!({}), 200),
        (json!("dpop+jwt"), json!({}), 401),
        (json!("logout+jwt"), json!({}), 401),
        (json!("token-introspection+jwt"), json!({}), 401),
        (json!("JWT"), json!({"typ": "ID"}), 401),
        (json!("JWT"), json!({"typ": "Refresh"}), 401),
        (json!("JWT"), json!({"at_hash": "x"}), 401),
        (json!("JWT"), json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}), 401),
        (json!(["JWT"]), json!({}), 401),
    ] {
        let mut header = json!({"kid": "one"});
        if !typ.is_null() {
            header["typ"] = typ.clone();
        }
        assert_eq!(guarded.status(0, &idp.token_by(key, header, claims.clone())), status, "{typ} {claims}");
    }
}

#[test]
fn times_of_a_wrong_type_are_no_times() {
    let idp = Idp::start();
    let guarded = Guarded::one(&idp, json!({}));
    assert_eq!(guarded.status(0, &idp.token(json!({"exp": now() + 60, "nbf": now() - 1}))), 200, "control");
    let soon = (now() + 60).to_string();
    for claims in [
        json!({"exp": null}),
        json!({"exp": soon}),
        json!({"exp": true}),
        json!({"exp": [now() + 60]}),
        json!({"exp": now() - 1}),
        json!({"exp": -1}),
        json!({"nbf": now() + 60}),
        json!({"nbf": "0"}),
        json!({"nbf": [0]}),
        json!({"iat": now() + 60}),
    ] {
        assert_eq!(guarded.status(0, &idp.token(claims.clone())), 401, "{claims}");
    }
}
