//! What is written loads back into the same.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::declarative::{dump, export, load_files};

fn recorded() -> Vec<Loaded> {
    ["jwt_kong_config.json", "oauth2_kong_config.json"]
        .map(|name| {
            let path = format!("{}/tests/conformance/{name}", env!("CARGO_MANIFEST_DIR"));
            load_files(&[path.into()], &options()).unwrap_or_else(|refused| panic!("{:#?}", refused.diagnostics))
        })
        .into()
}

#[test]
fn a_dump_is_complete_and_flat() {
    let text = dump(
        &load3("services: [{name: s, host: h, routes: [{name: r, paths: [/a], plugins: [{name: jwt}]}]}]").dataset,
    );
    let document: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    assert_eq!((&document["_format_version"], &document["_transform"]), (&json!("3.0"), &json!(false)));
    assert_eq!(document["routes"][0]["service"], json!("b268827a-8f7f-551f-8769-e6bceb2f3ec6"));
    assert!(document["services"][0].as_object().unwrap().contains_key("tls_verify"));
    assert!(document["services"][0]["tls_verify"].is_null());
    assert!(text.starts_with("_format_version: '3.0'\n_transform: false\n"));
}

#[test]
fn recorded_configurations_survive_a_dump_and_an_export() {
    for loaded in recorded() {
        let before = canonical(&loaded.dataset);
        assert_eq!(canonical(&load(&dump(&loaded.dataset)).dataset), before);
        assert_eq!(canonical(&load(&export(&loaded.dataset)).dataset), before);
    }
}

#[test]
fn an_export_is_what_a_person_would_write() {
    let text = "_format_version: \"3.0\"\nconsumers:\n- username: u\n  jwt_secrets:\n  - key: k\n    secret: s\n  plugins:\n  - name: request-termination\nservices:\n- name: s\n  host: h\n  port: 8080\n  routes:\n  - name: r\n    paths:\n    - /a\n    plugins:\n    - name: jwt\n      config:\n        claims_to_verify:\n        - exp\nupstreams:\n- name: up\n  targets:\n  - target: h:80\nplugins:\n- name: request-termination\n  route: r\n  consumer: u\n";
    let exported = export(&load(text).dataset);
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&exported), sorted(text), "{exported}");
    assert_eq!(canonical(&load(&exported).dataset), canonical(&load(text).dataset));
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9._~-]{1,12}",
        "[ -~äß€\n\t'\"#:{}\\[\\],&*!|>%@`-]{1,20}",
        Just("null".to_owned()),
        Just("yes".to_owned()),
        Just("3.0".to_owned()),
        Just("0x10".to_owned()),
        Just("- a".to_owned()),
        Just("~".to_owned()),
        Just("2001-01-01".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn anything_survives(names in prop::collection::hash_set(text(), 1..5), secrets in prop::collection::vec(text(), 1..5), retries in 0u16..100, weight in 0u16..1000) {
        let consumers: Vec<_> = names.iter().enumerate().map(|(n, name)| {
            json!({"username": name, "jwt_secrets": [{"key": format!("{n}{name}"), "secret": secrets[n % secrets.len()]}]})
        }).collect();
        let document = json!({
            "_format_version": "3.0",
            "consumers": consumers,
            "services": [{"name": "s", "host": "h", "retries": retries, "routes": [{"name": "r", "hosts": ["a.b"], "headers": {"x-y": secrets}}]}],
            "upstreams": [{"name": "up", "targets": [{"target": "h", "weight": weight}]}],
            "plugins": [{"name": "jwt", "service": "s", "config": {"key_claim_name": names.iter().next()}}],
        });
        let Ok(loaded) = try_load(&document.to_string()) else { return Ok(()) };
        let before = canonical(&loaded.dataset);
        prop_assert_eq!(&canonical(&load(&dump(&loaded.dataset)).dataset), &before);
        let late = Options { now: crate::schema::Now::from_milliseconds(1_700_000_000_123), ..options() };
        let exported = load_text("x", export(&loaded.dataset), &late).map_err(|refused| TestCaseError::fail(format!("{:?}", refused.diagnostics)))?;
        prop_assert_eq!(&canonical(&exported.dataset), &before);
    }
}
