//! Every table: what it accepts, what it supplies, and what it says.

mod plugins;
mod secrets;

use serde_json::{Value, json};

use super::{by_name, table};
use crate::entity::{Entity, Kind};
use crate::schema::{Document, Now, Violations, from_form};

const NOW: Now = Now::from_milliseconds(1_795_316_010_184);
const ID: &str = "00000000-0000-4000-8000-000000000001";

const RSA: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtFeoZiXjkm5SgjlDJEz5
pMcNfNJPDy6nihVuF5qrLbkCH4hnXaS4tTOVlJyi77qMouF58sRDVg8Kj0gl2YTt
mJcH/ovRac8rhNfJQBVWwXchpy/SVGS9H1E3dImnnNTp9DboB7eCmaeOVxA9F+TM
JB2pKKR59IERGQXAoKU48q0r60VyBRXUKt4MZUS8lSRoOwdwKSgK6dAbKbXB6AG5
p7btVSov05CcfvTPmMmPDbcqHLAYIa9kC4xs/InjuLIRUBpn7OxAKAl2Md4BxyqM
r+sKfyadHW9Uct+kmw4Wdwsb798h9uZmVpgYwsaiZE0x8slZTGGpExDf6kRTnJ3d
pQIDAQAB
-----END PUBLIC KEY-----
";
const EC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKcTtPW1VDMWTOUzuhnr+1LS8SEld
bs6pf2lqr7sREeg6UZSCy0eQkm6WjA7dbWwTCnawXTf94rIxFQ7w1Oo9ug==
-----END PUBLIC KEY-----
";
const ED25519: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAXXoiQ4ebqLLEfpnSgfKvIv5u6CgGrqrAOy+e2pj/fdQ=\n-----END PUBLIC KEY-----\n";

fn object(value: Value) -> Document {
    match value {
        Value::Object(members) => members,
        other => panic!("not an object: {other}"),
    }
}

fn insert(kind: Kind, input: Value) -> Value {
    Value::Object(
        table(kind).insert(object(input), NOW).unwrap_or_else(|violations| panic!("{}", violations.message())),
    )
}

fn refuse(kind: Kind, input: Value) -> Violations {
    match table(kind).insert(object(input), NOW) {
        Err(violations) => violations,
        Ok(document) => panic!("accepted: {}", Value::Object(document)),
    }
}

fn faults(kind: Kind, input: Value) -> Value {
    Value::Object(refuse(kind, input).fields)
}

fn update(kind: Kind, current: &Value, patch: Value) -> Result<Value, Value> {
    let current = object(current.clone());
    table(kind)
        .update(&current, object(patch), NOW)
        .map(Value::Object)
        .map_err(|violations| Value::Object(violations.fields))
}

fn form(kind: Kind, text: &[(&str, &str)], current: Option<&Value>) -> Value {
    let pairs = text.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Value::Object(from_form(table(kind), pairs, current.and_then(Value::as_object)))
}

