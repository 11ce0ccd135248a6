//! decK's additions, and references into the environment.

use serde_json::json;

use super::*;

#[test]
fn members_of_deck_files() {
    let loaded = load3(
        "_info:\n  select_tags: [team-a, team-b]\n  default_lookup_tags: {consumers: [x]}\n  defaults:\n    service: {retries: 1, connect_timeout: 9, tags: [d]}\n    route: {protocols: [https]}\n    upstream: {healthchecks: {active: {concurrency: 3}}}\n_workspace: default\n_konnect: {control_plane_name: x}\n_plugin_configs:\n  strict:\n    claims_to_verify: [exp]\n    maximum_expiration: 60\nservices:\n- name: s\n  host: h\n  connect_timeout: 5\n  tags: [mine, team-a]\n  routes:\n  - name: r\n    paths: [/a]\n    plugins:\n    - name: jwt\n      _config: strict\n      config: {maximum_expiration: 30}\nupstreams: [{name: u, healthchecks: {active: {timeout: 2}}}]\nconsumers: [{username: c, jwt_secrets: [{key: k}]}]\n",
    );
    let dataset = &loaded.dataset;
    let service = &dataset.services[0];
    assert_eq!((service.retries, service.connect_timeout), (1, 5));
    let tags =
        |tags: &crate::entity::Tags| tags.as_ref().unwrap().iter().map(|tag| tag.to_string()).collect::<Vec<_>>();
    assert_eq!(tags(&service.tags), ["mine", "team-a", "team-b"]);
    assert_eq!(tags(&dataset.jwt_secrets.iter().next().unwrap().tags), ["team-a", "team-b"]);
    assert_eq!(dataset.routes[0].protocols, [crate::entity::Protocol::Https]);
    assert_eq!(dataset.upstreams[0].healthchecks.active.concurrency, 3);
    let config = &dataset.plugins[0].config;
    assert_eq!((&config["claims_to_verify"], &config["maximum_expiration"]), (&json!(["exp"]), &json!(30)));
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);

    let loaded = load3("_workspace: team");
    assert_eq!(
        loaded.diagnostics[0].to_string(),
        "kong.yml:2:13: _workspace: workspace 'team' is ignored: there is one, 'default'"
    );
    assert_eq!(
        faults("_format_version: '3.0'\n_plugin_configs: {strict: {}}\nplugins: [{name: jwt, _config: srtict}]"),
        ["kong.yml:3:32: plugins[0]._config: there is no 'srtict' in '_plugin_configs' (did you mean 'strict'?)"]
    );
}

#[test]
fn templates() {
    let loaded = load(
        "_format_version: '3.0'\nservices:\n- name: s\n  # host: ${{ env \"DECK_UNSET\" }}\n  host: \"${{ env \"DECK_HOST\" }}\"\n",
    );
    assert_eq!(loaded.dataset.services[0].host, "deck.example");
    assert_eq!(
        faults("_format_version: '3.0'\nservices:\n- name: ${{ env \"HOME\" }}\n  host: \"${{ env \"DECK_NO\" }}\"\n"),
        [
            "kong.yml:3:9: environment variables in the state file must be prefixed with 'DECK_', found: 'HOME'",
            "kong.yml:4:10: environment variable 'DECK_NO' present in state file but not set",
        ]
    );
    // Places are those of the file, not of the expanded text.
    let multiline = Options { environment: Environment::from_iter([("DECK_M", "a\nb\nc")]), ..options() };
    let refused = load_text(
        "f",
        "_format_version: '3.0'\n_comment: |\n ${{ env \"DECK_M\" | indent 1 }}\nservices: 5\n",
        &multiline,
    )
    .unwrap_err();
    assert_eq!(refused.diagnostics[0].to_string(), "f:4:11: services: expected an array");
    let off = Options { templates: false, ..options() };
    let loaded =
        load_text("f", "_format_version: '3.0'\nconsumers: [{username: '${{ env \"DECK_HOST\" }}'}]", &off).unwrap();
    assert_eq!(loaded.dataset.consumers.iter().next().unwrap().username.as_deref(), Some("${{ env \"DECK_HOST\" }}"));
}

#[test]
fn vault_references_where_they_may_be() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let (certificate, key) = (certificate.pem(), key.serialize_pem());
    let environment = Environment::from_iter([
        ("TLS", json!({"cert": certificate, "key": key}).to_string()),
        ("MY_KEY", key.clone()),
    ]);
    let options = Options { environment, ..options() };
    let load = |text: &str| load_text("kong.yml", format!("_format_version: '3.0'\n{text}"), &options);

    let loaded = load(
        "vaults: [{prefix: my-env, name: env, config: {prefix: MY_}}]\ncertificates:\n- cert: '{vault://env/tls/cert}'\n  key: '{vault://my-env/key}'\n  snis: [a.example, {name: b.example}]\nconsumers: [{username: u, jwt_secrets: [{key: k, secret: '{vault://env/my-key}'}]}]\n",
    )
    .unwrap();
    let stored = &loaded.dataset.certificates[0];
    assert_eq!((&stored.cert, &stored.key), (&certificate, &key));
    assert_eq!(loaded.dataset.snis.len(), 2);
    assert!(loaded.diagnostics.is_empty());
    // Not a field that may hold a reference: taken as it is.
    assert_eq!(&*loaded.dataset.jwt_secrets.iter().next().unwrap().secret, "{vault://env/my-key}");

    let loaded = load("certificates:\n- cert: '{vault://env/tls/cert}'\n  key: '{vault://env/unset}'\n").unwrap();
    assert_eq!(loaded.dataset.certificates[0].key, "");
    assert_eq!(
        loaded.diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "kong.yml:4:8: certificates[0].key: environment variable 'UNSET' is not set; the field is empty (set the variable before the gateway starts)"
        ]
    );
}
