//! The schema tables of the plugins: one file each, plain data over [`crate::schema`].
//!
//! A plugin's table redefines fields of the plugin entity: `config`, the `protocols` it runs for, and the scopes it cannot have
//! (fields that may only be null). It is what `GET /schemas/plugins/{name}` shows.

mod jwt;
mod key_auth;
mod oauth2;
mod openid_connect;
mod request_termination;

use std::sync::{LazyLock, OnceLock};

use crate::schema::typedefs::protocols_http;
use crate::schema::{Cross, Def, Field, Table, foreign};

static TABLES: LazyLock<[Table; 5]> = LazyLock::new(|| {
    [jwt::table(), key_auth::table(), oauth2::table(), openid_connect::table(), request_termination::table()]
});

/// The plugins that this process takes (`plugins`); all of them until it is told.
static ENABLED: OnceLock<Vec<&'static str>> = OnceLock::new();

/// Takes no other plugins than these from now on. Once, before any configuration is read.
pub fn enable_only(names: Vec<&'static str>) {
    // A second time would contradict what was read by then.
    let _ = ENABLED.set(names);
}

fn is_enabled(table: &Table) -> bool {
    ENABLED.get().is_none_or(|enabled| enabled.contains(&table.name))
}

/// The table of a plugin that is enabled.
pub fn plugin_table(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name && is_enabled(table))
}

/// The names of all plugins that are enabled, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLES.iter().filter(|table| is_enabled(table)).map(|table| table.name)
}

/// The names of all plugins there are, enabled or not.
pub fn bundled() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|table| table.name)
}

/// The table of a plugin that authenticates: it finds the consumer, so it cannot depend on one.
fn authenticating(name: &'static str, config: Def, cross: Vec<Cross>) -> Table {
    Table::new(
        name,
        vec![
            Field::new("consumer", foreign("consumers").null_only()),
            Field::new("protocols", protocols_http()),
            Field::new("config", config.required()),
        ],
        cross,
    )
}
