//! `plugins`: the fields common to all; those of each plugin are in [`crate::plugins::tables`].

use serde_json::Value;

use crate::plugins::tables::plugin_table;
use crate::schema::typedefs::{created_at, id, protocol, tags, updated_at, utf8_name};
use crate::schema::{Document, Field, Subschema, Table, Violations, boolean, foreign, record, set, string, typedefs};

pub(super) fn plugins() -> Table {
    Table::new(
        "plugins",
        vec![
            Field::new("id", id()),
            Field::new("created_at", created_at()),
            Field::new("updated_at", updated_at()),
            Field::new("name", string().required()),
            Field::new("instance_name", utf8_name()),
            Field::new("route", foreign("routes").on_delete_cascade()),
            Field::new("service", foreign("services").on_delete_cascade()),
            Field::new("consumer", foreign("consumers").on_delete_cascade()),
            Field::new("config", record(Vec::new()).required()),
            Field::new("protocols", set(protocol()).required().default(typedefs::HTTP_PROTOCOLS.to_vec())),
            Field::new("enabled", boolean().required().default(true)),
            Field::new("tags", tags()),
        ],
        Vec::new(),
    )
    .endpoint_key("instance_name")
    .cache_key(&["name", "route", "service", "consumer"])
    .subschema(Subschema { key: "name", select: rules_of })
    .rewrite(drop_enterprise_fields)
}

fn rules_of(name: &Value) -> Result<&'static Table, String> {
    let Some(name) = name.as_str() else { return Err("expected a string".to_owned()) };
    plugin_table(name)
        .ok_or_else(|| format!("plugin '{name}' not enabled; add it to the 'plugins' configuration property"))
}

/// Files dumped from an Enterprise gateway carry fields that have no meaning here: an order other than the priorities', and a scope
/// of consumer groups, which is let pass only when it is not used.
#[expect(clippy::unnecessary_wraps, reason = "the signature of all rewrites")]
fn drop_enterprise_fields(input: &mut Document) -> Result<(), Violations> {
    input.shift_remove("ordering");
    if input.get("consumer_group").is_some_and(Value::is_null) {
        input.shift_remove("consumer_group");
    }
    Ok(())
}
