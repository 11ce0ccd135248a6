//! Everything that is refused: Kong's words and tree, the place, the remedy.

use serde_json::json;

use super::*;

/// Faults of a file in format 3.0; lines count from the version's.
fn of(text: &str) -> Vec<String> {
    faults(&format!("_format_version: '3.0'\n{text}"))
}

fn tree(text: &str) -> serde_json::Value {
    try_load(&format!("_format_version: '3.0'\n{text}")).unwrap_err().to_kong(false)["fields"].clone()
}

#[test]
fn fields() {
    for (text, expected) in [
        ("serices: []", &["kong.yml:2:1: serices: unknown field (did you mean 'services'?)"][..]),
        ("services: 5", &["kong.yml:2:11: services: expected an array"]),
        ("services: [5]", &["kong.yml:2:12: services[0]: expected a record"]),
        (
            "services:\n- name: s\n  hosts: h\n  host: h",
            &["kong.yml:4:3: services[0].hosts: unknown field (did you mean 'host'?)"],
        ),
        (
            "services:\n- {port: -12}",
            &[
                "kong.yml:3:3: services[0].host: required field missing (add 'host')",
                "kong.yml:3:10: services[0].port: value should be between 0 and 65535",
            ],
        ),
        (
            "routes:\n- name: r\n  paths:\n  - /good\n  - bad",
            &["kong.yml:6:5: routes[0].paths[1]: should start with: / (fixed path) or ~/ (regex path)"],
        ),
        (
            "plugins:\n- name: jwt\n  config:\n    claim_to_verify: [exp]",
            &["kong.yml:5:5: plugins[0].config.claim_to_verify: unknown field (did you mean 'claims_to_verify'?)"],
        ),
        (
            "consumers:\n- tags: [a]",
            &["kong.yml:3:3: consumers[0]: at least one of these fields must be non-empty: 'custom_id', 'username'"],
        ),
        (
            "routes:\n- name: r\n  strip_path: maybe\n  paths: [/a]",
            &["kong.yml:4:15: routes[0].strip_path: expected a boolean (write true or false, without quotes)"],
        ),
        ("services: [{name: s, host: h, routes: 7}]", &["kong.yml:2:39: services[0].routes: expected an array"]),
        ("services: [{name: s, host: h, _comment: 7}]", &["kong.yml:2:41: services[0]._comment: expected a string"]),
        ("plugins: [{config: {}}]", &["kong.yml:2:11: plugins[0].name: required field missing (add 'name')"]),
        (
            "routes: [{name: r, paths: [/a], service: 5}]",
            &["kong.yml:2:42: routes[0].service: expected a string (name it by its name or id)"],
        ),
        ("vaults: [{name: env}]", &["kong.yml:2:10: vaults[0].prefix: required field missing"]),
        ("_info: {select_tag: [a]}", &["kong.yml:2:9: _info.select_tag: unknown field (did you mean 'select_tags'?)"]),
        (
            "_info: {defaults: {services: {}}}",
            &["kong.yml:2:20: _info.defaults.services: unknown field (did you mean 'service'?)"],
        ),
    ] {
        assert_eq!(of(text), expected, "{text}");
    }
}

