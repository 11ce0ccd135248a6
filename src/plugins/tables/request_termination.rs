//! `request-termination`.

use serde_json::Value;

use crate::schema::typedefs::{header_name, protocols_http};
use crate::schema::{Field, Table, boolean, integer, record, string};

pub(super) fn table() -> Table {
    let config = record(vec![
        Field::new("status_code", integer().required().default(503).between(100.0, 599.0)),
        Field::new("message", string()),
        Field::new("content_type", string()),
        Field::new("body", string()),
        Field::new("echo", boolean().required().default(false)),
        // Only requests with this header or query argument are answered.
        Field::new("trigger", header_name()),
    ])
    .custom(check_answer);
    Table::new(
        "request-termination",
        vec![Field::new("protocols", protocols_http()), Field::new("config", config.required())],
        Vec::new(),
    )
}

/// There is one way to say what the answer is.
fn check_answer(config: &Value) -> Result<(), String> {
    let given = |name: &str| config.get(name).is_some_and(|value| !value.is_null());
    let own_body = given("content_type") || given("body");
    let words = if given("message") && own_body {
        "message cannot be used with content_type or body"
    } else if given("content_type") && !given("body") {
        "content_type requires a body"
    } else if config.get("echo") == Some(&Value::Bool(true)) && own_body {
        "echo cannot be used with content_type and body"
    } else {
        return Ok(());
    };
    Err(words.to_owned())
}
