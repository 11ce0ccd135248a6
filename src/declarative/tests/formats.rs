//! What is accepted, in which forms, and that they mean the same.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn versions() {
    for (text, expected) in [
        ("_format_version: 3.0", "kong.yml:1:18: _format_version: expected a string (put it in quotes: \"3.0\")"),
        ("_format_version: 1.1", "kong.yml:1:18: _format_version: expected a string (put it in quotes: \"1.1\")"),
        ("_format_version: foobar", "kong.yml:1:18: _format_version: expected one of: 1.1, 2.1, 3.0 (write \"3.0\")"),
        ("services: []", "kong.yml:1:1: _format_version: required field missing (add _format_version: \"3.0\")"),
        ("_format_version:", "kong.yml:1:16: _format_version: required field missing (write \"3.0\")"),
    ] {
        assert_eq!(faults(text), [expected], "{text}");
    }
    for version in ["1.1", "2.1", "3.0"] {
        load(&format!("_format_version: \"{version}\""));
    }
}

#[test]
fn old_formats_bring_their_paths() {
    let paths = |version: &str| {
        let loaded = load(&format!(
            "_format_version: '{version}'\nroutes: [{{name: a, paths: ['/regex.+', /prefix]}}]\nservices: [{{name: s, host: h, routes: [{{name: b, paths: ['/x%41']}}]}}]"
        ));
        let mut paths: Vec<_> = loaded.dataset.routes.iter().flat_map(|route| route.paths.clone().unwrap()).collect();
        paths.sort();
        paths
    };
    assert_eq!(paths("2.1"), ["/prefix", "/xA", "~/regex.+"]);
    assert_eq!(paths("1.1"), ["/prefix", "/xA", "~/regex.+"]);
    let refused = try_load("_format_version: '2.1'\nroutes: [{name: a, paths: ['/regex.+(']}]").unwrap_err();
    assert!(refused.diagnostics[0].message.starts_with("invalid regex: '/regex.+('"), "{:?}", refused.diagnostics);
}

#[test]
fn comments_and_anchors() {
    let loaded = load(
        "_format_version: '3.0'\n_comment: hello\n_ignore:\n- &shared {retries: 2, connect_timeout: 5}\n_transform: true\nservices:\n- <<: *shared\n  name: a\n  host: h\n  connect_timeout: 7\n  _comment: x\n  _ignore: [1]\n- {<<: [*shared], name: b, host: h}\n",
    );
    let of = |name: &str| {
        loaded.dataset.services.iter().find(|service| service.name.as_deref() == Some(name)).unwrap().clone()
    };
    assert_eq!((of("a").retries, of("a").connect_timeout), (2, 7));
    assert_eq!((of("b").retries, of("b").connect_timeout), (2, 5));
    assert_eq!(
        faults("_format_version: '3.0'\n_comment: 1\n_ignore: x\n_transform: 5"),
        [
            "kong.yml:2:11: _comment: expected a string",
            "kong.yml:3:10: _ignore: expected an array",
            "kong.yml:4:13: _transform: expected a boolean",
        ]
    );
}

#[test]
fn empty_configurations() {
    assert_eq!(load3("").dataset.count(Kind::Service), 0);
    load3("services:\nroutes: {}\nplugins: []");
    for (text, message) in [
        ("", "expected a declarative configuration"),
        ("  \n", "expected a declarative configuration"),
        ("bobby tables", "failed parsing declarative configuration: expected an object"),
        ("\"bobby tables\"", "failed parsing declarative configuration: expected an object"),
        ("[1, 2]", "failed parsing declarative configuration: expected an object"),
        ("# only this", "failed parsing declarative configuration: expected an object"),
    ] {
        let refused = try_load(text).unwrap_err();
        assert_eq!(refused.diagnostics[0].message, message, "{text:?}");
        assert_eq!(refused.to_kong(false)["fields"], json!({"error": message}), "{text:?}");
    }
}

