//! Recorded configurations and answers of a real Kong.

use serde_json::Value;

use super::*;
use crate::declarative::load_files;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/admin_dbless.jsonl");

#[test]
fn recorded_configurations_load() {
    for (name, counts) in [
        (
            "jwt_kong_config.json",
            [(Kind::Consumer, 5), (Kind::JwtSecret, 34), (Kind::KeyAuthCredential, 1), (Kind::Service, 1)],
        ),
        (
            "oauth2_kong_config.json",
            [(Kind::Consumer, 3), (Kind::Oauth2Credential, 7), (Kind::JwtSecret, 0), (Kind::Certificate, 0)],
        ),
    ] {
        let path = format!("{}/tests/conformance/{name}", env!("CARGO_MANIFEST_DIR"));
        let loaded =
            load_files(&[path.into()], &options()).unwrap_or_else(|refused| panic!("{:#?}", refused.diagnostics));
        assert!(loaded.diagnostics.is_empty(), "{:#?}", loaded.diagnostics);
        for (kind, count) in counts {
            assert_eq!(loaded.dataset.count(kind), count, "{name}: {kind:?}");
        }
    }
}

#[test]
fn answers_are_kongs() {
    let mut compared = 0;
    for line in std::fs::read_to_string(CASES).unwrap().lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |pointer: &str| case.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (name, body) = (text("/name"), text("/request/body"));
        if text("/request/method") != "POST" || !text("/request/path").starts_with("/config") || body.is_empty() {
            continue;
        }
        // How the text is wrapped is the Admin API's.
        let body = match serde_json::from_str::<Value>(body) {
            Ok(wrapped) if wrapped.get("config").is_some() => wrapped["config"].as_str().unwrap().to_owned(),
            _ if body.starts_with("config=") => "_format_version: \"3.0\"".to_owned(),
            _ => body.to_owned(),
        };
        let expected: Value = serde_json::from_str(text("/response/body")).unwrap();
        match (case.pointer("/response/status").and_then(Value::as_u64), load_text("<POST /config>", &body, &options()))
        {
            (Some(400), Err(refused)) => {
                assert_eq!(refused.to_kong(text("/request/path").contains("flatten_errors")), expected, "{name}");
            }
            (Some(201), Ok(loaded)) => {
                for kind in Kind::ALL {
                    let mut ours = Vec::new();
                    crate::declarative::dump::each(&loaded.dataset, kind, |document| ours.push(document));
                    let theirs =
                        expected.get(kind.collection()).and_then(Value::as_object).cloned().unwrap_or_default();
                    assert_eq!(ours.len(), theirs.len(), "{name}: {kind:?}");
                    let random = kind == Kind::JwtSecret;
                    assert!(
                        random || ours.iter().all(|ours| theirs.contains_key(ours["id"].as_str().unwrap())),
                        "{name}: {ours:?}"
                    );
                }
            }
            (status, outcome) => panic!("{name}: {status:?}, {outcome:?}"),
        }
        compared += 1;
    }
    assert!(compared >= 10, "{compared}");
}
