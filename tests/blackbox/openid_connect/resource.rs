//! Metadata of a protected resource (RFC 9728), and what the process tells of its providers.

use serde_json::{Value, json};

use super::support::{Guarded, bearer};
use crate::blackbox::support::http::{self, Endpoint};
use crate::blackbox::support::idp::{Idp, new_key};
use crate::blackbox::support::process::Process;

fn ask(guarded: &Guarded, method: &str, host: &str, path: &str, more: &str) -> http::Answer {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n");
    http::exchange(&mut *guarded.gateway.endpoint().connect(), &request)
}

#[test]
fn a_resource_tells_what_it_needs_when_it_is_set() {
    let idp = Idp::start();
    let told = json!({"protected_resource": {"resource": "https://api.example.com/0", "resource_name": "An API"},
        "scopes_required": ["read write", "read admin"], "bearer_token_param_type": ["header"]});
    let guarded = Guarded::start(&[bearer(&idp, told), bearer(&idp, json!({}))]);
    assert_eq!(guarded.status(0, &idp.token(json!({"scope": "read write"}))), 200, "control");
    let path = "/.well-known/oauth-protected-resource/0";
    let answer = ask(&guarded, "GET", "API.example.com:8000", path, "");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let document: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        document,
        json!({"resource": "https://api.example.com/0", "authorization_servers": [idp.issuer],
            "bearer_methods_supported": ["header"], "scopes_supported": ["read", "write", "admin"],
            "resource_name": "An API"})
    );
    assert_eq!(ask(&guarded, "HEAD", "api.example.com", path, "").status, 200);

    // A client's word of the host chooses among what is configured, and never gets into an answer.
    for (host, more) in [("evil.example", ""), ("evil.example", "X-Forwarded-Host: api.example.com\r\n")] {
        let answer = ask(&guarded, "GET", host, path, more);
        assert_eq!(answer.status, 404, "{host} {more}");
    }
    let forwarded = ask(&guarded, "GET", "api.example.com", path, "X-Forwarded-Host: evil.example\r\n");
    assert!(forwarded.status == 200 && !forwarded.body.contains("evil"));
    assert_eq!(ask(&guarded, "GET", "api.example.com", "/.well-known/oauth-protected-resource", "").status, 404);
    assert_eq!(ask(&guarded, "POST", "api.example.com", path, "Content-Length: 0\r\n").status, 404);

    let parameter = r#"resource_metadata="https://api.example.com/.well-known/oauth-protected-resource/0""#;
    for (token, error) in [(None, ""), (Some("x"), "invalid_token"), (Some("scope"), "insufficient_scope")] {
        let token = token.map(|token| match token {
            "scope" => idp.token(json!({})),
            other => other.to_owned(),
        });
        let headers = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let answer = ask(&guarded, "GET", "evil.example", "/0/", &headers);
        let challenge = answer.header("www-authenticate").unwrap().to_owned();
        assert!(challenge.ends_with(parameter) && challenge.contains(error), "{challenge}");
        let plain = ask(&guarded, "GET", "evil.example", "/1/", "");
        assert!(!plain.header("www-authenticate").unwrap().contains("resource_metadata"), "off unless set");
    }
}

/// Metrics of keys and fetches; and no token in any of them.
#[test]
fn the_process_tells_of_its_providers() {
    let idp = Idp::start();
    let config = json!({
        "_format_version": "3.0",
        "services": [{"name": "s", "host": "127.0.0.1", "port": 9, "routes": [{"name": "r", "paths": ["/"],
            "plugins": [{"name": "openid-connect", "config": bearer(&idp, json!({"audience_required": ["api"]}))}]}]}],
    });
    let process = Process::start(&config.to_string());
    let unknown = idp.token_by(&new_key(), json!({"kid": "nobodys"}), json!({}));
    for token in [unknown.clone(), unknown.clone(), idp.token(json!({}))] {
        let answer = http::get(Endpoint::plain(process.http), "/", &[("Authorization", &format!("Bearer {token}"))]);
        assert!(matches!(answer.status, 401 | 403), "{answer:?}");
    }
    let metrics = http::get(Endpoint::plain(process.status), "/metrics", &[]).body;
    let value = |start: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(start));
        let line = line.unwrap_or_else(|| panic!("{start} is not in\n{metrics}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let issuer = &idp.issuer;
    assert!(value(&format!("portcullis_oidc_key_set_age_seconds{{issuer=\"{issuer}\"}}")) < 60.0);
    assert_eq!(value(&format!("portcullis_oidc_keys{{issuer=\"{issuer}\"}}")), 1.0);
    assert!(value(&format!("portcullis_oidc_fetches_total{{issuer=\"{issuer}\",result=\"success\"}}")) >= 2.0);
    assert_eq!(value(&format!("portcullis_oidc_unknown_kids_total{{action=\"fetched\",issuer=\"{issuer}\"}}")), 1.0);
    assert_eq!(value(&format!("portcullis_oidc_unknown_kids_total{{action=\"known\",issuer=\"{issuer}\"}}")), 1.0);
    assert_eq!(value(&format!("portcullis_oidc_stale_serves_total{{issuer=\"{issuer}\"}}")), 0.0);
    assert!(!metrics.contains(unknown.split('.').next_back().unwrap()), "no token in a metric");
}
