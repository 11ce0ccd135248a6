//! Form and multipart input: names with dots and brackets become a tree, texts become the values their fields hold.

use serde_json::Value;

use super::def::{Def, Type};
use super::{Document, Table};

/// Deeper names are taken literally, and so are unknown fields: no schema nests this deep.
const DEPTH_LIMIT: usize = 32;
/// Higher indexes append.
const INDEX_LIMIT: usize = 1000;

enum Step<'a> {
    Member(&'a str),
    /// Counts from 1; none appends.
    Item(Option<usize>),
}

/// The document that form fields stand for: `a.b=x` and `a[b]=x` are members, `a=1&a=2`, `a[]=1&a[]=2` and `a[1]=1&a[2]=2` lists,
/// a single value of a list field a list of one; `true`, `false` and numbers are converted where the field holds them, and an
/// empty value is null. `current` is the entity that a PATCH changes: it tells a plugin's fields when `name` is not given.
pub fn from_form(table: &Table, pairs: Vec<(String, String)>, current: Option<&Document>) -> Document {
    let mut tree = Value::Object(Document::new());
    for (name, value) in pairs {
        place(&mut tree, &steps(&name), value);
    }
    let Value::Object(mut document) = tree else { return Document::new() };
    let special = table.special(&document).or_else(|| table.special(current?));
    for (name, value) in &mut document {
        let def = special.and_then(|special| special.field(name)).or_else(|| table.field(name));
        if let Some(def) = def {
            coerce(value, def);
        }
    }
    document
}

fn steps(name: &str) -> Vec<Step<'_>> {
    if name.is_empty() || name.starts_with('.') || name.ends_with('.') {
        return vec![Step::Member(name)];
    }
    let mut steps = Vec::new();
    for part in name.split('.').filter(|part| !part.is_empty()) {
        let (head, mut brackets) = match part.find('[') {
            Some(at) if at > 0 && part.ends_with(']') => part.split_at(at),
            _ => (part, ""),
        };
        steps.push(Step::Member(head));
        while let Some((inside, rest)) = brackets.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            steps.push(match inside {
                "" => Step::Item(None),
                number if number.bytes().all(|byte| byte.is_ascii_digit()) => Step::Item(number.parse().ok()),
                member => Step::Member(member),
            });
            brackets = rest;
        }
    }
    if steps.len() > DEPTH_LIMIT { vec![Step::Member(name)] } else { steps }
}

