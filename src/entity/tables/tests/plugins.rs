//! Plugins and their configurations.

use super::*;

#[test]
fn plugins() {
    let jwt = insert(Kind::Plugin, json!({"name": "jwt", "ordering": null, "route": {"id": ID}}));
    assert_eq!(
        jwt,
        json!({"id": jwt["id"], "created_at": 1_795_316_010, "updated_at": 1_795_316_010, "name": "jwt", "instance_name": null,
               "route": {"id": ID}, "service": null, "consumer": null, "protocols": ["grpc", "grpcs", "http", "https"],
               "enabled": true, "tags": null,
               "config": {"uri_param_names": ["jwt"], "cookie_names": [], "key_claim_name": "iss", "secret_is_base64": false,
                          "claims_to_verify": null, "anonymous": null, "run_on_preflight": true, "maximum_expiration": 0,
                          "header_names": ["authorization"], "realm": null}})
    );
    assert_eq!(
        refuse(Kind::Plugin, json!({"name": "acme"})).message(),
        "schema violation (name: plugin 'acme' not enabled; add it to the 'plugins' configuration property)"
    );
    assert_eq!(faults(Kind::Plugin, json!({"config": {}})), json!({"name": "required field missing"}));
    for (config, wanted) in [
        (json!({"foo": 1}), json!({"config": {"foo": "unknown field"}})),
        (
            json!({"maximum_expiration": -1, "claims_to_verify": ["exp"]}),
            json!({"config": {"maximum_expiration": "value should be between 0 and 31536000"}}),
        ),
        (json!({"run_on_preflight": null}), json!({"config": {"run_on_preflight": "required field missing"}})),
        (
            json!({"claims_to_verify": ["exp", "iat"]}),
            json!({"config": {"claims_to_verify": [null, "expected one of: exp, nbf"]}}),
        ),
        (json!("bar"), json!({"config": "expected a record"})),
        (
            json!({"maximum_expiration": 300, "claims_to_verify": ["nbf"]}),
            json!({"config": {"claims_to_verify": "expected to contain: exp"},
                   "@entity": ["failed conditional validation given value of field 'config.maximum_expiration'"]}),
        ),
    ] {
        assert_eq!(faults(Kind::Plugin, json!({"name": "jwt", "config": config})), wanted);
    }
    insert(Kind::Plugin, json!({"name": "jwt", "config": {"maximum_expiration": 300}}));
    assert_eq!(
        insert(Kind::Plugin, json!({"name": "jwt", "config": {"key_claim_name": null}}))["config"]["key_claim_name"],
        json!(null)
    );
    assert_eq!(
        faults(Kind::Plugin, json!({"name": "jwt", "consumer": {"id": ID}})),
        json!({"consumer": "value must be null"})
    );
    insert(Kind::Plugin, json!({"name": "request-termination", "consumer": {"id": ID}}));
    assert_eq!(
        faults(Kind::Plugin, json!({"name": "jwt", "protocols": ["tcp"]})),
        json!({"protocols": ["expected one of: grpc, grpcs, http, https"]})
    );

    let patched = update(Kind::Plugin, &jwt, json!({"config": {"realm": "x"}, "route": null})).unwrap();
    assert_eq!(
        (&patched["config"]["realm"], &patched["config"]["header_names"], &patched["route"]),
        (&json!("x"), &json!(["authorization"]), &json!(null))
    );
    let fields = form(
        Kind::Plugin,
        &[("config.claims_to_verify", "exp"), ("config.maximum_expiration", "300"), ("enabled", "false")],
        Some(&jwt),
    );
    assert_eq!(fields, json!({"config": {"claims_to_verify": ["exp"], "maximum_expiration": 300}, "enabled": false}));
    let fields = form(
        Kind::Plugin,
        &[
            ("name", "jwt"),
            ("config.claims_to_verify[]", "exp"),
            ("config.cookie_names[1]", "c1"),
            ("config.header_names", "authorization,x-j"),
        ],
        None,
    );
    assert_eq!(
        fields,
        json!({"name": "jwt", "config": {"claims_to_verify": ["exp"], "cookie_names": ["c1"], "header_names": ["authorization,x-j"]}})
    );
}