fn certified(subject: &str, authority: bool) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![subject.to_owned()]).unwrap();
    if authority {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// The least that each table accepts.
fn least(kind: Kind) -> Value {
    let id = json!({"id": ID});
    match kind {
        Kind::Certificate => {
            let (cert, key) = certified("a.test", false);
            json!({"cert": cert, "key": key})
        }
        Kind::CaCertificate => json!({"cert": certified("ca.test", true).0}),
        Kind::Consumer => json!({"username": "u"}),
        Kind::Service => json!({"host": "h"}),
        Kind::Upstream => json!({"name": "u"}),
        Kind::Sni => json!({"name": "a.test", "certificate": id}),
        Kind::Route => json!({"paths": ["/"]}),
        Kind::Target => json!({"target": "h", "upstream": id}),
        Kind::JwtSecret | Kind::KeyAuthCredential => json!({"consumer": id}),
        Kind::Oauth2Credential => json!({"name": "n", "consumer": id}),
        Kind::Oauth2Token => json!({"credential": id, "expires_in": 60}),
        Kind::Plugin => json!({"name": "jwt"}),
    }
}

fn typed_and_back(kind: Kind, document: &Value) -> Value {
    let back = match Entity::from_document(kind, document.clone()).unwrap_or_else(|error| panic!("{kind:?}: {error}")) {
        Entity::Certificate(e) => serde_json::to_value(&*e),
        Entity::CaCertificate(e) => serde_json::to_value(&*e),
        Entity::Consumer(e) => serde_json::to_value(&*e),
        Entity::Service(e) => serde_json::to_value(&*e),
        Entity::Upstream(e) => serde_json::to_value(&*e),
        Entity::Sni(e) => serde_json::to_value(&*e),
        Entity::Route(e) => serde_json::to_value(&*e),
        Entity::Target(e) => serde_json::to_value(&*e),
        Entity::JwtSecret(e) => serde_json::to_value(&*e),
        Entity::KeyAuthCredential(e) => serde_json::to_value(&*e),
        Entity::Oauth2Credential(e) => serde_json::to_value(&*e),
        Entity::Oauth2Token(e) => serde_json::to_value(&*e),
        Entity::Plugin(e) => serde_json::to_value(&*e),
    };
    back.unwrap()
}

#[test]
fn every_accepted_document_is_its_typed_entity() {
    for kind in Kind::ALL {
        let document = insert(kind, least(kind));
        assert_eq!(typed_and_back(kind, &document), document, "{kind:?}");
        assert_eq!(by_name(kind.collection()).map(|table| table.name), Some(kind.collection()));
        // What came out goes in again, and stays what it was: declarative files are dumped and loaded.
        assert_eq!(insert(kind, document.clone()), document, "{kind:?} again");
    }
    for name in ["key-auth", "oauth2", "openid-connect", "request-termination"] {
        let config = match name {
            "oauth2" => json!({"enable_password_grant": true}),
            "openid-connect" => json!({"issuer": "http://idp/realms/x"}),
            _ => json!({}),
        };
        let document = insert(Kind::Plugin, json!({"name": name, "config": config}));
        assert_eq!(typed_and_back(Kind::Plugin, &document), document);
        assert_eq!(insert(Kind::Plugin, document.clone()), document, "{name} again");
    }
}

#[test]
fn nulls_become_what_the_typed_entities_can_hold() {
    for kind in Kind::ALL {
        let least = object(least(kind));
        for field in table(kind).fields() {
            let mut input = least.clone();
            input.insert(field.name.to_owned(), Value::Null);
            if let Ok(document) = table(kind).insert(input, NOW) {
                let document = Value::Object(document);
                assert_eq!(typed_and_back(kind, &document), document, "{kind:?} {}", field.name);
            }
        }
    }
}

#[test]
fn consumers() {
    let alice =
        insert(Kind::Consumer, json!({"username": "alice", "custom_id": "cid1", "tags": ["t1", "t2", "t1"], "id": ID}));
    assert_eq!(
        alice,
        json!({"id": ID, "created_at": 1_795_316_010, "updated_at": 1_795_316_010, "username": "alice", "custom_id": "cid1",
               "tags": ["t1", "t2"]})
    );
    let empty = refuse(Kind::Consumer, json!({}));
    assert_eq!(
        empty.message(),
        "schema violation (at least one of these fields must be non-empty: 'custom_id', 'username')"
    );
    assert_eq!(empty.fields["@entity"][0], "at least one of these fields must be non-empty: 'custom_id', 'username'");
    assert_eq!(insert(Kind::Consumer, json!({"username": "ca", "created_at": 5, "updated_at": 6}))["created_at"], 5);
    assert_eq!(
        insert(Kind::Consumer, json!({"username": "ca", "created_at": 5, "updated_at": 6}))["updated_at"],
        1_795_316_010
    );
    assert_eq!(insert(Kind::Consumer, json!({"username": "café ☕"}))["username"], "café ☕");
    assert_eq!(
        refuse(Kind::Consumer, json!({"username": "z", "tags": ["ok", "a,b"]})).message(),
        "schema violation (tags.2: invalid tag 'a,b': expected printable ascii (except `,` and `/`) or valid utf-8 sequences)"
    );
    assert_eq!(
        faults(Kind::Consumer, json!({"username": "", "custom_id": 5, "id": "x", "foo": null, "tags": "t"})),
        json!({"foo": "unknown field", "id": "expected a valid UUID", "username": "length must be at least 1",
               "custom_id": "expected a string", "tags": "expected a set"})
    );
    let from_form =
        form(Kind::Consumer, &[("username", "123"), ("custom_id", ""), ("tags[1]", "a"), ("created_at", "5")], None);
    assert_eq!(from_form, json!({"username": "123", "custom_id": null, "tags": ["a"], "created_at": 5}));
}

#[test]
fn patches() {
    let bob = insert(Kind::Consumer, json!({"username": "bob", "custom_id": "c", "id": ID, "created_at": 5}));
    let patched =
        update(Kind::Consumer, &bob, json!({"custom_id": null, "id": "00000000-0000-4000-8000-000000000088"})).unwrap();
    assert_eq!(
        patched,
        json!({"id": ID, "created_at": 5, "updated_at": 1_795_316_010, "username": "bob", "custom_id": null, "tags": null})
    );
    assert_eq!(
        update(Kind::Consumer, &patched, json!({"username": null})),
        Err(
            json!({"@entity": ["when updating, at least one of these fields must be non-empty: 'custom_id', 'username'"]})
        )
    );
    assert_eq!(update(Kind::Consumer, &bob, json!({"foo": 1})), Err(json!({"foo": "unknown field"})));

    let upstream =
        insert(Kind::Upstream, json!({"name": "u", "healthchecks": {"active": {"healthy": {"interval": 5}}}}));
    let changed =
        update(Kind::Upstream, &upstream, json!({"healthchecks": {"active": {"healthy": {"http_statuses": [204]}}}}))
            .unwrap();
    let whole = insert(Kind::Upstream, json!({"name": "u", "healthchecks": {"threshold": 5.0}}));
    assert_eq!(whole["healthchecks"]["threshold"], json!(5));
    assert_eq!(typed_and_back(Kind::Upstream, &whole), whole);
    let healthy = &changed["healthchecks"]["active"]["healthy"];
    assert_eq!(healthy, &json!({"interval": 5, "http_statuses": [204], "successes": 0}), "records merge, lists do not");

    let route = insert(Kind::Route, json!({"paths": ["/a"], "methods": ["GET"], "hosts": ["h"]}));
    let route = update(Kind::Route, &route, json!({"methods": null, "hosts": []})).unwrap();
    assert_eq!((&route["methods"], &route["hosts"]), (&json!(null), &json!([])));
}

#[test]
fn replacing_keeps_the_id_and_nothing_else() {
    let old = object(insert(Kind::Consumer, json!({"username": "n", "custom_id": "c", "created_at": 5})));
    let new = table(Kind::Consumer).replace(Some(&old), object(json!({"username": "n"})), NOW).unwrap();
    assert_eq!(new["id"], old["id"]);
    assert_eq!((&new["custom_id"], &new["created_at"]), (&json!(null), &json!(1_795_316_010)));
}

#[test]
fn services() {
    let from_url = insert(Kind::Service, json!({"name": "s1", "url": "http://127.0.0.1:19001/base", "port": 1}));
    assert_eq!(
        from_url,
        json!({"id": from_url["id"], "created_at": 1_795_316_010, "updated_at": 1_795_316_010, "name": "s1", "retries": 5,
               "protocol": "http", "host": "127.0.0.1", "port": 19001, "path": "/base", "connect_timeout": 60000,
               "write_timeout": 60000, "read_timeout": 60000, "tags": null, "client_certificate": null, "tls_verify": null,
               "tls_verify_depth": null, "ca_certificates": null, "enabled": true})
    );
    let parts = |url: &str| {
        let service = insert(Kind::Service, json!({ "url": url }));
        json!([service["protocol"], service["host"], service["port"], service["path"]])
    };
    assert_eq!(parts("https://h.example/x"), json!(["https", "h.example", 443, "/x"]));
    assert_eq!(parts("http://service.com/"), json!(["http", "service.com", 80, "/"]));
    assert_eq!(parts("http://x.example"), json!(["http", "x.example", 80, null]));
    assert_eq!(
        insert(Kind::Service, json!({"protocol": "https", "host": "h"}))["port"],
        80,
        "only the URL implies 443"
    );

    assert_eq!(refuse(Kind::Service, json!({})).message(), "schema violation (host: required field missing)");
    assert_eq!(
        faults(
            Kind::Service,
            json!({"name": "a b", "host": "h:80", "port": 70000, "path": "x", "protocol": "ftp", "retries": -1,
                                     "connect_timeout": 0, "client_certificate": "x"})
        ),
        json!({"name": "invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~",
               "host": "must not have a port", "port": "value should be between 0 and 65535", "path": "should start with: /",
               "protocol": "expected one of: grpc, grpcs, http, https, tcp, tls, tls_passthrough, udp",
               "retries": "value should be between 0 and 32767", "connect_timeout": "value should be between 1 and 2147483646",
               "client_certificate": {"id": "missing primary key"}})
    );
    assert_eq!(
        faults(Kind::Service, json!({"host": "h", "path": "/a//b"})),
        json!({"path": "must not have empty segments"})
    );
    assert_eq!(
        faults(Kind::Service, json!({"host": "h", "protocol": "tcp", "path": "/a"})),
        json!({"path": "value must be null", "@entity": ["failed conditional validation given value of field 'protocol'"]})
    );
    assert_eq!(
        faults(Kind::Service, json!({"host": "h", "tls_verify": true})),
        json!({"tls_verify": "value must be null", "@entity": ["failed conditional validation given value of field 'protocol'"]})
    );
    insert(
        Kind::Service,
        json!({"host": "h", "protocol": "https", "tls_verify": true, "client_certificate": {"id": ID}}),
    );
    let service = insert(Kind::Service, json!({"url": "http://x"}));
    let moved = update(Kind::Service, &service, json!({"url": "https://y.example:444/z"})).unwrap();
    assert_eq!((&moved["host"], &moved["port"], &moved["path"]), (&json!("y.example"), &json!(444), &json!("/z")));
    assert_eq!(insert(Kind::Service, json!({"host": "h", "retries": null, "port": 80.0}))["retries"], 5);
    assert_eq!(faults(Kind::Service, json!({"url": 5})), json!({"url": "expected a string"}));
}

#[test]
fn routes() {
    let route =
        insert(Kind::Route, json!({"name": "rx", "paths": ["~/x/(?<id>\\d+)$"], "service": {"id": ID, "name": "s"}}));
    assert_eq!(
        route,
        json!({"id": route["id"], "created_at": 1_795_316_010, "updated_at": 1_795_316_010, "name": "rx",
               "protocols": ["http", "https"], "methods": null, "hosts": null, "paths": ["~/x/(?<id>\\d+)$"], "headers": null,
               "https_redirect_status_code": 426, "regex_priority": 0, "strip_path": true, "path_handling": "v0",
               "preserve_host": false, "request_buffering": true, "response_buffering": true, "snis": null, "sources": null,
               "destinations": null, "tags": null, "service": {"id": ID}})
    );
    let paths = |paths: Value| faults(Kind::Route, json!({ "paths": paths }))["paths"].clone();
    assert_eq!(paths(json!(["/ok", "foo"])), json!([null, "should start with: / (fixed path) or ~/ (regex path)"]));
    assert_eq!(paths(json!(["/foo//bar"])), json!(["must not have empty segments"]));
    assert_eq!(paths(json!(["/some%2words"])), json!(["invalid url-encoded value: '%2w'"]));
    assert_eq!(paths(json!([5])), json!(["expected a string"]));
    assert_eq!(paths(json!("/x")), json!("expected an array"));
    assert_eq!(
        refuse(Kind::Route, json!({"paths": ["~/x/(["]})).message(),
        "schema violation (paths.1: invalid regex: '/x/([' (PCRE returned: pcre2_compile() failed: missing terminating ] for \
         character class in \"/x/([\"))"
    );
    let hosts = |host: &str| faults(Kind::Route, json!({ "hosts": [host] }))["hosts"][0].clone();
    assert_eq!(hosts("a.*.b"), "invalid wildcard: must be placed at leftmost or rightmost label");
    assert_eq!(hosts("*.*"), "invalid wildcard: must have at most one wildcard");
    assert_eq!(hosts("example.com:1000000"), "invalid port number");
    assert_eq!(hosts("mock;bin"), "invalid hostname: mock;bin");
    insert(Kind::Route, json!({"hosts": ["*.a.com", "a.*", "h:80", "1.2.3.4"]}));
    assert_eq!(
        refuse(Kind::Route, json!({"methods": ["get"]})).message(),
        "schema violation (methods.1: invalid value: get)"
    );
    assert_eq!(
        faults(Kind::Route, json!({"headers": {"Host": ["x"]}})),
        json!({"headers": "cannot contain 'host' header, which must be specified in the 'hosts' attribute"})
    );
    assert_eq!(
        faults(Kind::Route, json!({"headers": {"x y": ["x"]}, "paths": ["/"]}))["headers"],
        "bad header name 'x y', allowed characters are A-Z, a-z, 0-9, '_', and '-'"
    );
    insert(Kind::Route, json!({"headers": {"x-a": ["~*re", "b"]}}));
}

#[test]
fn what_a_route_must_have_depends_on_its_protocols() {
    let entity = |input: Value| faults(Kind::Route, input)["@entity"].clone();
    assert_eq!(
        entity(json!({"protocols": ["http"]})),
        json!(["must set one of 'methods', 'hosts', 'headers', 'paths' when 'protocols' is 'http'"])
    );
    assert_eq!(
        entity(json!({})),
        json!(["must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'"])
    );
    assert_eq!(
        entity(json!({"protocols": ["grpc"]})),
        json!(["must set one of 'hosts', 'headers', 'paths' when 'protocols' is 'grpc'"])
    );
    assert_eq!(
        entity(json!({"protocols": ["tcp"]})),
        json!(["must set one of 'sources', 'destinations', 'snis' when 'protocols' is 'tcp', 'tls' or 'udp'"])
    );
    assert_eq!(
        faults(Kind::Route, json!({"protocols": ["http"], "snis": ["a.test"], "paths": ["/"]})),
        json!({"snis": "length must be 0",
               "@entity": ["'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'"]})
    );
    assert_eq!(
        faults(Kind::Route, json!({"protocols": ["http", "tcp"], "paths": ["/"]})),
        json!({"protocols": "these sets are mutually exclusive: ('http', 'https'), ('tcp', 'tls', 'udp')"})
    );
    assert_eq!(
        faults(Kind::Route, json!({"paths": ["/"], "sources": [{"port": 1}]})),
        json!({"sources": "cannot set 'sources' when 'protocols' is 'http' or 'https'"})
    );
    assert_eq!(
        faults(
            Kind::Route,
            json!({"protocols": ["tcp"], "paths": ["/"], "sources": [{"ip": "1.2.3.4/8"}, {"ip": "x"}, {}]})
        ),
        json!({"paths": "cannot set 'paths' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp'",
               "sources": [null, {"ip": "invalid ip or cidr range: 'x'"},
                           {"@entity": ["at least one of these fields must be non-empty: 'ip', 'port'"]}]})
    );
    let grpc = insert(Kind::Route, json!({"protocols": ["grpc"], "paths": ["/"]}));
    assert_eq!(grpc["strip_path"], false);
    assert_eq!(
        faults(Kind::Route, json!({"protocols": ["grpc"], "paths": ["/"], "strip_path": true})),
        json!({"strip_path": "cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'"})
    );
    assert_eq!(faults(Kind::Route, json!({"protocols": []})), json!({"protocols": "length must be at least 1"}));
    assert_eq!(faults(Kind::Route, json!({"protocols": ["ftp"]})), json!({"protocols": "unknown type: ftp"}));
    assert_eq!(faults(Kind::Route, json!({"protocols": null})), json!({"protocols": "required field missing"}));
}

#[test]
fn upstreams_and_targets() {
    let name = |name: &str| faults(Kind::Upstream, json!({ "name": name }))["name"].clone();
    assert_eq!(name("a b"), "Invalid name ('a b'); must be a valid hostname");
    assert_eq!(name("1.2.3.4"), "Invalid name ('1.2.3.4'); no ip addresses allowed");
    assert_eq!(name("h:80"), "Invalid name ('h:80'); no port allowed");
    let upstream = insert(Kind::Upstream, json!({"name": "u1"}));
    assert_eq!(
        upstream["healthchecks"]["active"]["unhealthy"]["http_statuses"],
        json!([429, 404, 500, 501, 502, 503, 504, 505])
    );
    assert_eq!(upstream["healthchecks"]["threshold"], 0);
    assert_eq!(upstream["hash_on_cookie_path"], "/");
    assert_eq!(insert(Kind::Upstream, json!({"name": "u", "hash_on": "ip"}))["algorithm"], "consistent-hashing");
    assert_eq!(
        faults(Kind::Upstream, json!({"name": "u", "hash_on": "header"})),
        json!({"hash_on_header": "required field missing", "@entity": ["failed conditional validation given value of field 'hash_on'"]})
    );
    assert_eq!(
        faults(Kind::Upstream, json!({"name": "u", "hash_fallback": "ip"})),
        json!({"hash_fallback": "expected one of: none", "@entity": ["failed conditional validation given value of field 'hash_on'"]})
    );
    assert_eq!(
        faults(
            Kind::Upstream,
            json!({"name": "u", "hash_on": "header", "hash_on_header": "x", "hash_fallback": "header",
                                      "hash_fallback_header": "x"})
        ),
        json!({"@entity": ["values of these fields must be distinct: 'hash_on_header', 'hash_fallback_header'"]})
    );
    assert_eq!(
        refuse(Kind::Upstream, json!({"name": "u", "healthchecks": {"active": {"timeout": -1}, "threshold": 101}}))
            .message(),
        "2 schema violations (healthchecks.active: {\n  timeout = \"value should be between 0 and 65535\"\n}; \
         healthchecks.threshold: value should be between 0 and 100)"
    );

    let target = insert(Kind::Target, json!({"target": "10.0.0.1", "upstream": {"id": ID}}));
    assert_eq!(
        target,
        json!({"id": target["id"], "created_at": 1_795_316_010.184, "updated_at": 1_795_316_010.184, "upstream": {"id": ID},
               "target": "10.0.0.1:8000", "weight": 100, "tags": null})
    );
    assert_eq!(
        faults(Kind::Target, json!({"target": "a b", "weight": 65536})),
        json!({"upstream": "required field missing", "target": "Invalid target ('a b'); not a valid hostname or ip address",
               "weight": "value should be between 0 and 65535"})
    );
}

#[test]
fn schemas_are_described_as_kong_does() {
    let consumers = table(Kind::Consumer).to_json();
    assert_eq!(
        consumers,
        json!({"fields": [
            {"id": {"type": "string", "uuid": true, "auto": true}},
            {"created_at": {"type": "integer", "timestamp": true, "auto": true}},
            {"updated_at": {"type": "integer", "timestamp": true, "auto": true}},
            {"username": {"type": "string", "unique": true}},
            {"custom_id": {"type": "string", "unique": true}},
            {"tags": {"type": "set", "elements": {"type": "string", "required": true}}},
        ], "entity_checks": [{"at_least_one_of": ["custom_id", "username"]}]})
    );
    let jwt = crate::plugins::tables::plugin_table("jwt").unwrap().to_json();
    assert_eq!(jwt["fields"][0], json!({"consumer": {"type": "foreign", "reference": "consumers", "eq": null}}));
    assert_eq!(
        jwt["fields"][1],
        json!({"protocols": {"type": "set", "required": true, "default": ["grpc", "grpcs", "http", "https"],
                             "elements": {"type": "string", "one_of": ["grpc", "grpcs", "http", "https"]}}})
    );
    assert_eq!(
        jwt["fields"][2]["config"]["fields"][7],
        json!({"maximum_expiration": {"type": "number", "between": [0, 31_536_000], "default": 0}})
    );
    assert_eq!(jwt["fields"][2]["config"]["fields"][1]["cookie_names"]["default"], json!([]));
    assert_eq!(
        jwt["entity_checks"],
        json!([{"conditional": {"if_field": "config.maximum_expiration", "if_match": {"gt": 0},
                                "then_field": "config.claims_to_verify", "then_match": {"contains": "exp"}}}])
    );
    let upstreams = table(Kind::Upstream).to_json();
    let health = upstreams["fields"].as_array().unwrap().iter().find_map(|field| field.get("healthchecks")).unwrap();
    assert_eq!(
        health["default"]["active"]["healthy"],
        json!({"interval": 0, "http_statuses": [200, 302], "successes": 0})
    );
    assert_eq!(health["fields"][2], json!({"threshold": {"type": "number", "default": 0, "between": [0, 100]}}));
}

#[test]
fn unique_fields_and_references_are_told() {
    let jwt = table(Kind::JwtSecret);
    assert_eq!(jwt.unique_fields().collect::<Vec<_>>(), ["key"]);
    assert_eq!(jwt.foreign_keys().collect::<Vec<_>>(), [("consumer", "consumers", crate::schema::OnDelete::Cascade)]);
    let route = table(Kind::Route);
    assert_eq!(route.foreign_keys().collect::<Vec<_>>(), [("service", "services", crate::schema::OnDelete::Restrict)]);
    assert_eq!((route.endpoint_key, table(Kind::Certificate).endpoint_key), (Some("name"), None));
}

/// Values of every type, fit and unfit, for any field.
fn anything() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let texts = [
        "", "a", "/a", "~/a.*", "a b", "http", "https", "tcp", "grpc", "RS256", "jwt", "header", "cookie", "h:80",
        "*.a", ID,
    ];
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![Just(-1i64), Just(0), Just(1), Just(301), Just(70_000), any::<i64>()].prop_map(Value::from),
        prop_oneof![Just(5.0), Just(0.5), Just(1e19), Just(-0.0)].prop_map(Value::from),
        proptest::sample::select(texts.to_vec()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    scalar.prop_recursive(3, 12, 4, |inner| {
        let names = proptest::sample::select(vec!["id", "ip", "port", "active", "healthy", "interval", "x-a"]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((names.prop_map(str::to_owned), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(2000))]

    #[test]
    fn whatever_is_accepted_is_typed_and_stable(
        kind in proptest::sample::select(Kind::ALL.into_iter().filter(|kind| *kind != Kind::Certificate).collect::<Vec<_>>()),
        changes in proptest::collection::vec((proptest::num::usize::ANY, anything()), 1..4),
    ) {
        let mut input = object(match kind {
            Kind::CaCertificate => json!({"cert": "x"}),
            kind => least(kind),
        });
        let fields = table(kind).fields();
        for (at, value) in changes {
            input.insert(fields[at % fields.len()].name.to_owned(), value);
        }
        match table(kind).insert(input, NOW) {
            Err(violations) => {
                proptest::prop_assert!(!violations.flatten().is_empty());
                proptest::prop_assert!(violations.message().contains("schema violation"));
            }
            Ok(document) => {
                let document = Value::Object(document);
                proptest::prop_assert_eq!(&typed_and_back(kind, &document), &document);
                proptest::prop_assert_eq!(&insert(kind, document.clone()), &document);
            }
        }
    }
}