fn place(tree: &mut Value, steps: &[Step<'_>], text: String) {
    let mut node = tree;
    for (n, step) in steps.iter().enumerate() {
        let last = n + 1 == steps.len();
        node = match step {
            Step::Member(name) => {
                if !node.is_object() {
                    *node = Value::Object(Document::new());
                }
                let Value::Object(members) = node else { return };
                members.entry(*name).or_insert(Value::Null)
            }
            Step::Item(index) => {
                if !node.is_array() {
                    *node = Value::Array(if node.is_null() { Vec::new() } else { vec![node.take()] });
                }
                let Value::Array(items) = node else { return };
                let at = match index {
                    Some(index @ 1..=INDEX_LIMIT) => index - 1,
                    _ if last => items.len(),
                    _ => 0,
                };
                if items.len() <= at {
                    items.resize(at + 1, Value::Null);
                }
                let Some(item) = items.get_mut(at) else { return };
                item
            }
        };
    }
    match node {
        Value::Null => *node = Value::String(text),
        Value::Array(items) => items.push(Value::String(text)),
        earlier => *earlier = Value::Array(vec![earlier.take(), Value::String(text)]),
    }
}

fn coerce(value: &mut Value, def: &Def) {
    if value.as_str() == Some("") {
        *value = Value::Null;
        return;
    }
    match &def.kind {
        Type::Integer | Type::Number => {
            if let Some(number) = value.as_str().and_then(number) {
                *value = number;
            }
        }
        Type::Boolean => match value.as_str() {
            Some("true") => *value = Value::Bool(true),
            Some("false") => *value = Value::Bool(false),
            _ => {}
        },
        Type::Array(elements) | Type::Set(elements) => {
            if value.is_string() {
                *value = Value::Array(vec![value.take()]);
            }
            for item in value.as_array_mut().into_iter().flatten() {
                coerce(item, elements);
            }
        }
        Type::Map { values, .. } => {
            for (_, value) in value.as_object_mut().into_iter().flatten() {
                coerce(value, values);
            }
        }
        Type::Record(record) => {
            for (name, value) in value.as_object_mut().into_iter().flatten() {
                if let Some(def) = record.field(name).or_else(|| record.field(record.successor(name)?)) {
                    coerce(value, def);
                }
            }
        }
        Type::String | Type::Foreign { .. } | Type::Any => {}
    }
}

fn number(text: &str) -> Option<Value> {
    let text = text.trim();
    if let Ok(integer) = text.parse::<i64>() {
        return Some(Value::from(integer));
    }
    // What Rust reads beyond numbers (`inf`, `nan`) stays text, and is refused as such.
    text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
        .then(|| text.parse::<f64>().ok().filter(|number| number.is_finite()))
        .flatten()
        .map(Value::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::{Field, array, boolean, foreign, integer, map, number, record, set, string};

    fn table() -> Table {
        Table::new(
            "things",
            vec![
                Field::new("name", string()),
                Field::new("count", integer()),
                Field::new("ratio", number()),
                Field::new("on", boolean()),
                Field::new("tags", set(string())),
                Field::new("codes", array(integer())),
                Field::new("headers", map(string(), array(string()))),
                Field::new("service", foreign("services")),
                Field::new("config", record(vec![Field::new("claims", set(string())), Field::new("max", number())])),
            ],
            Vec::new(),
        )
    }

    fn form(pairs: &[(&str, &str)]) -> Value {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Value::Object(from_form(&table(), pairs, None))
    }

    #[test]
    fn values_become_what_the_fields_hold() {
        assert_eq!(
            form(&[("name", "123"), ("count", "5"), ("ratio", "1.5"), ("on", "true"), ("other", "true")]),
            json!({"name": "123", "count": 5, "ratio": 1.5, "on": true, "other": "true"})
        );
        assert_eq!(
            form(&[("name", ""), ("count", "x"), ("on", "yes")]),
            json!({"name": null, "count": "x", "on": "yes"})
        );
    }

    #[test]
    fn lists_are_written_in_four_ways() {
        let wanted = json!({"tags": ["a", "b"]});
        assert_eq!(form(&[("tags", "a"), ("tags", "b")]), wanted);
        assert_eq!(form(&[("tags[]", "a"), ("tags[]", "b")]), wanted);
        assert_eq!(form(&[("tags[1]", "a"), ("tags[2]", "b")]), wanted);
        assert_eq!(form(&[("tags[2]", "b"), ("tags[1]", "a")]), wanted);
        assert_eq!(form(&[("tags", "a,b")]), json!({"tags": ["a,b"]}));
        assert_eq!(form(&[("codes", "1"), ("codes", "2")]), json!({"codes": [1, 2]}));
    }

    #[test]
    fn members_are_written_with_dots_or_brackets() {
        assert_eq!(
            form(&[("config.claims", "exp"), ("config[max]", "300"), ("service.name", "s"), ("headers.x-env[]", "a")]),
            json!({"config": {"claims": ["exp"], "max": 300}, "service": {"name": "s"}, "headers": {"x-env": ["a"]}})
        );
        assert_eq!(form(&[("service", "")]), json!({"service": null}));
    }

    #[test]
    fn absurd_names_do_no_harm() {
        let deep = ["a"; 100_000].join(".");
        assert_eq!(form(&[(deep.as_str(), "x")]), json!({deep.as_str(): "x"}));
        assert_eq!(form(&[("tags[4000000000]", "x")]), json!({"tags": ["x"]}));
        assert_eq!(form(&[("config", "x"), ("config.max", "1")]), json!({"config": {"max": 1}}));
    }
}
