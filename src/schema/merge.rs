//! PATCH: what is given over what is there.

use serde_json::Value;

use super::def::Type;
use super::{Document, Record};

/// Records are merged member by member; everything else is replaced by what is given, null included.
pub(super) fn merge(record: &Record, special: Option<&Record>, current: &Document, mut patch: Document) -> Document {
    record.modernise(&mut patch);
    let mut out = current.clone();
    for (name, value) in patch {
        let def = special.and_then(|special| special.field(&name)).or_else(|| record.field(&name));
        let value = match (def.map(|def| &def.kind), out.get(&name), value) {
            (Some(Type::Record(record)), Some(Value::Object(current)), Value::Object(patch)) => {
                Value::Object(merge(record, None, current, patch))
            }
            (_, _, value) => value,
        };
        out.insert(name, value);
    }
    out
}