#[test]
fn plugins_and_entities_that_are_not_supported() {
    let text = "services:\n- name: s\n  host: h\n  plugins:\n  - name: rate-limiting\n    config: {minute: 5}\n  - name: jwt\nplugins:\n- name: acl\n- name: my-own\n- name: key-auht\nacls:\n- {consumer: u, group: g}\nkeys: []\nconsumers:\n- username: u\n  basicauth_credentials: [{username: u}]\n  groups: [{name: g}]\nvaults:\n- {name: aws, prefix: my-aws}\n";
    let help = "(remove it, or set ignore_unsupported to load the rest without it)";
    assert_eq!(of(text), [
        format!("kong.yml:6:5: services[0].plugins[0].name: plugin 'rate-limiting' is not supported by Portcullis {help}"),
        format!("kong.yml:10:3: plugins[0].name: plugin 'acl' is not supported by Portcullis {help}"),
        format!("kong.yml:11:3: plugins[1].name: plugin 'my-own' not enabled; add it to the 'plugins' configuration property {help}"),
        "kong.yml:12:9: plugins[2].name: plugin 'key-auht' not enabled; add it to the 'plugins' configuration property (did you mean 'key-auth'?)".to_owned(),
        format!("kong.yml:13:1: acls: 'acls' are not supported by Portcullis {help}"),
        format!("kong.yml:15:1: keys: 'keys' are not supported by Portcullis {help}"),
        format!("kong.yml:18:3: consumers[0].basicauth_credentials: 'basicauth_credentials' are not supported by Portcullis {help}"),
        format!("kong.yml:19:3: consumers[0].groups: 'groups' are not supported by Portcullis {help}"),
        format!("kong.yml:21:4: vaults[0].name: vault 'aws' is not supported by Portcullis (only 'env') {help}"),
    ]);
    assert_eq!(
        tree("plugins: [{name: foo}]"),
        json!({"plugins": [{"name": "plugin 'foo' not enabled; add it to the 'plugins' configuration property"}]})
    );

    let ignoring = Options { ignore_unsupported: true, ..options() };
    let text = format!("_format_version: '3.0'\n{}", text.replace("- name: key-auht\n", ""));
    let loaded = load_text("kong.yml", &text, &ignoring).unwrap();
    assert_eq!(loaded.diagnostics.len(), 8);
    assert!(loaded.diagnostics.iter().all(|diagnostic| !diagnostic.is_error() && diagnostic.place.is_some()));
    assert_eq!(
        loaded.diagnostics[1].help.as_deref(),
        Some("it was left out, as ignore_unsupported says: requests that it would refuse pass")
    );
    assert_eq!(loaded.dataset.plugins.len(), 1);
    // A mistyped name is not left out: it may have been the guard.
    assert!(load_text("kong.yml", "_format_version: '3.0'\nplugins: [{name: key-auht}]", &ignoring).is_err());
}

#[test]
fn references() {
    assert_eq!(
        of(
            "services: [{name: svc, host: h}]\nplugins:\n- name: request-termination\n  service: svc1\n  consumer: my-consumer"
        ),
        [
            "kong.yml:5:12: plugins[0].service: invalid reference 'service: svc1' (no such entry in 'services') (did you mean 'svc'?)",
            "kong.yml:6:13: plugins[0].consumer: invalid reference 'consumer: my-consumer' (no such entry in 'consumers') (declare it under 'consumers', or correct the name)",
        ]
    );
    assert_eq!(
        tree("routes: [{name: my-route, service: svc1, paths: [/a]}]"),
        json!({"routes": {"my-route": ["invalid reference 'service: svc1' (no such entry in 'services')"]}})
    );
    assert_eq!(
        tree("routes: [{name: my-route, service: {id: 00000000-0000-4000-8000-000000000001}, paths: [/a]}]"),
        json!({"routes": {"my-route": ["invalid reference 'service: {\"id\":\"00000000-0000-4000-8000-000000000001\"}' (no such entry in 'services')"]}})
    );
    // What is declared and at fault is not missing.
    assert_eq!(
        of("services: [{name: s}]\nroutes: [{name: r, service: s, paths: [/a]}]"),
        ["kong.yml:2:12: services[0].host: required field missing (add 'host')"]
    );
}

