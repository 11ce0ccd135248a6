//! `jwt`.

use crate::schema::{Cross, Field, Matcher, Table, boolean, number, record, set, string};

pub(super) fn table() -> Table {
    let config = record(vec![
        Field::new("uri_param_names", set(string()).default(vec!["jwt"])),
        Field::new("cookie_names", set(string()).default(Vec::<String>::new())),
        Field::new("key_claim_name", string().default("iss")),
        Field::new("secret_is_base64", boolean().required().default(false)),
        Field::new("claims_to_verify", set(string().one_of(&["exp", "nbf"]))),
        Field::new("anonymous", string()),
        Field::new("run_on_preflight", boolean().required().default(true)),
        // Seconds; 0 switches the check off.
        Field::new("maximum_expiration", number().default(0).between(0.0, 31_536_000.0)),
        Field::new("header_names", set(string()).default(vec!["authorization"])),
        Field::new("realm", string()),
    ]);
    let exp_is_verified = Cross::Conditional {
        if_field: "config.maximum_expiration",
        if_match: Matcher::Above(0.0),
        then_field: "config.claims_to_verify",
        then_match: Matcher::Contains("exp"),
        fault: None,
    };
    super::authenticating("jwt", config, vec![exp_is_verified])
}
