//! `consumers`.

use crate::schema::typedefs::{created_at, id, tags, updated_at};
use crate::schema::{Cross, Field, Table, string};

pub(super) fn consumers() -> Table {
    Table::new(
        "consumers",
        vec![
            Field::new("id", id()),
            Field::new("created_at", created_at()),
            Field::new("updated_at", updated_at()),
            Field::new("username", string().unique()),
            Field::new("custom_id", string().unique()),
            Field::new("tags", tags()),
        ],
        vec![Cross::AtLeastOneOf(&["custom_id", "username"])],
    )
    .endpoint_key("username")
}