#[test]
fn duplicates() {
    let id = "00000000-0000-4000-8000-000000000001";
    for (text, expected, fields) in [
        (
            "services:\n- {name: foo, host: h}\n- {name: foo, host: h}".to_owned(),
            "kong.yml:4:10: services[1].name: uniqueness violation: 'services' entity with name set to 'foo' already declared (rename it, or remove one of the two)".to_owned(),
            json!({"services": [null, "uniqueness violation: 'services' entity with name set to 'foo' already declared"]}),
        ),
        (
            format!("services:\n- {{name: a, host: h, id: {id}}}\n- {{name: b, host: h, id: {id}}}"),
            format!("kong.yml:4:26: services[1].id: uniqueness violation: 'services' entity with primary key set to '{id}' already declared (rename it, or remove one of the two)"),
            json!({"services": [null, format!("uniqueness violation: 'services' entity with primary key set to '{id}' already declared")]}),
        ),
        (
            "consumers:\n- {username: foo, custom_id: c}\n- {username: bar, custom_id: c}".to_owned(),
            "kong.yml:4:30: consumers[1].custom_id: uniqueness violation: 'consumers' entity with custom_id set to 'c' already declared (rename it, or remove one of the two)".to_owned(),
            json!({"consumers": {"bar": "uniqueness violation: 'consumers' entity with custom_id set to 'c' already declared"}}),
        ),
        (
            "consumers:\n- {username: foo, keyauth_credentials: [{key: hunter2}]}\n- {username: bar, keyauth_credentials: [{key: hunter2}]}".to_owned(),
            "kong.yml:4:47: consumers[1].keyauth_credentials[0].key: uniqueness violation: 'keyauth_credentials' entity with key set to '•••' already declared (rename it, or remove one of the two)".to_owned(),
            json!({"keyauth_credentials": ["uniqueness violation: 'keyauth_credentials' entity with key set to 'hunter2' already declared"]}),
        ),
    ] {
        assert_eq!(of(&text), [expected]);
        assert_eq!(tree(&text), fields);
    }
    let plugins = of("plugins:\n- name: jwt\n- name: jwt");
    assert!(
        plugins[0]
            .starts_with("kong.yml:4:3: plugins[1].id: uniqueness violation: 'plugins' entity with primary key set to"),
        "{plugins:?}"
    );
    let plugins = of(&format!("plugins:\n- name: jwt\n- {{name: jwt, id: {id}}}"));
    assert!(plugins[0].contains("uniqueness violation: 'plugins' entity with the same"), "{plugins:?}");
    let targets = of("upstreams:\n- name: u\n  targets:\n  - target: h:80\n  - target: h:80");
    assert!(
        targets[0].starts_with("kong.yml:6:5: upstreams[0].targets[1].id: uniqueness violation: 'targets'"),
        "{targets:?}"
    );
}

