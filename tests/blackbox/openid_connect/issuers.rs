//! Whose tokens are taken: SECURITY 1b (mix-up of issuers) and 1d (documents, keys named by tokens).

use serde_json::{Value, json};

use super::support::{Guarded, bearer};
use crate::blackbox::support::idp::{Idp, jwk, new_key};

#[test]
fn an_issuer_is_its_exact_name() {
    let idp = Idp::start();
    let guarded = Guarded::one(&idp, json!({}));
    assert_eq!(guarded.status(0, &idp.token(json!({}))), 200, "control");
    let issuer = &idp.issuer;
    for bad in [
        json!(format!("{issuer}/")),
        json!(issuer.to_uppercase()),
        json!(format!(" {issuer}")),
        json!(format!("{issuer}\u{0}")),
        json!(issuer.replace("realm", "re\u{430}lm")),
        json!(""),
        json!([issuer]),
        json!({"iss": issuer}),
        json!(1),
        json!(true),
        Value::Null,
    ] {
        let answer = guarded.status(0, &idp.token(json!({"iss": bad})));
        assert_eq!(answer, 401, "{bad}");
    }
    assert_eq!(guarded.echo.take_all().len(), 1, "only the control reached the service");
}

/// The same key id at both; a token is good with its issuer's key alone.
#[test]
fn issuers_that_share_a_kid_are_kept_apart() {
    let (one, two) = (Idp::start(), Idp::start());
    let both = json!({"issuers_allowed": [one.issuer, two.issuer]});
    let guarded = Guarded::start(&[bearer(&one, both), bearer(&one, json!({})), bearer(&two, json!({}))]);
    let (by_one, by_two) = (one.token(json!({})), two.token(json!({})));
    for (route, good_one, good_two) in [(0, 200, 200), (1, 200, 401), (2, 401, 200)] {
        assert_eq!((guarded.status(route, &by_one), guarded.status(route, &by_two)), (good_one, good_two), "{route}");
        // Signed by one, in the name of the other.
        assert_eq!(guarded.status(route, &one.token(json!({"iss": two.issuer}))), 401, "{route}");
        assert_eq!(guarded.status(route, &two.token(json!({"iss": one.issuer}))), 401, "{route}");
    }
}

#[test]
fn a_document_must_be_the_issuers_own() {
    let (idp, other) = (Idp::start(), Idp::start());
    idp.document(json!({"issuer": other.issuer}));
    let guarded = Guarded::start(&[bearer(&idp, json!({})), bearer(&other, json!({}))]);
    assert_eq!(guarded.status(1, &other.token(json!({}))), 200, "control");
    assert_eq!(guarded.status(0, &idp.token(json!({}))), 401);
    assert_eq!(guarded.status(0, &idp.token(json!({"iss": other.issuer}))), 401, "nor may it speak for another");
    assert_eq!(idp.hits("/jwks"), 0, "its keys are not even asked for");
}

#[test]
fn a_key_that_a_token_brings_or_names_is_not_used() {
    let (idp, evil) = (Idp::start(), Idp::start());
    let guarded = Guarded::one(&idp, json!({}));
    let own = new_key();
    evil.publish(&[jwk(&own, "one")]);
    let jwks = format!("{}/jwks", evil.issuer);
    assert_eq!(guarded.status(0, &idp.token(json!({}))), 200, "control");
    for header in [
        json!({"kid": "one", "jku": jwks}),
        json!({"kid": "one", "x5u": jwks}),
        json!({"kid": jwks}),
        json!({"kid": "one", "jwk": jwk(&own, "one")}),
        json!({"kid": "../one"}),
        json!({"kid": ["one"]}),
        json!({"kid": 1}),
    ] {
        assert_eq!(guarded.status(0, &idp.token_by(&own, header.clone(), json!({}))), 401, "{header}");
    }
    assert_eq!(evil.hits("/jwks"), 0, "nothing was called");
}

#[test]
fn redirects_are_not_followed() {
    let (idp, moved) = (Idp::start(), Idp::start());
    let well_known = "/.well-known/openid-configuration";
    idp.answer(well_known, 302, &format!("Location: {}{well_known}", moved.issuer), b"");
    let keys = Idp::start();
    keys.answer("/jwks", 307, &format!("Location: {}/jwks", moved.issuer), b"");
    let guarded = Guarded::start(&[bearer(&idp, json!({})), bearer(&keys, json!({})), bearer(&moved, json!({}))]);
    assert_eq!(guarded.status(2, &moved.token(json!({}))), 200, "control");
    let before = moved.hits(well_known) + moved.hits("/jwks");
    assert_eq!(guarded.status(0, &idp.token(json!({}))), 401);
    assert_eq!(guarded.status(1, &keys.token(json!({}))), 401);
    assert_eq!(moved.hits(well_known) + moved.hits("/jwks"), before);
}
