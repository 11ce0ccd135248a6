//! `{vault://env/name}`: values taken from the environment, in fields whose table says they may be.
//!
//! The vault `env` and entities of `vaults` that configure it. Kong reads a reference when it is used; here it is read when the
//! configuration is, so that a dump shows the value, and a rotated variable needs a restart in both.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::environment::Environment;
use crate::schema::{Record, Type};

/// The vaults that references may name.
#[derive(Debug)]
pub struct Vaults<'e> {
    environment: &'e Environment,
    /// By the name in references: what is put before a variable's name.
    prefixes: HashMap<String, String>,
}

/// What a reference starts with.
pub const SCHEME: &str = "{vault://";

impl<'e> Vaults<'e> {
    pub fn new(environment: &'e Environment) -> Self {
        Self { environment, prefixes: HashMap::from([("env".to_owned(), String::new())]) }
    }

    /// A `vaults` entity.
    ///
    /// # Errors
    /// The field at fault, and Kong's message.
    pub fn add(&mut self, entity: &Map<String, Value>) -> Result<(), (&'static str, String)> {
        for key in entity.keys() {
            let known = [
                "id",
                "prefix",
                "name",
                "description",
                "config",
                "tags",
                "created_at",
                "updated_at",
                "_comment",
                "_ignore",
            ];
            if !known.contains(&key.as_str()) {
                return Err(("", format!("{key}: unknown field")));
            }
        }
        let Some(prefix) = entity.get("prefix").and_then(Value::as_str) else {
            return Err(("prefix", "required field missing".into()));
        };
        let valid = prefix.len() > 1
            && prefix.starts_with(|char: char| char.is_ascii_lowercase())
            && !prefix.ends_with('-')
            && prefix.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-');
        if !valid || prefix == "env" {
            return Err((
                "prefix",
                "invalid prefix: lower-case letters, digits and dashes, not the name of a built-in vault".into(),
            ));
        }
        let variable = match entity.get("config") {
            None | Some(Value::Null) => "",
            Some(config) => match (config, config.get("prefix")) {
                (Value::Object(_), None | Some(Value::Null)) => "",
                (Value::Object(_), Some(Value::String(prefix))) => prefix,
                (Value::Object(_), Some(_)) => return Err(("config.prefix", "expected a string".into())),
                _ => return Err(("config", "expected a record".into())),
            },
        };
        match self.prefixes.insert(prefix.to_owned(), variable.to_owned()) {
            None => Ok(()),
            Some(_) => Err((
                "prefix",
                format!("uniqueness violation: 'vaults' entity with prefix set to '{prefix}' already declared"),
            )),
        }
    }

    /// The value behind a reference; otherwise what is missing.
    fn resolve(&self, reference: &str) -> Result<String, String> {
        let inside = reference.strip_prefix(SCHEME).and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
        let inside = inside.split_once('#').map_or(inside, |(inside, _version)| inside);
        let (inside, options) = inside.split_once('?').unwrap_or((inside, ""));
        let mut parts = inside.splitn(3, '/');
        let (vault, resource, member) =
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
        let Some(prefix) = self.prefixes.get(vault) else {
            return Err(format!("there is no vault '{vault}' (only 'env' and the vaults declared with it)"));
        };
        if resource.is_empty() {
            return Err("the reference names no variable".into());
        }
        let prefix = options.split('&').find_map(|option| option.strip_prefix("prefix=")).unwrap_or(prefix);
        let variable = format!("{prefix}{}", resource.replace('-', "_")).to_uppercase();
        let Some(value) = self.environment.get(&variable) else {
            return Err(format!("environment variable '{variable}' is not set"));
        };
        let Some(member) = member.filter(|member| !member.is_empty()) else { return Ok(value.to_owned()) };
        match serde_json::from_str::<Value>(value).ok().and_then(|mut json| json.get_mut(member).map(Value::take)) {
            Some(Value::String(text)) => Ok(text),
            Some(Value::Null) | None => {
                Err(format!("environment variable '{variable}' holds no JSON object with the member '{member}'"))
            }
            Some(other) => Ok(other.to_string()),
        }
    }
}

/// Puts a document's referenced values in; `special` is the record of its further rules. What cannot be resolved is left for
/// the table, which lets references pass, and said with its dotted path.
pub fn resolve(
    vaults: &Vaults<'_>,
    record: &Record,
    special: Option<&Record>,
    document: &mut Map<String, Value>,
) -> Vec<(String, String)> {
    let mut missing = Vec::new();
    walk(record, special, document, &mut String::new(), &mut |text, path| match vaults.resolve(text) {
        Ok(value) => *text = value,
        Err(message) => missing.push((path.to_owned(), message)),
    });
    missing
}

/// Empties every reference that is left, as Kong does with those it cannot resolve.
pub fn clear(record: &Record, special: Option<&Record>, document: &mut Map<String, Value>) {
    walk(record, special, document, &mut String::new(), &mut |text, _| text.clear());
}

