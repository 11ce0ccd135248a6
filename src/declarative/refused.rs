//! Kong's answer to a configuration that cannot be loaded: code 14, `fields` in the shape of the document, and
//! `flattened_errors`, which pair every faulty entity with its faults.

use serde_json::{Map, Value, json};

use super::fault::lua;
use super::parse;
use super::source::Source;
use crate::diagnostic::Diagnostic;
use crate::entity::{Kind, tables};

/// A configuration that was not loaded, and why.
#[derive(Debug)]
pub struct Refused {
    /// Every fault, and the warnings that were found beside them.
    pub diagnostics: Vec<Diagnostic>,
    /// Kong's `fields`.
    pub(super) tree: Map<String, Value>,
    pub(super) sources: Vec<Source>,
}

impl Refused {
    /// Refused before anything could be parsed; `error` is said in Kong's words.
    pub(super) fn unparsed(diagnostics: Vec<Diagnostic>, error: String) -> Self {
        Self { diagnostics, tree: Map::from_iter([("error".to_owned(), error.into())]), sources: Vec::new() }
    }

    /// Kong's `message`: `declarative config is invalid: {…}`.
    pub fn message(&self) -> String {
        message(&self.tree)
    }

    /// Kong's `fields`: the faults in the shape of the document. As Kong stops at the first stage that finds something (schema,
    /// then references and keys, then other unique fields), this may hold less than [`Self::diagnostics`].
    pub fn fields(&self) -> &Map<String, Value> {
        &self.tree
    }

    /// The body of Kong's 400 with code 14; `flatten` is `?flatten_errors=1`.
    pub fn to_kong(&self, flatten: bool) -> Value {
        let mut fields = self.tree.clone();
        let flattened = if flatten { Some(flatten_errors(&mut fields, self.input())) } else { None };
        let mut body = json!({
            "code": 14,
            "name": "invalid declarative configuration",
            "message": message(&fields),
            "fields": fields,
        });
        if let (Some(flattened), Value::Object(body)) = (flattened, &mut body) {
            body.insert("flattened_errors".into(), flattened.into());
        }
        body
    }

    /// What was read, as values again. Several files count as one, as in the paths of `fields`.
    fn input(&self) -> Map<String, Value> {
        let mut input = Map::new();
        for source in &self.sources {
            let Ok(document) = parse::document(source) else { continue };
            for (name, body) in document.members {
                let Ok(value) = body.into_value(source.text()) else { continue };
                match (input.get_mut(&name), value) {
                    (Some(Value::Array(there)), Value::Array(more)) => there.extend(more),
                    (_, value) => {
                        input.insert(name, value);
                    }
                }
            }
        }
        input
    }
}

fn message(fields: &Map<String, Value>) -> String {
    format!("declarative config is invalid: {}", lua(&Value::Object(fields.clone())))
}

/// Takes out of `fields` what belongs to an entity. Like Kong, goes through everything from the end to the beginning.
fn flatten_errors(fields: &mut Map<String, Value>, mut input: Map<String, Value>) -> Vec<Value> {
    let mut flattened = Vec::new();
    let mut sections: Vec<String> = fields.keys().cloned().collect();
    sections.sort_unstable_by(|one, other| other.cmp(one));
    for section in sections {
        let Some(kind) = Kind::from_collection(&section) else { continue };
        let (Some(Value::Array(faults)), Some(Value::Array(entities))) =
            (fields.get_mut(&section), input.get_mut(&section))
        else {
            continue;
        };
        for (fault, entity) in faults.iter_mut().zip(entities).rev() {
            if let (Value::Object(_), Value::Object(_)) = (&*fault, &*entity)
                && let (Value::Object(fault), Value::Object(entity)) = (fault.take(), entity.take())
            {
                entity_errors(kind, entity, fault, &mut flattened);
            }
        }
        if faults.iter().all(Value::is_null) {
            fields.shift_remove(&section);
        }
    }
    flattened
}

fn entity_errors(
    kind: Kind,
    mut entity: Map<String, Value>,
    mut fault: Map<String, Value>,
    flattened: &mut Vec<Value>,
) {
    if fault.is_empty() {
        return;
    }
    let key = primary_key(&entity);
    for child in Kind::ALL {
        for (field, collection, _) in tables::table(child).foreign_keys() {
            if child == kind
                && let (Some(parent), Some(Value::Object(_))) = (Kind::from_collection(collection), entity.get(field))
            {
                // A parent written out in its child.
                let Some(Value::Object(written)) = entity.shift_remove(field) else { continue };
                if let Some(key) = primary_key(&written) {
                    entity.insert(field.to_owned(), key);
                }
                if let Some(Value::Object(fault)) = fault.shift_remove(field) {
                    entity_errors(parent, written, fault, flattened);
                }
            }
            if collection == kind.collection()
                && let Some(Value::Array(children)) = entity.shift_remove(child.collection())
                && let Some(Value::Array(faults)) = fault.shift_remove(child.collection())
            {
                for (below, fault) in children.into_iter().zip(faults) {
                    let (Value::Object(mut below), Value::Object(fault)) = (below, fault) else { continue };
                    if let (None, Some(key)) = (below.get(field), &key) {
                        below.insert(field.to_owned(), key.clone());
                    }
                    entity_errors(child, below, fault, flattened);
                }
            }
        }
    }
    let mut errors = Vec::new();
    categorise(&fault, "", &mut errors);
    if errors.is_empty() {
        return;
    }
    let mut item = Map::new();
    item.insert("entity_type".into(), kind.collection().strip_suffix('s').unwrap_or_default().into());
    if let Some(name) = entity.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()) {
        item.insert("entity_name".into(), name.into());
    }
    if let Some(id) = primary_key(&entity) {
        item.insert("entity_id".into(), id.get("id").cloned().unwrap_or_default());
    }
    if let Some(tags) =
        entity.get("tags").filter(|tags| tags.as_array().is_some_and(|tags| tags.iter().all(Value::is_string)))
    {
        item.insert("entity_tags".into(), tags.clone());
    }
    item.insert("errors".into(), errors.into());
    item.insert("entity".into(), entity.into());
    flattened.push(item.into());
}

fn primary_key(entity: &Map<String, Value>) -> Option<Value> {
    let id = entity.get("id")?.as_str()?;
    uuid::Uuid::try_parse(id).ok().map(|_| json!({ "id": id }))
}

/// Every fault with its dotted path.
fn categorise(fault: &Map<String, Value>, around: &str, errors: &mut Vec<Value>) {
    let mut fields: Vec<_> = fault.iter().collect();
    fields.sort_unstable_by(|one, other| other.0.cmp(one.0));
    for (field, fault) in fields {
        if field == "@entity" {
            match fault {
                Value::Array(messages) => {
                    errors.extend(messages.iter().rev().map(|message| json!({"type": "entity", "message": message})))
                }
                message => errors.push(json!({"type": "entity", "message": message})),
            }
            continue;
        }
        let path = if around.is_empty() { field.clone() } else { format!("{around}.{field}") };
        categorise_value(fault, &path, errors);
    }
}

fn categorise_value(fault: &Value, path: &str, errors: &mut Vec<Value>) {
    match fault {
        Value::Null => {}
        Value::Object(fault) => categorise(fault, path, errors),
        Value::Array(list) => {
            for (n, fault) in list.iter().enumerate().rev() {
                categorise_value(fault, &format!("{path}.{}", n + 1), errors);
            }
        }
        message => errors.push(json!({"type": "field", "field": path, "message": message})),
    }
}
