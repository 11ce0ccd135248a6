//! The gateway's own clients at the provider, refresh tokens, and signed answers.

use serde_json::{Value, json};

use super::super::testing::*;
use super::set;
use crate::auth::testing::{NOW, Sent, caller, get};
use crate::jose::SigningKey;

#[tokio::test]
async fn refresh_tokens_of_clients_are_exchanged() {
    let idp = Idp::start().await;
    let config = json!({ "auth_methods": ["refresh_token"], "client_id": ["app"], "client_secret": ["s3"],
        "client_auth": ["client_secret_post"], "refresh_token_param_name": "x_refresh", "hide_credentials": true,
        "downstream_refresh_token_header": "x-refresh", "upstream_refresh_token_header": "x-up" });
    let plugin = idp.plugin(config.clone());
    let access = idp.token(json!({}));
    let answer =
        |refresh: Value| json!({ "access_token": access, "expires_in": 60, "refresh_token": refresh }).to_string();
    idp.answers("/token", 200, &answer("next".into()));
    for sent in [
        get().header("x_refresh", "first"),
        get().query("a=1&x_refresh=second"),
        get().body("application/x-www-form-urlencoded", "x_refresh=third&a=1"),
    ] {
        let (state, outcome) = send(&plugin, &sent).await;
        assert!(outcome.is_ok());
        assert_eq!(caller(&state), "-/alice-sub");
        assert_eq!(set(&state, "authorization"), [format!("Bearer {access}")]);
        assert_eq!(set(&state, "x-up"), ["next"]);
        assert_eq!(
            state.headers.response.iter().map(|(_, value)| value.to_str().unwrap()).collect::<Vec<_>>(),
            ["next"]
        );
        let hidden = state.query.as_deref() == Some("a=1")
            || state.body.as_deref() == Some(&b"a=1"[..])
            || state.headers.remove.iter().any(|name| name == "x_refresh");
        assert!(hidden, "{:?}", state.headers.remove);
    }
    assert_eq!(idp.last("/token").1, "grant_type=refresh_token&refresh_token=third&client_id=app&client_secret=s3");
    assert_eq!(idp.hits("/token"), 3);
    assert_eq!(told(&plugin, &get().header("x_refresh", "first")).await, "ok");
    assert_eq!(idp.hits("/token"), 3, "kept");
    idp.answers("/token", 400, r#"{"error":"invalid_grant"}"#);
    assert_eq!(told(&plugin, &get().header("x_refresh", "spent")).await, "401 credential_unknown");
    let mut unnamed = config;
    unnamed["refresh_token_param_name"] = Value::Null;
    assert_eq!(told(&idp.plugin(unnamed), &get().header("refresh_token", "first")).await, "401 no_token");
}

#[tokio::test]
async fn a_request_may_pick_one_of_several_clients() {
    let idp = Idp::start().await;
    idp.answers("/token", 200, &json!({ "access_token": "opaque", "expires_in": 60 }).to_string());
    let config = json!({ "auth_methods": ["password"], "client_id": ["one", "two"], "client_secret": ["s1", "s2"],
        "client_auth": ["client_secret_post", "client_secret_post"] });
    let plugin = idp.plugin(config.clone());
    let who = |sent: Sent| {
        let (plugin, idp) = (&plugin, &idp);
        async move {
            assert_eq!(told(plugin, &sent).await, "ok");
            idp.last("/token").1.split("client_id=").nth(1).unwrap().to_owned()
        }
    };
    // Another password each time, so that nothing is kept.
    let sent = |name: &str| super::basic(&format!("{name}:{}", uuid::Uuid::new_v4()));
    assert_eq!(who(sent("a")).await, "one&client_secret=s1");
    assert_eq!(who(sent("b").header("x-client-id", "two")).await, "two&client_secret=s2");
    assert_eq!(who(sent("c").header("client-id", "2")).await, "two&client_secret=s2");
    assert_eq!(who(sent("d").query("client_id=two")).await, "two&client_secret=s2");
    for other in ["3", "0", "-1", "three", "99999999999999999999"] {
        assert_eq!(who(sent("e").header("x-client-id", other)).await, "one&client_secret=s1", "{other}");
    }
    // What one client was told is not for the other.
    idp.answers("/token", 401, "{}");
    let kept = super::basic("f:same");
    assert_eq!(told(&plugin, &kept).await, "401 credential_unknown");
    idp.answers("/token", 200, &json!({ "access_token": "opaque", "expires_in": 60 }).to_string());
    assert_eq!(told(&plugin, &kept).await, "ok");
    idp.answers("/token", 401, "{}");
    assert_eq!(told(&plugin, &kept).await, "ok");
    assert_eq!(told(&plugin, &kept.header("x-client-id", "two")).await, "401 credential_unknown");
}

#[tokio::test]
async fn providers_are_called_in_the_wanted_version() {
    let idp = Idp::start().await;
    for (version, called) in [(1.1, http::Version::HTTP_11), (1.0, http::Version::HTTP_10)] {
        let plugin = idp.plugin(json!({ "http_version": version }));
        assert_eq!(told(&plugin, &get().bearer(&idp.token(json!({})))).await, "ok");
        assert_eq!(*idp.world.version.lock(), called);
    }
}

/// RFC 9701: nothing of an answer counts that the issuer has not signed for this client.
#[tokio::test]
async fn introspection_answers_may_be_signed() {
    let idp = Idp::start().await;
    let config = json!({ "auth_methods": ["introspection"], "client_id": ["app"], "client_secret": ["s3"],
        "introspection_accept": "application/token-introspection+jwt", "cache_ttl_neg": 0 });
    let plugin = idp.plugin(config.clone());
    let answer = |key: &SigningKey, typ: &str, changes: Value| {
        let mut claims = json!({ "iss": idp.issuer, "aud": "app", "iat": NOW,
            "token_introspection": { "active": true, "sub": "bob", "exp": NOW + 60 } });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let header = json!({ "typ": typ, "kid": "one" });
        key.sign(header.as_object().unwrap(), claims.as_object().unwrap()).unwrap()
    };
    let typ = "token-introspection+jwt";
    let inactive = json!({ "token_introspection": { "active": false } });
    for (number, (text, expected)) in [
        (answer(&idp.key, typ, json!({})), "ok"),
        (answer(&idp.key, typ, json!({ "aud": ["x", "app"] })), "ok"),
        (answer(&idp.key, typ, inactive), "401 opaque_unknown"),
        (answer(&idp.key, "JWT", json!({})), "401 idp_error"),
        (answer(&new_key(), typ, json!({})), "401 idp_error"),
        (answer(&idp.key, typ, json!({ "aud": "other" })), "401 idp_error"),
        (answer(&idp.key, typ, json!({ "aud": null })), "401 idp_error"),
        (answer(&idp.key, typ, json!({ "iss": "https://evil.example" })), "401 idp_error"),
        (answer(&idp.key, typ, json!({ "iat": NOW + 60 })), "401 idp_error"),
        (answer(&idp.key, typ, json!({ "token_introspection": true })), "401 idp_error"),
        ("not a JWT".to_owned(), "401 idp_error"),
    ]
    .into_iter()
    .enumerate()
    {
        idp.answers_as("/introspect", "application/token-introspection+jwt", &text);
        assert_eq!(told(&plugin, &get().bearer(&format!("opaque-{number}"))).await, expected, "{number}");
    }
    idp.answers("/introspect", 200, r#"{"active":true,"sub":"bob"}"#);
    assert_eq!(told(&plugin, &get().bearer("plain")).await, "401 idp_error", "not signed");
    let mut plain = config;
    plain["introspection_accept"] = "application/json".into();
    assert_eq!(told(&idp.plugin(plain), &get().bearer("plain")).await, "ok", "control");
}

#[tokio::test]
async fn user_info_may_be_signed() {
    let idp = Idp::start().await;
    let config = json!({ "auth_methods": ["userinfo"], "userinfo_accept": "application/jwt", "cache_ttl_neg": 0 });
    let plugin = idp.plugin(config);
    let sign = |key: &SigningKey, claims: Value| {
        key.sign(json!({ "kid": "one" }).as_object().unwrap(), claims.as_object().unwrap()).unwrap()
    };
    let good = json!({ "iss": idp.issuer, "sub": "carol" });
    for (number, (text, expected)) in [
        (sign(&idp.key, good.clone()), "ok"),
        (sign(&idp.key, json!({ "sub": "carol" })), "ok"),
        (sign(&new_key(), good), "401 idp_error"),
        (sign(&idp.key, json!({ "iss": "https://evil.example", "sub": "carol" })), "401 idp_error"),
        (sign(&idp.key, json!({ "sub": "carol", "aud": "other" })), "401 idp_error"),
        (r#"{"sub":"carol"}"#.to_owned(), "401 idp_error"),
    ]
    .into_iter()
    .enumerate()
    {
        idp.answers_as("/userinfo", "application/jwt", &text);
        assert_eq!(told(&plugin, &get().bearer(&format!("opaque-{number}"))).await, expected, "{number}");
    }
}

/// A place among those that wait is given back, also when the request goes away before it waits.
#[tokio::test]
async fn requests_that_go_away_leave_no_trace() {
    let idp = Idp::start().await;
    let plugin = idp.plugin(json!({ "rediscovery_lifetime": 1 }));
    assert_eq!(told(&plugin, &get().bearer(&idp.token(json!({})))).await, "ok");
    idp.world.delay.store(300, std::sync::atomic::Ordering::Relaxed);
    let unknown = idp.token_by(&new_key(), json!({ "kid": "x" }), json!({}));
    for _ in 0..5000 {
        let sent = get().bearer(&unknown);
        let directory = crate::auth::testing::directory([], []);
        let request = sent.request(&directory);
        let mut state = crate::auth::State::default();
        drop(crate::auth::Plugin::access(&plugin, &request, &mut state));
    }
    let two = new_key();
    idp.publish(&[ed_jwk(&two, "two")]);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(told(&plugin, &get().bearer(&idp.token_by(&two, json!({ "kid": "two" }), json!({})))).await, "ok");
}