#[test]
fn json_and_yaml_and_yaml_in_json_clothes() {
    let json = r#"{"_format_version": "3.0", "services": [{"name": "s", "url": "https://h:1/p"}]}"#;
    let yaml = "_format_version: '3.0'\nservices:\n- name: s\n  url: https://h:1/p\n";
    let flow = "{_format_version: '3.0', services: [{name: s, url: 'https://h:1/p'}]}";
    assert_eq!(canonical(&load(json).dataset), canonical(&load(yaml).dataset));
    assert_eq!(canonical(&load(flow).dataset), canonical(&load(yaml).dataset));
    let service = &load(yaml).dataset.services[0];
    assert_eq!((service.port, service.host.as_str(), service.path.as_deref()), (1, "h", Some("/p")));
}

#[test]
fn yaml_1_1_booleans() {
    let loaded = load3(
        "routes:\n- {name: r, paths: [/a], strip_path: no, preserve_host: On}\nplugins: [{name: jwt, enabled: off, config: {secret_is_base64: yes}}]",
    );
    assert_eq!((loaded.dataset.routes[0].strip_path, loaded.dataset.routes[0].preserve_host), (false, true));
    assert_eq!(loaded.dataset.plugins[0].config["secret_is_base64"], json!(true));
    assert!(!loaded.dataset.plugins[0].enabled);
}

#[test]
fn references_in_every_form() {
    let id = "b268827a-8f7f-551f-8769-e6bceb2f3ec6";
    for reference in [
        id.to_owned(),
        "s".into(),
        format!("{{id: {id}}}"),
        "{name: s}".into(),
        format!("{{id: {}}}", id.to_uppercase()),
    ] {
        let loaded = load3(&format!(
            "routes: [{{name: r, service: {reference}, paths: [/a]}}]\nservices: [{{name: s, host: h}}]"
        ));
        assert_eq!(loaded.dataset.routes[0].service.unwrap().id.to_string(), id, "{reference}");
    }
    let loaded = load3("routes: [{name: r, service: null, paths: [/a]}]");
    assert!(loaded.dataset.routes[0].service.is_none());
    let loaded = load3("consumers: [{username: u}]\njwt_secrets: [{consumer: {username: u}, key: k}]");
    assert_eq!(loaded.dataset.jwt_secrets.len(), 1);
}

#[test]
fn nested_is_flat() {
    let nested = load3(
        "services: [{name: s, url: 'http://h:1/p', routes: [{name: r, paths: [/x], plugins: [{name: jwt}]}], plugins: [{name: key-auth}]}]\nconsumers: [{username: u, jwt_secrets: [{key: k, secret: s}], keyauth_credentials: [{key: kk}], oauth2_credentials: [{name: app, client_id: c, client_secret: x}], plugins: [{name: request-termination, route: r}]}]\nupstreams: [{name: up, targets: [{target: 'h:80'}]}]",
    );
    let flat = load3(
        "plugins: [{name: jwt, route: r}, {name: key-auth, service: s}, {name: request-termination, route: {name: r}, consumer: u}]\ntargets: [{upstream: up, target: 'h:80'}]\nupstreams: [{name: up}]\nroutes: [{name: r, service: s, paths: [/x]}]\noauth2_credentials: [{consumer: u, name: app, client_id: c, client_secret: x}]\nkeyauth_credentials: [{consumer: u, key: kk}]\njwt_secrets: [{consumer: u, key: k, secret: s}]\nconsumers: [{username: u}]\nservices: [{name: s, url: 'http://h:1/p'}]",
    );
    assert_eq!(canonical(&nested.dataset), canonical(&flat.dataset));
}

