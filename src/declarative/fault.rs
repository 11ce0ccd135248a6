//! Faults while they are collected: what Kong would say, in the shape of its `fields`, and what a person is told, with the place.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::excerpt;
use super::locate::{Wanted, locate};
use super::path::{Path, Step};
use super::source::Source;
use crate::diagnostic::Diagnostic;

/// Kong stops after the first stage that found something, and answers with that alone; people are told of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Top-level members, and every entity for itself.
    Schema,
    /// References, ids and endpoint keys.
    Reference,
    /// Other unique fields.
    Unique,
}

/// A diagnostic whose place is not known yet.
#[derive(Debug)]
pub struct Found {
    pub path: Path,
    /// Point at the key, not at its value.
    pub key: bool,
    pub diagnostic: Diagnostic,
}

/// Most diagnostics that are kept; a file of a million wrong lines is not answered with a million messages.
const MOST: usize = 10_000;

/// Everything found so far.
#[derive(Debug, Default)]
pub struct Faults {
    found: Vec<Found>,
    left_out: usize,
    errors: usize,
    stages: BTreeMap<Stage, Node>,
}

impl Faults {
    pub fn any_errors(&self) -> bool {
        self.errors > 0
    }

    /// Says something at a value.
    pub fn say(&mut self, path: Path, diagnostic: Diagnostic) {
        self.push(Found { path, key: false, diagnostic });
    }

    /// Says something at a key.
    pub fn say_at_key(&mut self, path: Path, diagnostic: Diagnostic) {
        self.push(Found { path, key: true, diagnostic });
    }

    fn push(&mut self, mut found: Found) {
        self.errors += usize::from(found.diagnostic.is_error());
        if self.found.len() >= MOST {
            self.left_out += 1;
            return;
        }
        found.diagnostic.path = found.path.to_string();
        self.found.push(found);
    }

    /// Puts a message, or a tree of them, where Kong has it.
    pub fn kong(&mut self, stage: Stage, place: &[Step], fault: Value) {
        if self.errors <= MOST {
            self.stages.entry(stage).or_default().put(place, fault);
        }
    }

    /// The diagnostics with their places, in the order of the files, and Kong's tree.
    pub fn finish(self, sources: &[Source], yaml: &[bool]) -> (Vec<Diagnostic>, Map<String, Value>) {
        let mut diagnostics = Vec::with_capacity(self.found.len());
        let mut by_file: Vec<Vec<Found>> = sources.iter().map(|_| Vec::new()).collect();
        for found in self.found {
            match by_file.get_mut(found.path.file) {
                Some(file) => file.push(found),
                None => diagnostics.push(found.diagnostic),
            }
        }
        for (file, (source, found)) in sources.iter().zip(by_file).enumerate() {
            if found.is_empty() {
                continue;
            }
            let wanted: Vec<_> =
                found.iter().map(|found| Wanted { steps: &found.path.steps, key: found.key }).collect();
            let offsets = locate(source.text(), yaml.get(file).copied().unwrap_or(true), &wanted);
            let mut here: Vec<_> = found.into_iter().zip(offsets).collect();
            here.sort_by_key(|(_, offset)| *offset);
            let mut placer = source.placer();
            for (mut found, offset) in here {
                placer.place(&mut found.diagnostic, offset, holds_secret(&found.path));
                diagnostics.push(found.diagnostic);
            }
        }
        if self.left_out > 0 {
            diagnostics.push(Diagnostic::error("more", "", format!("and {} more", self.left_out)));
        }
        let tree = self.stages.into_values().next().map(Node::into_value);
        let tree = if let Some(Value::Object(tree)) = tree { tree } else { Map::new() };
        (diagnostics, tree)
    }
}

fn holds_secret(path: &Path) -> bool {
    path.steps.iter().any(|step| matches!(step, Step::Key(key) if excerpt::is_secret(key)))
}

/// Kong's tree while it grows.
#[derive(Debug, Default)]
enum Node {
    #[default]
    Empty,
    Leaf(Value),
    List(BTreeMap<usize, Node>),
    Map(Vec<(Box<str>, Node)>),
}

/// The longest list that is padded with nulls up to its first fault; Kong's JSON encoder has the same bound.
const PADDED: usize = 1 << 15;