#[test]
fn text_that_does_not_parse() {
    for (text, expected) in [
        (
            "_format_version: '3.0'\nservices: [",
            "kong.yml:2:12: failed parsing declarative configuration: did not find expected node content, while parsing a flow node",
        ),
        (
            "_format_version: '3.0'\nservices:\n- name: a\n  name: b",
            "kong.yml:4:3: failed parsing declarative configuration: services[0]: duplicate key 'name'",
        ),
        (
            "_format_version: '3.0'\nservices: []\nservices: []",
            "kong.yml:3:1: failed parsing declarative configuration: duplicate key 'services'",
        ),
        (
            "{\"_format_version\": \"3.0\",\n \"services\": [{\"name\": \"a\", \"name\": \"b\"}]}",
            "kong.yml:2:29: failed parsing declarative configuration: duplicate key 'name'",
        ),
        (
            "{\"_format_version\": \"3.0\",\n \"_comment\": \"a\", \"_comment\": \"b\"}",
            "kong.yml:2:19: failed parsing declarative configuration: duplicate key '_comment'",
        ),
        (
            "{\"_format_version\": \"3.0\",\n \"services\": [}",
            "kong.yml:2:15: failed parsing declarative configuration: expected value",
        ),
        ("a: *b", "kong.yml:1:4: failed parsing declarative configuration: unknown anchor"),
        ("a: !foo b", "kong.yml:1:4: failed parsing declarative configuration: "),
        (
            "a: 1\n---\nb: 2",
            "kong.yml:1:1: failed parsing declarative configuration: deserializing from YAML containing more than one document is not supported",
        ),
    ] {
        let found = faults(text);
        assert!(found[0].starts_with(expected), "{text}\n{found:?}");
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

#[test]
fn all_at_once_and_in_order() {
    let found = of(
        "services:\n- name: a b\n  host: h\n  routes:\n  - name: r\n    paths: [x]\nconsumers:\n- username: u\n  foo: 1\n  jwt_secrets:\n  - key: k\n    algorithm: HS1\nplugins:\n- name: jwt\n  route: nowhere\nunknown: 1\n",
    );
    let lines: Vec<u32> = found.iter().map(|fault| fault.split(':').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(lines, [3, 7, 10, 13, 16, 17], "{found:#?}");
}

#[test]
fn excerpts_show_the_line_and_no_secret() {
    let text = "_format_version: '3.0'\nconsumers:\n- username: u\n  jwt_secrets:\n  - {key: k, secret: hunter2, algorithm: HS1}\n  - key: l\n    secret:\n    - hunter3\n  foo: bar\n";
    let refused = try_load(text).unwrap_err();
    let excerpts: Vec<_> = refused.diagnostics.iter().map(|diagnostic| diagnostic.excerpt.clone().unwrap()).collect();
    assert_eq!(excerpts, ["  - {key: •••, secret: •••, algorithm: HS1}", "    - •••", "  foo: bar"]);
    let everything = format!("{:?}", refused.diagnostics);
    assert!(!everything.contains("hunter"), "{everything}");
    // The environment's values are not shown, either.
    let refused =
        try_load("_format_version: '3.0'\nservices:\n- {name: s, hsot: \"${{ env \"DECK_HOST\" }}\"}\n").unwrap_err();
    assert_eq!(refused.diagnostics[0].excerpt.as_deref(), Some("- {name: s, hsot: \"${{ env \"DECK_HOST\" }}\"}"));
}

#[test]
fn flattened_errors_pair_entities_with_their_faults() {
    let text = r#"{"_format_version": "3.0", "foo": 1, "services": [{"name": "s", "id": "00000000-0000-4000-8000-000000000001", "tags": ["t"], "port": -1, "host": "h",
        "routes": [{"name": "r", "paths": ["x"], "protocols": ["http"]}]}]}"#;
    let refused = try_load(text).unwrap_err();
    let answer = refused.to_kong(true);
    assert_eq!(answer["fields"], json!({"foo": "unknown field"}));
    assert_eq!(answer["message"], json!("declarative config is invalid: {foo=\"unknown field\"}"));
    assert_eq!(
        answer["flattened_errors"],
        json!([
            {
                "entity_type": "route",
                "entity_name": "r",
                "errors": [{"type": "field", "field": "paths.1", "message": "should start with: / (fixed path) or ~/ (regex path)"}],
                "entity": {"name": "r", "paths": ["x"], "protocols": ["http"], "service": {"id": "00000000-0000-4000-8000-000000000001"}},
            },
            {
                "entity_type": "service",
                "entity_name": "s",
                "entity_id": "00000000-0000-4000-8000-000000000001",
                "entity_tags": ["t"],
                "errors": [{"type": "field", "field": "port", "message": "value should be between 0 and 65535"}],
                "entity": {"name": "s", "id": "00000000-0000-4000-8000-000000000001", "tags": ["t"], "port": -1, "host": "h"},
            },
        ])
    );
}

#[test]
fn kong_stops_at_the_first_stage_and_people_hear_of_all() {
    let refused = try_load(
        "_format_version: '3.0'\nservices: [{name: s, host: h, x: 1}]\nroutes: [{name: r, service: t, paths: [/a]}]",
    )
    .unwrap_err();
    assert_eq!(refused.diagnostics.len(), 2);
    assert_eq!(refused.to_kong(false)["fields"], json!({"services": [{"x": "unknown field"}]}));
    assert_eq!(refused.message(), "declarative config is invalid: {services={{x=\"unknown field\"}}}");
}