fn walk(
    record: &Record,
    special: Option<&Record>,
    document: &mut Map<String, Value>,
    path: &mut String,
    visit: &mut dyn FnMut(&mut String, &str),
) {
    let length = path.len();
    for (name, value) in document.iter_mut() {
        let def = special.and_then(|special| special.field(name)).or_else(|| record.field(name));
        if let Some(def) = def {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(name);
            walk_value(&def.kind, def.referenceable, value, path, visit);
            path.truncate(length);
        }
    }
}

fn walk_value(
    kind: &Type,
    referenceable: bool,
    value: &mut Value,
    path: &mut String,
    visit: &mut dyn FnMut(&mut String, &str),
) {
    let length = path.len();
    match (kind, value) {
        (Type::String, Value::String(text)) if referenceable && text.starts_with(SCHEME) && text.ends_with('}') => {
            visit(text, path)
        }
        (Type::Array(elements) | Type::Set(elements), Value::Array(list)) => {
            for (n, element) in (1..).zip(list) {
                path.push_str(&format!(".{n}"));
                walk_value(&elements.kind, elements.referenceable, element, path, visit);
                path.truncate(length);
            }
        }
        (Type::Map { values, .. }, Value::Object(map)) => {
            for (key, value) in map.iter_mut() {
                path.push('.');
                path.push_str(key);
                walk_value(&values.kind, values.referenceable, value, path, visit);
                path.truncate(length);
            }
        }
        (Type::Record(record), Value::Object(map)) => walk(record, None, map, path, visit),
        _ => {}
    }
}

/// YAML 1.1 spelt booleans `yes`, `no`, `on` and `off`; Kong's and decK's readers still take them.
pub fn old_booleans(record: &Record, special: Option<&Record>, document: &mut Map<String, Value>) {
    for (name, value) in document.iter_mut() {
        let def = special.and_then(|special| special.field(name)).or_else(|| record.field(name));
        match (def.map(|def| &def.kind), value) {
            (Some(Type::Boolean), value @ Value::String(_)) => match value.as_str() {
                Some("yes" | "Yes" | "YES" | "on" | "On" | "ON") => *value = true.into(),
                Some("no" | "No" | "NO" | "off" | "Off" | "OFF") => *value = false.into(),
                _ => {}
            },
            (Some(Type::Record(record)), Value::Object(map)) => old_booleans(record, None, map),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references() {
        let environment = Environment::from_iter([
            ("MY_SECRET", "plain"),
            ("SSL_CERT", "cert"),
            ("KONG_X", "prefixed"),
            ("JSON", r#"{"field": "inside", "n": 5}"#),
        ]);
        let mut vaults = Vaults::new(&environment);
        let Value::Object(entity) = json!({"prefix": "my-env", "name": "env", "config": {"prefix": "KONG_"}}) else {
            panic!()
        };
        vaults.add(&entity).unwrap();
        assert!(vaults.add(&entity).unwrap_err().1.contains("uniqueness violation"));
        for (reference, expected) in [
            ("{vault://env/my-secret}", Ok("plain")),
            ("{vault://env/my_secret}", Ok("plain")),
            ("{vault://env/cert?prefix=SSL_}", Ok("cert")),
            ("{vault://my-env/x}", Ok("prefixed")),
            ("{vault://my-env/x#2}", Ok("prefixed")),
            ("{vault://env/json/field}", Ok("inside")),
            ("{vault://env/json/n}", Ok("5")),
            ("{vault://env/json/none}", Err("environment variable 'JSON' holds no JSON object with the member 'none'")),
            (
                "{vault://env/my-secret/x}",
                Err("environment variable 'MY_SECRET' holds no JSON object with the member 'x'"),
            ),
            ("{vault://env/unset}", Err("environment variable 'UNSET' is not set")),
            ("{vault://env/}", Err("the reference names no variable")),
            ("{vault://aws/x}", Err("there is no vault 'aws' (only 'env' and the vaults declared with it)")),
        ] {
            assert_eq!(vaults.resolve(reference), expected.map(str::to_owned).map_err(str::to_owned), "{reference}");
        }
    }

    #[test]
    fn vault_entities_are_checked() {
        let environment = Environment::from_iter([("A", "B")]);
        for (entity, field) in [
            (json!({"name": "env"}), "prefix"),
            (json!({"name": "env", "prefix": "env"}), "prefix"),
            (json!({"name": "env", "prefix": "Ab"}), "prefix"),
            (json!({"name": "env", "prefix": "ab", "config": 1}), "config"),
            (json!({"name": "env", "prefix": "ab", "config": {"prefix": 1}}), "config.prefix"),
            (json!({"name": "env", "prefix": "ab", "foo": 1}), ""),
        ] {
            let Value::Object(entity) = entity else { panic!() };
            assert_eq!(Vaults::new(&environment).add(&entity).unwrap_err().0, field);
        }
    }
}