impl Node {
    fn put(&mut self, place: &[Step], fault: Value) {
        let Some((step, rest)) = place.split_first() else {
            match (&mut *self, fault) {
                (Self::Leaf(Value::Object(there)), Value::Object(more)) => merge(there, more),
                (Self::Leaf(Value::Array(there)), Value::Array(more)) => there.extend(more),
                (Self::Map(_), Value::Object(more)) => {
                    for (key, fault) in more {
                        self.put(&[Step::Key(key.into())], fault);
                    }
                }
                (_, fault) => *self = Self::Leaf(fault),
            }
            return;
        };
        let below = match step {
            Step::Index(index) => {
                if !matches!(self, Self::List(_)) {
                    *self = Self::List(BTreeMap::new());
                }
                let Self::List(list) = self else { return };
                list.entry(*index).or_default()
            }
            Step::Key(key) => {
                if let Self::Leaf(Value::Object(leaf)) = self {
                    *self = Self::Map(
                        std::mem::take(leaf).into_iter().map(|(key, fault)| (key.into(), Self::Leaf(fault))).collect(),
                    );
                } else if !matches!(self, Self::Map(_)) {
                    *self = Self::Map(Vec::new());
                }
                let Self::Map(map) = self else { return };
                let at = map.iter().position(|(there, _)| there == key).unwrap_or_else(|| {
                    map.push((key.clone(), Self::Empty));
                    map.len() - 1
                });
                let Some((_, below)) = map.get_mut(at) else { return };
                below
            }
        };
        below.put(rest, fault);
    }

    fn into_value(self) -> Value {
        match self {
            Self::Empty => Value::Null,
            Self::Leaf(fault) => fault,
            Self::Map(map) => {
                Value::Object(map.into_iter().map(|(key, node)| (key.into(), node.into_value())).collect())
            }
            Self::List(list) if list.keys().next_back().is_some_and(|last| *last >= PADDED) => Value::Object(
                list.into_iter().map(|(index, node)| ((index + 1).to_string(), node.into_value())).collect(),
            ),
            Self::List(list) => {
                let mut padded = Vec::new();
                for (index, node) in list {
                    padded.resize(index, Value::Null);
                    padded.push(node.into_value());
                }
                Value::Array(padded)
            }
        }
    }
}

fn merge(there: &mut Map<String, Value>, more: Map<String, Value>) {
    for (key, fault) in more {
        match (there.get_mut(&key), fault) {
            (Some(Value::Object(below)), Value::Object(more)) => merge(below, more),
            (_, fault) => {
                there.insert(key, fault);
            }
        }
    }
}

/// A value as Kong's messages print tables: `{services={{host="required field missing"}}}`.
pub fn lua(value: &Value) -> String {
    let mut output = String::new();
    write_lua(value, &mut output);
    output
}

fn write_lua(value: &Value, output: &mut String) {
    let bare = |key: &str| {
        key.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
            && key.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
    };
    match value {
        Value::Object(map) => {
            output.push('{');
            for (n, (key, value)) in map.iter().enumerate() {
                let comma = if n > 0 { "," } else { "" };
                let _ = if bare(key) { write!(output, "{comma}{key}=") } else { write!(output, "{comma}[\"{key}\"]=") };
                write_lua(value, output);
            }
            output.push('}');
        }
        Value::Array(list) => {
            output.push('{');
            let dense = list.iter().take_while(|value| !value.is_null()).count();
            let mut comma = "";
            for (n, value) in list.iter().enumerate().filter(|(_, value)| !value.is_null()) {
                output.push_str(std::mem::replace(&mut comma, ","));
                if n >= dense {
                    let _ = write!(output, "[{}]=", n + 1);
                }
                write_lua(value, output);
            }
            output.push('}');
        }
        Value::String(text) => {
            let _ = write!(output, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\\n"));
        }
        other => {
            let _ = write!(output, "{other}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn trees_take_the_shape_of_the_document() {
        let mut faults = Faults::default();
        let place = |field: &str| Path::default().then_field(field).steps;
        faults.kong(Stage::Unique, &place("consumers.bar"), json!(["late"]));
        faults.kong(Stage::Schema, &place("services.1"), json!({"port": "no"}));
        faults.kong(Stage::Schema, &place("services.1.routes.3"), json!({"paths": [null, "bad"]}));
        faults.kong(Stage::Schema, &place("services.1"), json!({"host": "required"}));
        faults.kong(Stage::Schema, &place("plugins.x"), json!(["a"]));
        faults.kong(Stage::Schema, &place("plugins.x"), json!(["b"]));
        let (_, tree) = faults.finish(&[], &[]);
        let tree = Value::Object(tree);
        assert_eq!(
            tree,
            json!({
                "services": [{"port": "no", "routes": [null, null, {"paths": [null, "bad"]}], "host": "required"}],
                "plugins": {"x": ["a", "b"]},
            })
        );
        assert_eq!(
            lua(&tree),
            r#"{services={{port="no",routes={[3]={paths={[2]="bad"}}},host="required"}},plugins={x={"a","b"}}}"#
        );
    }
}