#[test]
fn a_child_may_repeat_its_parent() {
    let load = |consumer: &str| {
        try_load(&format!(
            "_format_version: '3.0'\nconsumers:\n- username: u\n  id: 00000000-0000-4000-8000-000000000001\n  jwt_secrets:\n  - key: k\n    consumer: {consumer}\n"
        ))
    };
    for same in [
        "u",
        "00000000-0000-4000-8000-000000000001",
        "{id: 00000000-0000-4000-8000-000000000001}",
        "{username: u}",
        "null",
    ] {
        load(same).unwrap_or_else(|refused| panic!("{same}: {:?}", refused.diagnostics));
    }
    let refused = load("other").unwrap_err();
    assert_eq!(refused.fields()["consumers"], json!([{"jwt_secrets": [{"consumer": "value must be null"}]}]));
    assert!(
        refused.diagnostics[0]
            .to_string()
            .starts_with("kong.yml:7:15: consumers[0].jwt_secrets[0].consumer: value must be null")
    );
}

#[test]
fn ids_are_stable_and_unnamed_twins_are_two() {
    let text = "routes: [{paths: [/a]}, {paths: [/a]}, {paths: [/b]}]\nconsumers: [{custom_id: x}]\njwt_secrets: [{consumer: 5d4b4e1f-0000-4000-8000-000000000000, key: k}]";
    let text = text.replace("[{custom_id: x}]", "[{custom_id: x, id: 5d4b4e1f-0000-4000-8000-000000000000}]");
    let (one, two) = (load3(&text), load3(&text));
    assert_eq!(one.dataset.routes.len(), 3);
    assert_eq!(
        one.dataset.routes.iter().map(|route| route.id).collect::<Vec<_>>(),
        two.dataset.routes.iter().map(|route| route.id).collect::<Vec<_>>()
    );
    let id = |loaded: &Loaded| loaded.dataset.jwt_secrets.iter().next().unwrap().id;
    assert_eq!(id(&one), id(&two));
}

#[test]
fn times_default_to_the_load() {
    let loaded = load3("consumers: [{username: a}, {username: b, created_at: 5, updated_at: 6}]");
    let times = |name: &str| {
        loaded
            .dataset
            .consumers
            .iter()
            .find(|consumer| consumer.username.as_deref() == Some(name))
            .map(|c| (c.created_at, c.updated_at))
            .unwrap()
    };
    assert_eq!(times("a"), (1_700_000_000, 1_700_000_000));
    assert_eq!(times("b"), (5, 6));
}

#[test]
fn client_secrets_are_hashed_unless_told_not_to() {
    let secret = |transform: &str| {
        let loaded = load3(&format!(
            "{transform}\nconsumers: [{{username: u, oauth2_credentials: [{{name: a, client_secret: plain, hash_secret: true}}]}}]"
        ));
        loaded.dataset.oauth2_credentials.iter().next().unwrap().client_secret.to_string()
    };
    assert_ne!(secret(""), "plain");
    assert_eq!(secret("_transform: false"), "plain");
}

#[test]
fn the_hash_is_of_the_text() {
    assert_eq!(load("_format_version: '3.0'").hash, "b1edcb81266383c9f0d0c5b182576267");
    assert_ne!(load("_format_version: '3.0'").hash, load("_format_version: '3.0'\n").hash);
}