#[test]
fn oauth2_and_request_termination() {
    let flow = "at least one of these fields must be true: enable_authorization_code, enable_implicit_grant, \
                enable_client_credentials, enable_password_grant";
    assert_eq!(faults(Kind::Plugin, json!({"name": "oauth2"})), json!({"config": flow}));
    let config = |mut more: Value| {
        more["enable_client_credentials"] = json!(true);
        json!({"name": "oauth2", "config": more})
    };
    let oauth2 = insert(Kind::Plugin, config(json!({})));
    assert_eq!(oauth2["config"]["provision_key"].as_str().map(str::len), Some(32));
    assert_eq!(oauth2["config"]["refresh_token_ttl"], 1_209_600);
    assert_eq!(
        faults(Kind::Plugin, config(json!({"mandatory_scope": true}))),
        json!({"config": {"scopes": "required field missing"},
               "@entity": ["failed conditional validation given value of field 'config.mandatory_scope'"]})
    );
    assert_eq!(
        faults(Kind::Plugin, config(json!({"refresh_token_ttl": 100_000_001}))),
        json!({"config": {"refresh_token_ttl": "value should be between 0 and 100000000"}})
    );
    let answer = |config: Value| json!({"name": "request-termination", "config": config});
    assert_eq!(insert(Kind::Plugin, answer(json!({})))["config"]["status_code"], 503);
    assert_eq!(
        faults(Kind::Plugin, answer(json!({"message": "m", "body": "b"}))),
        json!({"config": "message cannot be used with content_type or body"})
    );
}

#[test]
fn openid_connect() {
    let plugin = |config: Value| json!({"name": "openid-connect", "config": config});
    assert_eq!(faults(Kind::Plugin, plugin(json!({}))), json!({"config": {"issuer": "required field missing"}}));
    assert_eq!(
        faults(Kind::Plugin, plugin(json!({"issuer": "foo"}))),
        json!({"config": {"issuer": "missing host in url"}})
    );
    let config = insert(Kind::Plugin, plugin(json!({"issuer": "http://idp/x", "client_id": ["a"]})))["config"].clone();
    assert!(config.as_object().unwrap().len() >= 200);
    assert_eq!(config["auth_methods"].as_array().unwrap().len(), 9);
    assert_eq!(config["upstream_access_token_header"], "authorization:bearer");
    assert_eq!(config["redis"]["port"], 6379);
    assert_eq!(config["client_secret"], json!(null));

    let former = insert(
        Kind::Plugin,
        plugin(
            json!({"issuer": "http://idp/x", "session_redis_host": "r", "session_redis_port": null, "session_cookie_renew": 5,
                      "session_cookie_lifetime": 60, "session_rolling_timeout": 70, "redis": null}),
        ),
    );
    assert_eq!(
        (&former["config"]["redis"]["host"], &former["config"]["session_rolling_timeout"]),
        (&json!("r"), &json!(70))
    );
    let patched = update(Kind::Plugin, &former, json!({"config": {"session_redis_host": "s"}})).unwrap();
    assert_eq!(patched["config"]["redis"]["host"], "s");

    let fields = form(
        Kind::Plugin,
        &[
            ("config.auth_methods", "bearer"),
            ("config.auth_methods", "password"),
            ("config.bearer_token_param_type", "query"),
            ("config.session_redis_port", "1"),
        ],
        Some(&former),
    );
    let patched = update(Kind::Plugin, &former, fields).unwrap();
    assert_eq!(patched["config"]["auth_methods"], json!(["bearer", "password"]));
    assert_eq!(patched["config"]["bearer_token_param_type"], json!(["query"]));
    assert_eq!(patched["config"]["redis"]["port"], 1);
    assert_eq!(
        faults(Kind::Plugin, plugin(json!({"issuer": "http://idp/x", "ignore_signature": ["bearer"], "x": 1}))),
        json!({"config": {"x": "unknown field", "ignore_signature": [
            "expected one of: authorization_code, client_credentials, introspection, password, refresh_token, session, userinfo"]}})
    );
    assert!(
        faults(Kind::Plugin, plugin(json!({"issuer": "http://idp/x", "proof_of_possession_dpop": "strict"})))["config"]
            .is_string()
    );
    insert(
        Kind::Plugin,
        plugin(json!({"issuer": "http://idp/x", "proof_of_possession_dpop": "strict", "auth_methods": ["bearer"]})),
    );
}
