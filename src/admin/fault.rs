//! Why a request is not done, in Kong's words.

use http::StatusCode;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::answer::Answer;
use crate::schema::Violations;
use crate::store::{self, Body, Conflict};

/// A request that is not done.
#[derive(Debug)]
pub enum Fault {
    /// `{"message": …}` alone.
    Plain(StatusCode, String),
    /// One of Kong's numbered errors.
    Numbered { status: StatusCode, code: u8, name: &'static str, message: String, details: Details },
    /// A body of its own; null for none.
    Body(StatusCode, Value),
    /// The database failed; the log says how, the client is told nothing.
    Store(store::Error),
}

/// What a numbered error carries beside its message.
#[derive(Debug)]
pub enum Details {
    None,
    Fields(Body),
    Options(Body),
}

impl Fault {
    pub fn plain(status: StatusCode, message: impl Into<String>) -> Self {
        Self::Plain(status, message.into())
    }

    pub fn not_found() -> Self {
        Self::plain(StatusCode::NOT_FOUND, "Not found")
    }

    pub fn method_not_allowed() -> Self {
        Self::plain(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
    }

    pub fn unexpected() -> Self {
        Self::plain(StatusCode::INTERNAL_SERVER_ERROR, "An unexpected error occurred")
    }

    fn numbered(status: StatusCode, code: u8, name: &'static str, message: String, details: Details) -> Self {
        Self::Numbered { status, code, name, message, details }
    }

    pub fn invalid_primary_key() -> Self {
        let fields = object(json!({"id": "expected a valid UUID"}));
        let message = format!("invalid primary key: '{}'", lua(&Value::Object(fields.clone())));
        Self::numbered(StatusCode::BAD_REQUEST, 1, "invalid primary key", message, Details::Fields(fields))
    }

    pub fn schema(violations: Violations) -> Self {
        let message = violations.message();
        Self::numbered(StatusCode::BAD_REQUEST, 2, "schema violation", message, Details::Fields(violations.fields))
    }

    /// A schema violation of one field.
    pub fn field(name: &str, message: impl Into<String>) -> Self {
        Self::schema(Violations::of(name, message))
    }

    /// No row to update; `by` is what it was looked for with.
    pub fn nothing_to_update(by: Body) -> Self {
        let what = if by.contains_key("id") { "primary key " } else { "" };
        let message = format!("could not find the entity with {what}'{}'", lua(&Value::Object(by.clone())));
        Self::numbered(StatusCode::NOT_FOUND, 6, "not found", message, Details::Fields(by))
    }

    pub fn invalid_offset(offset: &str, why: &str) -> Self {
        let message = format!("'{offset}' is not a valid offset: {why}");
        Self::numbered(StatusCode::BAD_REQUEST, 7, "invalid offset", message, Details::None)
    }

    pub fn invalid_size(message: &str) -> Self {
        Self::numbered(StatusCode::BAD_REQUEST, 9, "invalid size", message.into(), Details::None)
    }

    pub fn invalid_tags(why: &str) -> Self {
        let options = object(json!({"tags": why}));
        let message = format!("invalid option (tags: {why})");
        Self::numbered(StatusCode::BAD_REQUEST, 11, "invalid options", message, Details::Options(options))
    }

    /// A write where there is no database.
    pub fn unsupported(message: String) -> Self {
        Self::numbered(StatusCode::METHOD_NOT_ALLOWED, 12, "operation unsupported", message, Details::None)
    }

    /// References by name that lead nowhere: by field, the name's field, its value and the collection.
    pub fn unresolved(misses: &[(&'static str, Vec<(String, Value)>, &'static str)]) -> Self {
        let (mut fields, mut parts) = (Body::new(), Vec::new());
        let mut misses: Vec<_> = misses.iter().collect();
        misses.sort_by_key(|(field, ..)| *field);
        for (field, names, parent) in misses {
            let mut inner = Body::new();
            let mut names: Vec<_> = names.iter().collect();
            names.sort_by(|a, b| a.0.cmp(&b.0));
            for (name, value) in names {
                let key = lua(&Value::Object(Body::from_iter([(name.clone(), value.clone())])));
                let message =
                    format!("the foreign key cannot be resolved with '{key}' for an existing '{parent}' entity");
                parts.push(format!("{field}.{name}: {message}"));
                inner.insert(name.clone(), message.into());
            }
            fields.insert((*field).to_owned(), Value::Object(inner));
        }
        let message = match parts.as_slice() {
            [one] => format!("foreign key unresolved ({one})"),
            parts => format!("{} foreign keys unresolved ({})", parts.len(), parts.join("; ")),
        };
        Self::numbered(StatusCode::BAD_REQUEST, 13, "foreign keys unresolved", message, Details::Fields(fields))
    }

    /// What the rest of the database has against a write of `collection`.
    pub fn conflict(conflict: Conflict, collection: &str) -> Self {
        match conflict {
            Conflict::PrimaryKey(id) => {
                let fields = object(json!({"id": id}));
                let message = format!("primary key violation on key '{}'", lua(&Value::Object(fields.clone())));
                Self::numbered(StatusCode::BAD_REQUEST, 3, "primary key violation", message, Details::Fields(fields))
            }
            Conflict::Unique { fields } => {
                let message = format!("UNIQUE violation detected on '{}'", lua(&Value::Object(fields.clone())));
                let details = Details::Fields(fields);
                Self::numbered(StatusCode::CONFLICT, 5, "unique constraint violation", message, details)
            }
            Conflict::Missing { field, parent, id } => Self::missing_reference(field, parent, id),
            Conflict::Restricted { by } => {
                let message = format!("an existing '{by}' entity references this '{collection}' entity");
                let details = Details::Fields(object(json!({"@referenced_by": by})));
                Self::numbered(StatusCode::BAD_REQUEST, 4, "foreign key violation", message, details)
            }
        }
    }

    fn missing_reference(field: &str, parent: &str, id: Uuid) -> Self {
        let key = json!({"id": id});
        let message = format!("the foreign key '{}' does not reference an existing '{parent}' entity.", lua(&key));
        let details = Details::Fields(Body::from_iter([(field.to_owned(), key)]));
        Self::numbered(StatusCode::BAD_REQUEST, 4, "foreign key violation", message, details)
    }

    /// A CA certificate that services still trust.
    pub fn referenced_by_others(message: String) -> Self {
        Self::numbered(StatusCode::BAD_REQUEST, 19, "referenced by others", message, Details::None)
    }

    pub fn into_answer(self) -> Answer {
        match self {
            Self::Plain(status, message) => Answer::json(status, json!({"message": message})),
            Self::Body(status, Value::Null) => Answer::empty(status),
            Self::Body(status, body) => Answer::json(status, body),
            Self::Numbered { status, code, name, message, details } => {
                let mut body = Map::new();
                body.insert("message".into(), message.into());
                body.insert("name".into(), name.into());
                body.insert("code".into(), code.into());
                match details {
                    Details::None => {}
                    Details::Fields(fields) => drop(body.insert("fields".into(), Value::Object(fields))),
                    Details::Options(options) => drop(body.insert("options".into(), Value::Object(options))),
                }
                Answer::json(status, Value::Object(body))
            }
            Self::Store(fault) => {
                tracing::error!(%fault, "Admin API");
                Self::unexpected().into_answer()
            }
        }
    }
}

impl From<store::Error> for Fault {
    fn from(fault: store::Error) -> Self {
        Self::Store(fault)
    }
}

fn object(value: Value) -> Body {
    match value {
        Value::Object(body) => body,
        _ => Body::new(),
    }
}

/// A value as Kong's messages write it: Lua's table syntax, members sorted.
pub fn lua(value: &Value) -> String {
    let mut out = String::new();
    write_lua(value, &mut out);
    out
}

fn write_lua(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string()),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push('{');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_lua(item, out);
            }
            out.push('}');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                    && !name.starts_with(|first: char| first.is_ascii_digit());
                if plain && !name.is_empty() {
                    out.push_str(name);
                } else {
                    out.push('[');
                    write_text(name, out);
                    out.push(']');
                }
                out.push('=');
                write_lua(value, out);
            }
            out.push('}');
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_in_kongs_messages() {
        let value = json!({"route": {"id": "x"}, "name": "jwt", "consumer": null, "a-b": [1, true]});
        assert_eq!(lua(&value), r#"{["a-b"]={1,true},consumer=null,name="jwt",route={id="x"}}"#);
    }
}
