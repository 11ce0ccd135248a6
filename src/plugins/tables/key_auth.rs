//! `key-auth`.

use crate::schema::typedefs::header_name;
use crate::schema::{Field, Table, array, boolean, record, string};

pub(super) fn table() -> Table {
    let config = record(vec![
        Field::new("key_names", array(header_name()).required().default(vec!["apikey"])),
        Field::new("hide_credentials", boolean().required().default(false)),
        Field::new("anonymous", string()),
        Field::new("key_in_header", boolean().required().default(true)),
        Field::new("key_in_query", boolean().required().default(true)),
        Field::new("key_in_body", boolean().required().default(false)),
        Field::new("run_on_preflight", boolean().required().default(true)),
        Field::new("realm", string()),
    ]);
    super::authenticating("key-auth", config, Vec::new())
}
