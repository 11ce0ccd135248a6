//! `oauth2`.

use serde_json::Value;

use crate::schema::{Auto, Cross, Field, Matcher, Table, array, boolean, number, record, string};

pub(super) fn table() -> Table {
    let switch = || boolean().required().default(false);
    let config = record(vec![
        Field::new("scopes", array(string())),
        Field::new("mandatory_scope", switch()),
        Field::new("provision_key", string().required().unique().encrypted().auto(Auto::Token)),
        // Seconds; 0 is for ever.
        Field::new("token_expiration", number().required().default(7200)),
        Field::new("enable_authorization_code", switch()),
        Field::new("enable_implicit_grant", switch()),
        Field::new("enable_client_credentials", switch()),
        Field::new("enable_password_grant", switch()),
        Field::new("hide_credentials", switch()),
        Field::new("accept_http_if_already_terminated", switch()),
        Field::new("anonymous", string()),
        Field::new("global_credentials", switch()),
        Field::new("auth_header_name", string().default("authorization")),
        // Seconds; 0 is for ever.
        Field::new("refresh_token_ttl", number().required().default(1_209_600).between(0.0, 100_000_000.0)),
        Field::new("reuse_refresh_token", switch()),
        Field::new("pkce", string().default("lax").one_of(&["none", "lax", "strict"])),
        Field::new("realm", string()),
    ])
    .custom(check_grants);
    let scopes_to_demand = Cross::Conditional {
        if_field: "config.mandatory_scope",
        if_match: Matcher::True,
        then_field: "config.scopes",
        then_match: Matcher::Required,
        fault: None,
    };
    super::authenticating("oauth2", config, vec![scopes_to_demand])
}

fn check_grants(config: &Value) -> Result<(), String> {
    let grants =
        ["enable_authorization_code", "enable_implicit_grant", "enable_client_credentials", "enable_password_grant"];
    if grants.iter().any(|grant| config.get(grant) == Some(&Value::Bool(true))) {
        return Ok(());
    }
    Err(format!("at least one of these fields must be true: {}", grants.join(", ")))
}