#[test]
fn files_and_folders_are_one_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    };
    let a = write("a.yaml", "_format_version: '3.0'\nroutes: [{name: r, service: s, paths: [/a]}]\n");
    write("b/c.json", r#"{"_format_version": "3.0", "services": [{"name": "s", "host": "h"}]}"#);
    write(".hidden/x.yml", "broken: [");
    write("notes.txt", "broken: [");
    let loaded = crate::declarative::load_files(&[folder.path().to_owned()], &options()).unwrap();
    assert_eq!((loaded.dataset.routes.len(), loaded.dataset.services.len()), (1, 1));

    let other =
        write("d.yaml", "_format_version: '2.1'\nservices: [{name: t}]\nroutes: [{name: x, paths: [/x], nope: 1}]\n");
    let refused = crate::declarative::load_files(&[a.clone(), other.clone()], &options()).unwrap_err();
    let lines: Vec<_> = refused.diagnostics.iter().map(ToString::to_string).collect();
    assert!(
        lines[0].starts_with(&format!("{}:2:29: routes[0].service: invalid reference 'service: s'", a.display())),
        "{lines:#?}"
    );
    assert!(
        lines.iter().any(|line| line.contains("d.yaml:1:18: _format_version: expected 3.0, as in the first file")),
        "{lines:#?}"
    );
    assert!(lines.iter().any(|line| line.contains("d.yaml:3:33: routes[0].nope: unknown field")), "{lines:#?}");
    // Kong counts through the files.
    assert_eq!(refused.fields()["routes"], json!([null, {"nope": "unknown field"}]));

    for (paths, expected) in [
        (vec![folder.path().join("none.yml")], "No such file"),
        (vec![folder.path().join("notes.txt")], "unknown file type"),
        (vec![], "no declarative file found"),
    ] {
        let refused = crate::declarative::load_files(&paths, &options()).unwrap_err();
        assert!(refused.diagnostics[0].message.contains(expected), "{:?}", refused.diagnostics);
    }
    let small = Options { max_bytes: 10, ..options() };
    assert!(
        crate::declarative::load_files(&[a], &small).unwrap_err().diagnostics[0]
            .message
            .contains("larger than the limit")
    );
}

/// `tags: null` says nothing, and is enough for the long way.
#[test]
fn the_short_way_and_the_long_way_are_one() {
    let id = "00000000-0000-4000-8000-00000000000a";
    for (plain, counts) in [
        (
            json!({"consumers": [{"username": "a"}, {"custom_id": "b"}, {"username": "c", "custom_id": "c", "id": id.to_uppercase()}]}),
            (3, 0),
        ),
        (
            json!({"consumers": [{"username": "a", "jwt_secrets": [{"key": "k", "secret": "s"}, {"key": "l", "secret": "s", "algorithm": "HS512"}, {"key": "m", "secret": "s", "id": id}]}]}),
            (1, 3),
        ),
        (
            json!({"consumers": [{"username": "a", "keyauth_credentials": [{"key": "k"}, {"key": "l", "id": id}]}]}),
            (1, 0),
        ),
        (
            json!({"consumers": [{"username": "a", "jwt_secrets": [{"key": "k", "secret": "s"}], "keyauth_credentials": [{"key": "k"}]}, {"username": "b", "jwt_secrets": []}]}),
            (2, 1),
        ),
    ] {
        let mut long = plain.clone();
        lengthen(&mut long);
        let texts = [plain, long].map(|mut document| {
            document["_format_version"] = json!("3.0");
            document.to_string()
        });
        let [short, long] = texts.map(|text| load(&text));
        assert_eq!((short.dataset.consumers.len(), short.dataset.jwt_secrets.len()), counts);
        assert_eq!(canonical(&short.dataset), canonical(&long.dataset));
    }
    for faulty in [
        json!({"consumers": [{"username": "a"}, {"username": "a"}]}),
        json!({"consumers": [{"username": "a", "custom_id": "x"}, {"username": "b", "custom_id": "x"}]}),
        json!({"consumers": [{"username": "a", "id": id}, {"username": "b", "id": id}]}),
        json!({"consumers": [{"username": "a", "jwt_secrets": [{"key": "k", "secret": "s"}]}, {"username": "b", "jwt_secrets": [{"key": "k", "secret": "t"}]}]}),
        json!({"consumers": [{"username": "a", "keyauth_credentials": [{"key": "k"}, {"key": "k"}]}]}),
        json!({"consumers": [{"username": "", "jwt_secrets": [{"key": "", "secret": "s"}, {"key": 5, "secret": "s"}]}]}),
        json!({"consumers": [{"username": "a", "jwt_secrets": [{"key": "k", "secret": "s", "algorithm": "RS256"}, {"key": "l", "secret": ""}]}]}),
    ] {
        let mut long = faulty.clone();
        lengthen(&mut long);
        let [short, long] = [faulty, long].map(|mut document| {
            document["_format_version"] = json!("3.0");
            let refused = try_load(&document.to_string()).unwrap_err();
            let said: Vec<_> = refused
                .diagnostics
                .iter()
                .map(|diagnostic| (diagnostic.path.clone(), diagnostic.message.clone()))
                .collect();
            (refused.fields().clone(), said)
        });
        assert_eq!(short, long);
    }
}

