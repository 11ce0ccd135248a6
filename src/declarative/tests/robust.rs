//! Broken and hostile files: an answer, no panic, bounded work.

use proptest::prelude::*;

use super::*;

/// A configuration that uses everything; of 60 parts it has about 20 KiB.
fn big(parts: usize) -> String {
    let mut text = String::from(
        "# a comment with ü\n_format_version: \"3.0\"\n_info: {select_tags: [t], defaults: {service: {retries: 2}}}\n_plugin_configs: {p: {claims_to_verify: [exp]}}\nvaults: [{prefix: my-env, name: env}]\nservices:\n",
    );
    for n in 0..parts {
        text.push_str(&format!(
            "- name: service-{n}\n  url: \"https://${{{{ env \"DECK_HOST\" }}}}:8443/p{n}\"\n  routes:\n  - name: route-{n}\n    paths: [/a{n}, \"~/b{n}/\\\\d+\"]\n    headers: {{x-env: [prod, 'tést']}}\n    plugins: [{{name: jwt, _config: p, config: {{realm: 'é{n}'}}}}]\n"
        ));
    }
    text.push_str("consumers:\n");
    for n in 0..parts {
        text.push_str(&format!(
            "- username: user-{n}\n  jwt_secrets:\n  - key: key-{n}\n    secret: >-\n      long secret\n      {n}\n  - {{key: \"{n}\", tags: [a, 'b']}}\n"
        ));
    }
    text.push_str("upstreams:\n- {name: up, targets: [{target: 'h:80'}, {target: 'i:80', weight: 5}]}\nplugins:\n- {name: key-auth, service: service-1}\n");
    text
}

fn beginnings(text: &str, step: usize) {
    load(text);
    for end in (0..text.len()).step_by(step).filter(|end| text.is_char_boundary(*end)) {
        if let Err(refused) = try_load(&text[..end]) {
            assert!(!refused.diagnostics.is_empty(), "{end}");
            refused.to_kong(true);
        }
    }
}

#[test]
fn every_beginning_of_a_file_is_answered() {
    beginnings(&big(2), 1);
    beginnings(&big(60), 997);
}

#[test]
#[ignore = "minutes in a debug build"]
fn every_beginning_of_a_large_file_is_answered() {
    let text = big(60);
    assert!(text.len() > 18_000, "{}", text.len());
    beginnings(&text, 1);
}

#[test]
fn every_beginning_of_a_json_file_is_refused() {
    let json = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/jwt_kong_config.json"))
        .unwrap();
    for end in (0..json.trim_end().len()).step_by(53).filter(|end| json.is_char_boundary(*end)) {
        assert!(try_load(&json[..end]).is_err(), "{end}");
    }
}

#[test]
fn aliases_do_not_explode() {
    let mut laughs = String::from("_format_version: '3.0'\na: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for n in 1..12 {
        laughs.push_str(&format!("b{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(", ")));
    }
    assert!(try_load(&laughs).is_err());
    let flat = format!(
        "_format_version: '3.0'\na: &a [{}]\nb: [{}]\n",
        vec!["x"; 20_000].join(","),
        vec!["*a"; 20_000].join(",")
    );
    let found = faults(&flat);
    assert!(found[0].contains("aliases expand to too much") || found[0].contains("repetition limit"), "{found:?}");
    let long =
        format!("_format_version: '3.0'\na: &a {}\nb: [{}]\n", "x".repeat(200_000), vec!["*a"; 20_000].join(","));
    let found = faults(&long);
    assert!(found[0].contains("aliases expand to too much") || found[0].contains("repetition limit"), "{found:?}");
}

#[test]
fn depth_is_bounded() {
    for text in [
        format!("_format_version: '3.0'\n_ignore: {}", "[".repeat(100_000)),
        format!("_format_version: '3.0'\n_ignore: {}{}", "[".repeat(5_000), "]".repeat(5_000)),
        format!("{{\"_format_version\": \"3.0\", \"_ignore\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("{{\"_format_version\": \"3.0\", \"services\": [{}{}]}}", "[".repeat(100_000), "]".repeat(100_000)),
    ] {
        assert!(try_load(&text).is_err());
    }
}

#[test]
fn a_million_faults_are_not_a_million_messages() {
    let text = format!("{{\"_format_version\": \"3.0\", \"consumers\": [{}]}}", vec!["{\"x\":1}"; 20_000].join(","));
    let refused = try_load(&text).unwrap_err();
    assert_eq!(refused.diagnostics.len(), 10_001);
    assert!(refused.diagnostics[10_000].message.contains("more"));
    refused.to_kong(true);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn mutations_are_answered(at in any::<prop::sample::Index>(), with in "[\\[\\]{}:,'\"|>&*!#%@`?\n\t \\-ä0a]{0,3}", cut in 0usize..40) {
        let text = big(4);
        let mut from = at.index(text.len());
        while !text.is_char_boundary(from) { from -= 1; }
        let mut to = (from + cut).min(text.len());
        while !text.is_char_boundary(to) { to += 1; }
        let mutated = format!("{}{with}{}", &text[..from], &text[to..]);
        if let Err(refused) = try_load(&mutated) {
            prop_assert!(!refused.diagnostics.is_empty());
            prop_assert!(refused.diagnostics.iter().all(|diagnostic| diagnostic.place.is_some()), "{:?}", refused.diagnostics);
            refused.to_kong(true);
        }
    }

    #[test]
    fn anything_is_answered(text in "\\PC{0,200}") {
        let _ = try_load(&text);
        let _ = try_load(&format!("_format_version: '3.0'\nservices:\n- {text}"));
    }
}
