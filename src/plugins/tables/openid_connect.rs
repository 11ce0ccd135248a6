//! `openid-connect`.

use crate::schema::typedefs::url;
use crate::schema::{Field, Table, record};

pub(super) fn table() -> Table {
    super::authenticating("openid-connect", record(vec![Field::new("issuer", url().required())]), Vec::new())
}
