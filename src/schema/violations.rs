//! What is wrong with a document, as a tree that mirrors it, in Kong's words.

use std::fmt::Write as _;

use serde_json::Value;

use super::Document;

/// Faults of one document: Kong's `fields` tree. Faults of several fields together stand in an array under `@entity`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Violations {
    pub fields: Document,
}

/// The member that holds the faults of several fields together.
pub const ENTITY: &str = "@entity";

impl Violations {
    /// A single fault of one field.
    pub fn of(field: &str, message: impl Into<String>) -> Self {
        let mut violations = Self::default();
        violations.put(field, message);
        violations
    }

    /// Sets the fault of a field; a dotted path makes or enters the objects on the way.
    pub fn put(&mut self, path: &str, message: impl Into<String>) {
        put(&mut self.fields, path, Value::String(message.into()));
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Kong's one-line message: `schema violation (host: required field missing)`, `2 schema violations (…; …)`.
    pub fn message(&self) -> String {
        let mut parts = Vec::new();
        if let Some(Value::Array(faults)) = self.fields.get(ENTITY) {
            parts.extend(faults.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        for (name, fault) in sorted(&self.fields) {
            if name == ENTITY {
                continue;
            }
            match fault {
                Value::Object(members) => {
                    parts.extend(sorted(members).map(|(member, fault)| format!("{name}.{member}: {}", lua(fault))));
                }
                Value::Array(items) => parts.extend(
                    (1..)
                        .zip(items)
                        .filter(|(_, fault)| !fault.is_null())
                        .map(|(at, fault)| format!("{name}.{at}: {}", lua(fault))),
                ),
                fault => parts.push(format!("{name}: {}", lua(fault))),
            }
        }
        match parts.as_slice() {
            [one] => format!("schema violation ({one})"),
            parts => format!("{} schema violations ({})", parts.len(), parts.join("; ")),
        }
    }

    /// Every fault with its path, in the order of the tree: `config.foo`, `paths.1` (counting from 1), `@entity`.
    pub fn flatten(&self) -> Vec<(String, String)> {
        let mut flat = Vec::new();
        walk_members(&self.fields, "", &mut flat);
        flat
    }
}

/// As [`Violations::put`], for a tree that is still being made.
pub(super) fn put(fields: &mut Document, path: &str, fault: Value) {
    match path.split_once('.') {
        None => {
            fields.insert(path.to_owned(), fault);
        }
        Some((head, rest)) => {
            let below = fields.entry(head.to_owned()).or_insert_with(|| Value::Object(Document::new()));
            if !below.is_object() {
                *below = Value::Object(Document::new());
            }
            if let Value::Object(below) = below {
                put(below, rest, fault);
            }
        }
    }
}

/// Adds a fault of several fields together.
pub(super) fn put_entity(fields: &mut Document, message: String) {
    let faults = fields.entry(ENTITY).or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(faults) = faults {
        faults.push(Value::String(message));
    }
}

fn sorted(members: &Document) -> impl Iterator<Item = (&String, &Value)> {
    let mut list: Vec<_> = members.iter().collect();
    list.sort_unstable_by_key(|(name, _)| *name);
    list.into_iter()
}

fn walk(fault: &Value, path: &str, flat: &mut Vec<(String, String)>) {
    match fault {
        Value::Null => {}
        Value::Object(members) => walk_members(members, path, flat),
        Value::Array(items) => {
            for (at, item) in (1..).zip(items) {
                walk(item, &join(path, &format_args!("{at}")), flat);
            }
        }
        Value::String(message) => flat.push((path.to_owned(), message.clone())),
        other => flat.push((path.to_owned(), other.to_string())),
    }
}

fn walk_members(members: &Document, path: &str, flat: &mut Vec<(String, String)>) {
    for (name, fault) in members {
        let path = join(path, &format_args!("{name}"));
        match fault {
            Value::Array(faults) if name == ENTITY => {
                flat.extend(faults.iter().filter_map(Value::as_str).map(|message| (path.clone(), message.to_owned())));
            }
            fault => walk(fault, &path, flat),
        }
    }
}

fn join(path: &str, member: &std::fmt::Arguments<'_>) -> String {
    if path.is_empty() { member.to_string() } else { format!("{path}.{member}") }
}

/// A fault inside a message: text as it is, a deeper tree as Penlight prints a Lua table.
fn lua(fault: &Value) -> String {
    match fault {
        Value::String(message) => message.clone(),
        tree => {
            let mut out = String::new();
            pretty(tree, 0, &mut out);
            out
        }
    }
}

fn pretty(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth + 1);
    match value {
        Value::Object(members) => {
            out.push_str("{\n");
            for (at, (name, member)) in sorted(members).enumerate() {
                let separator = if at == 0 { "" } else { ",\n" };
                let bare = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                let _ = if bare {
                    write!(out, "{separator}{indent}{name} = ")
                } else {
                    write!(out, "{separator}{indent}[\"{name}\"] = ")
                };
                pretty(member, depth + 1, out);
            }
            let _ = write!(out, "\n{}}}", "  ".repeat(depth));
        }
        Value::Array(items) => {
            out.push_str("{\n");
            // A hole cannot be written without its index; from there on every item is.
            let dense = items.iter().take_while(|item| !item.is_null()).count();
            let mut first = true;
            for (at, item) in items.iter().enumerate().filter(|(_, item)| !item.is_null()) {
                let separator = if std::mem::take(&mut first) { "" } else { ",\n" };
                let _ = write!(out, "{separator}{indent}");
                if at >= dense {
                    let _ = write!(out, "[{}] = ", at + 1);
                }
                pretty(item, depth + 1, out);
            }
            let _ = write!(out, "\n{}}}", "  ".repeat(depth));
        }
        Value::String(text) => {
            let _ = write!(out, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        }
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn violations(fields: Value) -> Violations {
        match fields {
            Value::Object(fields) => Violations { fields },
            _ => panic!("not an object"),
        }
    }

    #[test]
    fn messages_are_kongs() {
        let one = violations(json!({"host": "required field missing"}));
        assert_eq!(one.message(), "schema violation (host: required field missing)");

        let entity = violations(json!({"@entity": ["at least one of these"]}));
        assert_eq!(entity.message(), "schema violation (at least one of these)");

        let two = violations(json!({"rsa_public_key": "invalid key", "@entity": ["failed"]}));
        assert_eq!(two.message(), "2 schema violations (failed; rsa_public_key: invalid key)");

        let nested = violations(json!({"config": {"foo": "unknown field"}, "tags": [null, "bad"]}));
        assert_eq!(nested.message(), "2 schema violations (config.foo: unknown field; tags.2: bad)");

        let deep = violations(json!({"config": {"names": ["bad"]}}));
        assert_eq!(deep.message(), "schema violation (config.names: {\n  \"bad\"\n})");

        let deeper = violations(json!({"healthchecks": {"active": {"timeout": "no", "http-x": [null, "y"]}}}));
        assert_eq!(
            deeper.message(),
            "schema violation (healthchecks.active: {\n  [\"http-x\"] = {\n    [2] = \"y\"\n  },\n  timeout = \"no\"\n})"
        );
    }

    #[test]
    fn flattening_names_every_place() {
        let tree = violations(
            json!({"config": {"foo": "unknown field", "@entity": ["x"]}, "tags": [null, "bad"], "@entity": ["e"]}),
        );
        assert_eq!(
            tree.flatten(),
            [("config.foo", "unknown field"), ("config.@entity", "x"), ("tags.2", "bad"), ("@entity", "e")]
                .map(|(path, message)| (path.to_owned(), message.to_owned()))
        );
    }
}