fn lengthen(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Array(list) => list.iter_mut().for_each(lengthen),
        serde_json::Value::Object(map) => {
            map.values_mut().for_each(lengthen);
            if !map.contains_key("consumers") {
                map.insert("tags".into(), serde_json::Value::Null);
            }
        }
        _ => {}
    }
}

#[test]
fn the_short_way_is_open() {
    for kind in [Kind::Consumer, Kind::JwtSecret, Kind::KeyAuthCredential] {
        assert!(crate::declarative::load::is_fast(kind), "the table of {kind:?} has changed: see load/fast.rs");
    }
}

/// A small configuration as parts: services with routes with plugins, consumers with credentials.
fn parts() -> impl Strategy<Value = (Vec<(u8, Vec<(u8, bool)>)>, Vec<(u8, Vec<u8>)>)> {
    let services =
        prop::collection::vec((any::<u8>(), prop::collection::vec((any::<u8>(), any::<bool>()), 0..4)), 0..4);
    let consumers = prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..3)), 0..4);
    (services, consumers)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nested_and_flat_are_the_same((services, consumers) in parts()) {
        let mut nested = json!({"_format_version": "3.0", "services": [], "consumers": []});
        let mut flat = json!({"_format_version": "3.0", "plugins": [], "jwt_secrets": [], "routes": [], "services": [], "consumers": []});
        let push = |document: &mut serde_json::Value, list: &str, entity: serde_json::Value| document[list].as_array_mut().unwrap().push(entity);
        for (s, (port, routes)) in services.iter().enumerate() {
            let mut inner = json!([]);
            for (r, (path, plugin)) in routes.iter().enumerate() {
                let name = format!("r{s}-{r}");
                let mut route = json!({"name": name, "paths": [format!("/{path}")]});
                push(&mut flat, "routes", {let mut route = route.clone(); route["service"] = json!(format!("s{s}")); route});
                if *plugin {
                    let plugin = json!({"name": "jwt", "config": {"maximum_expiration": u32::from(*path), "claims_to_verify": ["exp"]}});
                    push(&mut flat, "plugins", {let mut plugin = plugin.clone(); plugin["route"] = json!(name); plugin});
                    route["plugins"] = json!([plugin]);
                }
                inner.as_array_mut().unwrap().push(route);
            }
            let service = json!({"name": format!("s{s}"), "host": "h", "port": u32::from(*port)});
            push(&mut flat, "services", service.clone());
            push(&mut nested, "services", {let mut service = service; service["routes"] = inner; service});
        }
        for (c, (tag, keys)) in consumers.iter().enumerate() {
            let consumer = json!({"username": format!("c{c}"), "tags": [tag.to_string()]});
            push(&mut flat, "consumers", consumer.clone());
            let secrets: Vec<_> = keys.iter().enumerate().map(|(k, key)| json!({"key": format!("{c}-{k}-{key}"), "secret": "s"})).collect();
            for secret in &secrets {
                push(&mut flat, "jwt_secrets", {let mut secret = secret.clone(); secret["consumer"] = json!(format!("c{c}")); secret});
            }
            push(&mut nested, "consumers", {let mut consumer = consumer; consumer["jwt_secrets"] = json!(secrets); consumer});
        }
        let (nested_json, flat_yaml) = (nested.to_string(), serde_yaml::to_string(&flat).unwrap());
        prop_assert_eq!(canonical(&load(&nested_json).dataset), canonical(&load(&flat_yaml).dataset));
        let nested_yaml = serde_yaml::to_string(&nested).unwrap();
        prop_assert_eq!(canonical(&load(&nested_yaml).dataset), canonical(&load(&flat.to_string()).dataset));
    }
}
