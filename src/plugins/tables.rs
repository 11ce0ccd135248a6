//! The schema tables of the plugins: one file each, plain data over [`crate::schema`].
//!
//! A plugin's table redefines fields of the plugin entity: `config`, the `protocols` it runs for, and the scopes it cannot have
//! (fields that may only be null). It is what `GET /schemas/plugins/{name}` shows.

mod jwt;
mod key_auth;
mod oauth2;
mod openid_connect;
mod request_termination;

use std::sync::LazyLock;

use crate::schema::typedefs::protocols_http;
use crate::schema::{Cross, Def, Field, Table, foreign};

static TABLES: LazyLock<[Table; 5]> = LazyLock::new(|| {
    [jwt::table(), key_auth::table(), oauth2::table(), openid_connect::table(), request_termination::table()]
});

/// The table of a plugin.
pub fn plugin_table(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}

/// The names of all plugins that have a table, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
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
