mod clients;
mod issuers;
mod kept;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use super::registry::Registry;
use super::testing::*;
use crate::auth::identity::headers;
use crate::auth::oauth2::store::Token;
use crate::auth::testing::{NOW, Sent, caller, directory, get, shown};
use crate::auth::{Directory, Flow, Plugin, State};
use crate::jose::{Algorithm, SigningKey};

fn set(state: &State, name: &str) -> Vec<String> {
    let found = state.headers.set.iter().filter(|(there, _)| there == name);
    found.map(|(_, value)| value.to_str().unwrap().to_owned()).collect()
}

fn basic(pair: &str) -> Sent {
    get().header("authorization", &format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
}

#[tokio::test]
async fn a_known_key_verifies_at_once() {
    let idp = Idp::start().await;
    let plugin = idp.plugin(json!({}));
    assert_eq!(told(&plugin, &get().bearer(&idp.token(json!({})))).await, "ok");
    // From now on nothing is waited for, whatever becomes of the provider.
    idp.stop();
    let (sent, directory) = (get().bearer(&idp.token(json!({ "n": 1 }))), directory([], []));
    let request = sent.request(&directory);
    for cached in [false, true] {
        let mut state = State::default();
        assert!(matches!(plugin.access(&request, &mut state), Flow::Next));
        assert_eq!(state.verification.unwrap().cached, cached);
        assert_eq!(caller(&state), "-/alice-sub");
        assert!(set(&state, "authorization").is_empty(), "the service gets the client's own line");
    }
    // Another spelling of the scheme is not what the service is promised.
    let sent = get().header("authorization", &format!("bEARER {}", idp.token(json!({ "n": 1 }))));
    let mut state = State::default();
    assert!(matches!(plugin.access(&sent.request(&directory), &mut state), Flow::Next));
    assert_eq!(set(&state, "authorization").len(), 1);
    // A client cannot name it away: what `Connection` names does not go on by itself.
    for (connection, sets) in [("keep-alive", 0), ("close, Authorization", 1)] {
        let sent = get().bearer(&idp.token(json!({ "n": 1 }))).header("connection", connection);
        let mut state = State::default();
        assert!(matches!(plugin.access(&sent.request(&directory), &mut state), Flow::Next));
        assert_eq!(set(&state, "authorization").len(), sets, "{connection}");
    }
    assert_eq!((idp.hits("/.well-known/openid-configuration"), idp.hits("/jwks")), (1, 1));
}

#[tokio::test]
async fn every_refusal_beside_what_is_accepted() {
    let idp = Idp::start().await;
    let plugin = idp.plugin(json!({ "leeway": 5 }));
    let kid = || json!({ "kid": "one" });
    let other = new_key();
    let hmac = SigningKey::from_secret(Algorithm::Hs256, idp.key.public_pem().unwrap().as_bytes()).unwrap();
    let rows: Vec<(&str, String, &str)> = vec![
        ("good", idp.token(json!({})), "ok"),
        ("no kid, one key", idp.token_by(&idp.key, json!({}), json!({})), "ok"),
        ("at+jwt", idp.token_by(&idp.key, json!({ "kid": "one", "typ": "at+jwt" }), json!({})), "ok"),
        ("within leeway", idp.token(json!({ "exp": NOW - 4 })), "ok"),
        ("expired", idp.token(json!({ "exp": NOW - 5 })), "401 expired"),
        ("no exp", idp.token(json!({ "exp": null })), "401 claim_type"),
        ("exp as text", idp.token(json!({ "exp": "9999999999" })), "401 claim_type"),
        ("nbf", idp.token(json!({ "nbf": NOW + 6 })), "401 not_yet_valid"),
        ("nbf within leeway", idp.token(json!({ "nbf": NOW + 5 })), "ok"),
        ("iat", idp.token(json!({ "iat": NOW + 6 })), "401 not_yet_valid"),
        ("another issuer", idp.token(json!({ "iss": "https://evil.example" })), "401 issuer_unknown"),
        ("a slash more", idp.token(json!({ "iss": format!("{}/", idp.issuer) })), "401 issuer_unknown"),
        ("no issuer", idp.token(json!({ "iss": null })), "401 issuer_unknown"),
        ("issuers", idp.token(json!({ "iss": [idp.issuer] })), "401 issuer_unknown"),
        ("ID token", idp.token(json!({ "typ": "ID" })), "401 typ_mismatch"),
        ("refresh token", idp.token(json!({ "typ": "Refresh" })), "401 typ_mismatch"),
        (
            "DPoP proof",
            idp.token_by(&idp.key, json!({ "kid": "one", "typ": "dpop+jwt" }), json!({})),
            "401 typ_mismatch",
        ),
        ("crit", idp.token_by(&idp.key, json!({ "kid": "one", "crit": ["x"] }), json!({})), "401 crit_unsupported"),
        ("another key", idp.token_by(&other, kid(), json!({})), "401 signature_invalid"),
        (
            "key in the token",
            idp.token_by(&other, json!({ "kid": "one", "jwk": ed_jwk(&other, "one") }), json!({})),
            "401 signature_invalid",
        ),
        ("HMAC with the public key", idp.token_by(&hmac, kid(), json!({})), "401 alg_not_allowed"),
        ("kid as a number", idp.token_by(&idp.key, json!({ "kid": 1 }), json!({})), "401 kid_unknown"),
        ("unknown kid", idp.token_by(&other, json!({ "kid": "two" }), json!({})), "401 kid_unknown"),
        ("no token at all", "abc".into(), "401 malformed"),
        ("none", format!("{}.e30.", crate::jose::base64url::encode(r#"{"alg":"none"}"#)), "401 alg_none"),
        ("too long", "x".repeat(17_000), "401 token_too_large"),
    ];
    for (name, token, expected) in rows {
        assert_eq!(told(&plugin, &get().bearer(&token)).await, expected, "{name}");
    }
    let host = r#"www-authenticate: Bearer realm="127.0.0.1""#;
    let plugin = &plugin;
    let refused = |sent: Sent| async move { shown(&send(plugin, &sent).await.1.unwrap_err()) };
    assert_eq!(refused(get()).await, format!("401 {{Unauthorized}} {host}"));
    assert_eq!(refused(get().bearer("abc")).await, format!(r#"401 {{Unauthorized}} {host}, error="invalid_token""#));
}

#[tokio::test]
async fn tokens_are_found_in_their_places_only() {
    let idp = Idp::start().await;
    let token = idp.token(json!({}));
    let everywhere = |token: &str| {
        vec![
            ("header", get().header("authorization", &format!("bEARER {token}"))),
            ("header", get().header("access-token", token)),
            ("header", get().header("x-access-token", token)),
            ("query", get().query(&format!("a=1&access_token={token}"))),
            ("body", get().body("application/x-www-form-urlencoded", &format!("access_token={token}&b=2"))),
            ("body", get().body("application/json", &json!({ "access_token": token }).to_string())),
            ("cookie", get().header("cookie", &format!("x=y; tok={token}"))),
        ]
    };
    for place in ["header", "query", "body", "cookie"] {
        let config = json!({ "bearer_token_param_type": [place], "bearer_token_cookie_name": "tok", "hide_credentials": true,
            "upstream_access_token_header": null });
        let plugin = idp.plugin(config);
        for (there, sent) in everywhere(&token) {
            let (state, outcome) = send(&plugin, &sent).await;
            assert_eq!(outcome.is_ok(), there == place, "{there} where {place} is read");
            let passed = format!("{:?} {:?} {:?}", state.headers.set, state.query, state.body);
            assert!(!passed.contains(&token), "hidden: {passed}");
            match (outcome.is_ok(), place) {
                (true, "query") => assert_eq!(state.query.as_deref(), Some("a=1")),
                (true, "body") => assert!(state.body.is_some()),
                (true, "cookie") => assert_eq!(set(&state, "cookie"), ["x=y"]),
                (true, _) => assert_eq!(state.headers.remove.len(), 1),
                (false, _) => {}
            }
        }
    }
    let twice = get().bearer(&token).bearer(&token);
    assert_eq!(told(&idp.plugin(json!({})), &twice).await, "401 multiple_tokens");
}

#[tokio::test]
async fn rights_are_required_and_forbidden() {
    let idp = Idp::start().await;
    let nested =
        json!({ "realm_access": { "roles": ["admin", "dev"] }, "groups": ["/staff"], "aud": ["api", "account"] });
    for (config, expected) in [
        (json!({ "scopes_required": ["a"] }), "ok"),
        (json!({ "scopes_required": ["a b"] }), "403 scope"),
        (json!({ "scopes_required": ["a b", "openid a"] }), "ok"),
        (json!({ "audience_required": ["api"] }), "ok"),
        (json!({ "audience_required": ["other"] }), "403 audience"),
        (json!({ "roles_claim": ["realm_access", "roles"], "roles_required": ["admin dev"] }), "ok"),
        (json!({ "roles_claim": ["realm_access", "roles"], "roles_required": ["root"] }), "403 role"),
        (json!({ "roles_required": ["admin"] }), "403 role"),
        (json!({ "groups_required": ["/staff"] }), "ok"),
        (json!({ "groups_required": ["/board"], "anonymous": "anonymous" }), "403 role"),
        (json!({ "claims_forbidden": ["x"] }), "ok"),
        (json!({ "claims_forbidden": ["groups"] }), "403 claim_rule"),
        (json!({ "domains": ["example.com"] }), "401 claim_rule"),
    ] {
        let plugin = idp.plugin(config.clone());
        assert_eq!(told(&plugin, &get().bearer(&idp.token(nested.clone()))).await, expected, "{config}");
    }
    let plugin = idp.plugin(json!({ "scopes_required": ["z"] }));
    let refused = send(&plugin, &get().bearer(&idp.token(json!({})))).await.1.unwrap_err();
    assert_eq!(
        shown(&refused),
        r#"403 {Forbidden} www-authenticate: Bearer realm="127.0.0.1", error="insufficient_scope""#
    );
}

#[tokio::test]
async fn claims_become_consumers() {
    let idp = Idp::start().await;
    let who = |config: Value, claims: Value| {
        let (plugin, sent) = (idp.plugin(config), get().bearer(&idp.token(claims)));
        async move {
            let (state, outcome) = send(&plugin, &sent).await;
            outcome.map_or_else(
                |refused| format!("{} {}", refused.status.as_u16(), refused.reason.label()),
                |()| caller(&state),
            )
        }
    };
    let by = |by: &[&str]| json!({ "consumer_claim": ["user", "name"], "consumer_by": by });
    let named = |name: &str| json!({ "user": { "name": name } });
    assert_eq!(who(by(&["username"]), named("alice")).await, "alice/alice-sub");
    assert_eq!(who(by(&["username"]), named("Alice")).await, "403 consumer_unknown");
    assert_eq!(who(by(&["custom_id"]), named("alice-cid")).await, "alice/alice-sub");
    assert_eq!(who(by(&["custom_id", "username"]), named("alice")).await, "alice/alice-sub");
    assert_eq!(who(by(&["username"]), json!({})).await, "403 consumer_unknown");
    let with = |more: Value| {
        let mut config = by(&["username"]);
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    };
    assert_eq!(who(with(json!({ "by_username_ignore_case": true })), named("aLICE")).await, "alice/alice-sub");
    assert_eq!(who(with(json!({ "consumer_optional": true })), named("nobody")).await, "-/alice-sub");
    assert_eq!(who(with(json!({ "anonymous": "anonymous" })), named("nobody")).await, "anonymous:anonymous");
    assert_eq!(who(json!({ "anonymous": "anonymous" }), json!({ "exp": 1 })).await, "anonymous:anonymous");
    assert_eq!(who(json!({ "credential_claim": ["azp"] }), json!({ "azp": "app" })).await, "-/app");
}

#[tokio::test]
async fn claims_become_headers_and_sent_ones_never_stay() {
    let idp = Idp::start().await;
    let config = json!({
        "upstream_headers_claims": ["email", "realm.name", "n", "list"],
        "upstream_headers_names": ["X-Email", "X-Realm", "X-N", "X-List"],
        "downstream_headers_claims": ["sub"], "downstream_headers_names": ["X-Sub"],
        "upstream_access_token_header": "x-token:bearer", "anonymous": "anonymous", "run_on_preflight": false,
        "authenticated_groups_claim": ["list"],
    });
    let plugin = idp.plugin(config);
    let token = idp.token(json!({ "email": "a@b", "realm": { "name": "r" }, "n": 7, "list": ["a", "b"] }));
    let (state, outcome) = send(&plugin, &get().bearer(&token)).await;
    assert!(outcome.is_ok());
    assert_eq!(set(&state, "x-email"), ["a@b"]);
    assert_eq!(set(&state, "x-realm"), ["r"]);
    assert_eq!(set(&state, "x-n"), ["7"]);
    assert_eq!(set(&state, "x-list"), ["WyJhIiwiYiJd"]);
    assert_eq!(set(&state, "x-authenticated-groups"), ["a, b"]);
    assert_eq!(set(&state, "x-token"), [format!("Bearer {token}")]);
    assert_eq!(state.headers.response.len(), 1);
    // Also where nobody is known, and where the claim holds a line break.
    let broken = idp.token(json!({ "email": "a\r\nx: y" }));
    for sent in [get(), get().method(http::Method::OPTIONS), get().bearer(&broken)] {
        let (state, outcome) = send(&plugin, &sent).await;
        assert!(outcome.is_ok() && set(&state, "x-email").is_empty());
        let guarded = state.guarded.as_deref().unwrap();
        assert!(guarded.iter().eq(["x-email", "x-realm", "x-n", "x-list", "x-token"]), "{guarded:?}");
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_once_and_a_withdrawn_one_dies() {
    let idp = Idp::start().await;
    let plugin = Arc::new(idp.plugin(json!({ "rediscovery_lifetime": 30 })));
    let old = idp.token(json!({}));
    assert_eq!(told(&plugin, &get().bearer(&old)).await, "ok");
    let two = new_key();
    idp.publish(&[ed_jwk(&two, "two")]);
    idp.world.delay.store(50, Relaxed);
    let new = idp.token_by(&two, json!({ "kid": "two" }), json!({}));
    let many = (0..20).map(|n| {
        let (plugin, new, two, idp) = (plugin.clone(), new.clone(), &two, &idp);
        let bad = idp.token_by(two, json!({ "kid": format!("bad{n}") }), json!({}));
        async move { (told(&plugin, &get().bearer(&new)).await, told(&plugin, &get().bearer(&bad)).await) }
    });
    for (good, bad) in futures::future::join_all(many).await {
        assert_eq!((good.as_str(), bad.as_str()), ("ok", "401 kid_unknown"));
    }
    // One fetch brought the key that was asked for, and one more did not; from then on the cooldown holds.
    assert_eq!(idp.hits("/jwks"), 3);
    assert_eq!(told(&plugin, &get().bearer(&old)).await, "401 kid_unknown", "withdrawn");
    assert_eq!(told(&plugin, &get().bearer(&new)).await, "ok");
    assert_eq!(idp.hits("/jwks"), 3);
}

#[tokio::test]
async fn bad_key_sets_replace_no_good_one() {
    let idp = Idp::start().await;
    let config = json!({ "rediscovery_lifetime": 0 });
    let plugin = idp.plugin(config);
    let good = get().bearer(&idp.token(json!({})));
    let unknown = get().bearer(&idp.token_by(&new_key(), json!({ "kid": "x" }), json!({})));
    assert_eq!(told(&plugin, &good).await, "ok");
    let jwk = ed_jwk(&new_key(), "x");
    let many: Vec<Value> = (0..10_000).map(|_| jwk.clone()).collect();
    for (status, text) in [
        (500, String::new()),
        (200, "<html>".into()),
        (200, r#"{"keys":[]}"#.into()),
        (302, format!("{}/elsewhere", idp.issuer)),
        (200, json!({ "keys": many }).to_string()),
        (200, format!("{{\"keys\":[]{}}}", " ".repeat(2 * 1024 * 1024))),
    ] {
        idp.answers("/jwks", status, &text);
        tokio::time::sleep(Duration::from_millis(1050)).await;
        assert_eq!(told(&plugin, &unknown).await, "401 kid_unknown");
        assert_eq!(told(&plugin, &good).await, "ok", "{status} {:.20}", text);
    }
    assert_eq!(idp.hits("/elsewhere"), 0, "redirects are not followed");
    assert!(idp.hits("/jwks") >= 6);
}

#[tokio::test]
async fn keys_survive_a_restart_while_the_provider_is_away() {
    let idp = Idp::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (plugin, _) = idp.try_plugin(json!({}), &cached_in(folder.path())).unwrap();
    let good = get().bearer(&idp.token(json!({})));
    assert_eq!(told(&plugin, &good).await, "ok");
    let file = loop {
        let named = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().path();
        let found = std::fs::read_dir(folder.path())
            .unwrap()
            .map(named)
            .find(|path| path.extension().is_some_and(|e| e == "json"));
        match found {
            Some(found) => break found,
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    idp.stop();
    tokio::task::yield_now().await;
    let (again, _) = idp.try_plugin(json!({}), &cached_in(folder.path())).unwrap();
    assert_eq!(told(&again, &good).await, "ok");
    std::fs::write(&file, "{}").unwrap();
    let (spoilt, _) = idp.try_plugin(json!({}), &cached_in(folder.path())).unwrap();
    assert_eq!(told(&spoilt, &good).await, "401 jwks_unavailable");
}

#[tokio::test]
async fn secrets_sign_only_where_that_is_enabled() {
    let idp = Idp::start().await;
    let key = SigningKey::from_secret(Algorithm::Hs256, b"client-secret").unwrap();
    let sent = get().bearer(&idp.token_by(&key, json!({}), json!({})));
    let config = json!({ "client_id": ["c"], "client_secret": ["client-secret"] });
    assert_eq!(told(&idp.plugin(config), &sent).await, "401 alg_not_allowed");
    let config = json!({ "client_id": ["c"], "client_secret": ["client-secret"], "enable_hs_signatures": true });
    assert_eq!(told(&idp.plugin(config), &sent).await, "ok");
    let config = json!({ "client_id": ["c"], "client_secret": ["another"], "enable_hs_signatures": true });
    assert_eq!(told(&idp.plugin(config), &sent).await, "401 signature_invalid");
}

#[tokio::test]
async fn passwords_are_exchanged_and_the_tokens_kept() {
    let idp = Idp::start().await;
    let config = json!({ "auth_methods": ["bearer", "password"], "client_id": ["app"], "client_secret": ["s3"],
        "client_auth": ["client_secret_post"] });
    let plugin = Arc::new(idp.plugin(config));
    let token = idp.token(json!({}));
    idp.answers("/token", 200, &json!({ "access_token": token, "expires_in": 60, "token_type": "Bearer" }).to_string());
    let many = (0..10).map(|_| {
        let plugin = plugin.clone();
        async move { send(&plugin, &basic("john:doe")).await }
    });
    for (state, outcome) in futures::future::join_all(many).await {
        assert!(outcome.is_ok());
        assert_eq!(set(&state, "authorization"), [format!("Bearer {token}")], "in the place of Basic");
    }
    assert_eq!(idp.hits("/token"), 1, "single flight, then kept");
    let (authorization, form) = idp.last("/token");
    assert_eq!(authorization, None);
    assert_eq!(form, "grant_type=password&username=john&password=doe&scope=openid&client_id=app&client_secret=s3");
    idp.answers("/token", 401, r#"{"error":"invalid_grant"}"#);
    assert_eq!(told(&plugin, &basic("john:doe")).await, "ok");
    assert_eq!(told(&plugin, &basic("john:wrong")).await, "401 credential_unknown");
    idp.answers("/token", 500, "");
    assert_eq!(told(&plugin, &basic("jane:doe")).await, "401 idp_error");
    let forged = idp.token_by(&new_key(), json!({ "kid": "one" }), json!({}));
    idp.answers("/token", 200, &json!({ "access_token": forged }).to_string());
    assert_eq!(told(&plugin, &basic("eve:doe")).await, "401 signature_invalid");
}

#[tokio::test]
async fn a_token_issued_while_the_request_waits_is_not_from_the_future() {
    let idp = Idp::start().await;
    let plugin = idp.plugin(json!({ "auth_methods": ["password"], "client_id": ["app"], "client_secret": ["s3"] }));
    let issue = |iat: u64| {
        let token = idp.token(json!({ "iat": iat }));
        idp.answers("/token", 200, &json!({ "access_token": token, "expires_in": 60 }).to_string());
    };
    idp.world.delay.store(1100, Relaxed);
    issue(NOW + 1);
    assert_eq!(told(&plugin, &basic("john:doe")).await, "ok");
    issue(NOW + 30);
    assert_eq!(told(&plugin, &basic("jane:doe")).await, "401 not_yet_valid");
}

#[tokio::test]
async fn clients_authenticate_as_configured() {
    let idp = Idp::start().await;
    idp.answers("/token", 200, &json!({ "access_token": "opaque", "expires_in": 60 }).to_string());
    let sent = |auth: &str| {
        let config = json!({ "auth_methods": ["password"], "client_id": ["a:p"], "client_secret": ["s3"], "client_auth": [auth],
            "client_jwk": [{ "kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQ" }] });
        let plugin = idp.plugin(config);
        async move { told(&plugin, &basic(&format!("john:{}", uuid::Uuid::new_v4()))).await }
    };
    assert_eq!(sent("client_secret_basic").await, "ok");
    assert_eq!(idp.last("/token").0.as_deref(), Some("Basic YSUzQXA6czM="));
    assert_eq!(sent("none").await, "ok");
    assert!(!idp.last("/token").1.contains("secret") && idp.last("/token").1.contains("client_id=a%3Ap"));
    for method in ["client_secret_jwt", "private_key_jwt"] {
        assert_eq!(sent(method).await, "ok");
        assert!(idp.last("/token").1.contains("client_assertion=ey"), "{method}");
    }
    let config = json!({ "auth_methods": ["client_credentials"] });
    assert_eq!(told(&idp.plugin(config), &basic("mine:secret")).await, "ok");
    assert_eq!(idp.last("/token").0.as_deref(), Some("Basic bWluZTpzZWNyZXQ="));
    assert!(idp.last("/token").1.starts_with("grant_type=client_credentials"));
}

#[tokio::test]
async fn opaque_tokens_are_introspected_once() {
    let idp = Idp::start().await;
    let config = json!({ "auth_methods": ["introspection"], "client_id": ["app"], "client_secret": ["s3"],
        "scopes_required": ["read"] });
    let plugin = idp.plugin(config);
    let active = |more: Value| {
        let mut answer = json!({ "active": true, "scope": "read", "sub": "bob", "exp": NOW + 60 });
        answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        idp.answers("/introspect", 200, &answer.to_string());
    };
    active(json!({}));
    for _ in 0..3 {
        let (state, outcome) = send(&plugin, &get().bearer("good")).await;
        assert!(outcome.is_ok());
        assert_eq!(caller(&state), "-/bob");
    }
    assert_eq!(idp.hits("/introspect"), 1);
    assert_eq!(idp.last("/introspect").1, "token=good&token_type_hint=access_token");
    active(json!({ "active": false }));
    for _ in 0..3 {
        assert_eq!(told(&plugin, &get().bearer("bad")).await, "401 opaque_unknown");
    }
    assert_eq!(idp.hits("/introspect"), 2, "refusals are kept, too");
    active(json!({ "scope": "write" }));
    assert_eq!(told(&plugin, &get().bearer("other")).await, "403 scope");
    active(json!({ "exp": NOW - 1 }));
    assert_eq!(told(&plugin, &get().bearer("old")).await, "401 expired");
    idp.answers("/introspect", 500, "");
    assert_eq!(told(&plugin, &get().bearer("new")).await, "401 idp_error");
    let mut late = get().bearer("good");
    late.now = NOW + 61;
    assert_eq!(told(&plugin, &late).await, "401 expired", "what is kept is checked again");
}

#[tokio::test]
async fn userinfo_is_asked_with_the_token() {
    let idp = Idp::start().await;
    let plugin = idp.plugin(json!({ "auth_methods": ["userinfo"] }));
    idp.answers("/userinfo", 200, r#"{"sub":"carol"}"#);
    let (state, outcome) = send(&plugin, &get().bearer("tok")).await;
    assert!(outcome.is_ok());
    assert_eq!(caller(&state), "-/carol");
    assert_eq!(idp.last("/userinfo").0.as_deref(), Some("Bearer tok"));
    idp.answers("/userinfo", 401, "{}");
    assert_eq!(told(&plugin, &get().bearer("bad")).await, "401 opaque_unknown");
    assert_eq!(told(&plugin, &get().bearer("tok")).await, "ok");
}

#[tokio::test]
async fn tokens_of_the_oauth2_plugin() {
    let registry = Arc::new(Registry::default());
    let lent = lent(&registry);
    let token = |access: &str, expires_in| {
        let issued = crate::auth::testing::issued(access, Some("read"), Some("u1"));
        Token { created_at: NOW - 10, expires_in, ..issued }
    };
    lent.tokens.issue(token("good", 60)).await.unwrap();
    lent.tokens.issue(token("old", 5)).await.unwrap();
    let config = json!({ "issuer": "http://127.0.0.1:1/", "auth_methods": ["kong_oauth2"] });
    let plugin = super::Oidc::compile(&complete(config), lent, &mut Vec::new()).unwrap();
    let mut directory = directory([], []);
    let credential = json!({ "id": crate::auth::testing::id(70), "created_at": 0, "name": "demo", "client_id": "client",
        "client_secret": "x", "hash_secret": false, "consumer": { "id": crate::auth::testing::id(1) },
        "redirect_uris": null, "client_type": "confidential", "tags": null });
    directory.put_oauth2(Arc::new(serde_json::from_value(credential).unwrap()));
    let (state, outcome) = send_to(&plugin, &get().bearer("good"), &directory).await;
    assert!(outcome.is_ok());
    assert_eq!(caller(&state), "alice/client");
    let headers: Vec<_> = headers(state.authenticated().unwrap()).map(|(name, value)| (name.as_str(), value)).collect();
    for expected in [("x-authenticated-scope", "read"), ("x-authenticated-userid", "u1")] {
        assert!(headers.iter().any(|(name, value)| (*name, value.to_str().unwrap()) == expected), "{headers:?}");
    }
    for (token, status) in [("old", 401), ("unknown", 401)] {
        let outcome = send_to(&plugin, &get().bearer(token), &directory).await.1;
        assert_eq!(outcome.unwrap_err().status.as_u16(), status, "{token}");
    }
}

#[tokio::test]
async fn what_is_not_served_is_refused_at_load() {
    let idp = Idp::start().await;
    let registry = Arc::new(Registry::default());
    let paths = |config: Value| match idp.try_plugin(config, &registry) {
        Ok((_, warnings)) => warnings.into_iter().map(|warning| warning.path).collect::<Vec<_>>().join(" "),
        Err(faults) => faults.into_iter().map(|fault| format!("!{}", fault.path)).collect::<Vec<_>>().join(" "),
    };
    let aud = json!(["api"]);
    for (config, expected) in [
        (json!({ "audience_required": aud }), ""),
        (json!({}), "audience_required"),
        (json!({ "auth_methods": ["bearer", "session"], "audience_required": aud }), "!auth_methods"),
        (json!({ "auth_methods": [] }), "!auth_methods"),
        (json!({ "cache_ttl_resurrect": 5 }), "!cache_ttl_resurrect"),
        (json!({ "mtls_token_endpoint": "https://idp.example/" }), "!mtls_token_endpoint"),
        (
            json!({ "unauthorized_redirect_uri": ["https://a.example/", "https://b.example/"] }),
            "!unauthorized_redirect_uri",
        ),
        (json!({ "discovery_headers_names": ["a"] }), "!discovery_headers_values"),
        (json!({ "token_post_args_names": ["a"], "token_post_args_values": ["b", "c"] }), "!token_post_args_values"),
        (json!({ "refresh_token_param_name": "a b" }), "!refresh_token_param_name"),
        (json!({ "issuers_allowed": [idp.issuer, "http://idp.example/"] }), "!issuers_allowed"),
        (json!({ "protected_resource": { "resource": "http://api.example/" } }), "!protected_resource.resource"),
        (json!({ "protected_resource": { "resource": "https://api.example/?a" } }), "!protected_resource.resource"),
        (json!({ "using_pseudo_issuer": true, "audience_required": aud }), "using_pseudo_issuer"),
        (json!({ "auth_methods": ["session"] }), "!auth_methods"),
        (json!({ "auth_methods": ["authorization_code", "session"] }), "!auth_methods"),
        (json!({ "logout_uri_suffix": "/out" }), "!logout_uri_suffix"),
        (json!({ "upstream_user_info_header": "x" }), "!upstream_user_info_header"),
        (json!({ "proof_of_possession_dpop": "strict" }), "!proof_of_possession_dpop"),
        (json!({ "client_id": ["a"], "client_auth": ["tls_client_auth"] }), "!client_auth"),
        (json!({ "client_id": ["a"], "client_auth": ["private_key_jwt"] }), "!client_jwk"),
        (json!({ "verify_signature": false, "audience_required": aud }), "verify_signature"),
        (json!({ "issuer": "http://idp.example/" }), "!issuer"),
        (json!({ "extra_jwks_uris": ["http://idp.example/"] }), "!extra_jwks_uris"),
        (json!({ "upstream_headers_claims": ["a"], "upstream_headers_names": [] }), "!upstream_headers_names"),
    ] {
        assert_eq!(paths(config.clone()), expected, "{config}");
    }
    let every = json!([
        "authorization_code",
        "bearer",
        "client_credentials",
        "introspection",
        "kong_oauth2",
        "password",
        "refresh_token",
        "session",
        "userinfo"
    ]);
    assert_eq!(paths(json!({ "auth_methods": every, "audience_required": aud })), "auth_methods");
}
