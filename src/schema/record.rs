//! Fields by name, and the one pass that completes and checks them.

use serde_json::Value;

use super::def::{Def, Fault, Type};
use super::{Cross, Document, Now};

/// A named field.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: &'static str,
    pub def: Def,
}

impl Field {
    pub const fn new(name: &'static str, def: Def) -> Self {
        Self { name, def }
    }
}

/// Fields in the order they are written out in, and the checks between them.
#[derive(Clone, Debug)]
pub struct Record {
    fields: Vec<Field>,
    /// Positions in `fields`, sorted by name.
    by_name: Box<[usize]>,
    cross: Vec<Cross>,
    former: Former,
}

/// Former names of fields, each with the path of the field that took its place, if one did.
pub type Former = &'static [(&'static str, Option<&'static str>)];

/// How a document is completed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cx {
    pub now: Now,
    /// An explicit null asks for the default, as the typed entities have no place for it; a plugin's configuration keeps its nulls.
    pub null_is_default: bool,
    pub updating: bool,
}

impl Record {
    pub fn new(fields: Vec<Field>, cross: Vec<Cross>) -> Self {
        let mut by_name: Vec<usize> = (0..fields.len()).collect();
        by_name.sort_by_key(|at| fields.get(*at).map(|field| field.name));
        Self { fields, by_name: by_name.into(), cross, former: &[] }
    }

    pub(super) fn renames(&mut self, former: Former) {
        self.former = former;
    }

    /// The path of the field that took the place of a former one.
    pub(super) fn successor(&self, name: &str) -> Option<&'static str> {
        self.former.iter().find(|(former, _)| *former == name)?.1
    }

    /// Moves what is given under a former name to where it belongs now, unless something is given there.
    pub(super) fn modernise(&self, input: &mut Document) {
        for (former, successor) in self.former {
            let (Some(value), Some(path)) = (input.shift_remove(*former), successor) else { continue };
            let (holder, name) = match path.split_once('.') {
                None => (&mut *input, *path),
                Some((head, name)) => {
                    let record = input.entry(head).or_insert(Value::Null);
                    if record.is_null() && !value.is_null() {
                        *record = Value::Object(Document::new());
                    }
                    let Value::Object(members) = record else { continue };
                    (members, name)
                }
            };
            // Exported files carry a null for every former field.
            if !value.is_null() {
                holder.entry(name).or_insert(value);
            }
        }
    }

    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    pub fn cross(&self) -> &[Cross] {
        &self.cross
    }

    fn position(&self, name: &str) -> Option<usize> {
        let name_at = |at: &usize| self.fields.get(*at).map_or("", |field| field.name);
        let found = self.by_name.binary_search_by(|at| name_at(at).cmp(name)).ok()?;
        self.by_name.get(found).copied()
    }

    /// The definition of a field; a dotted path goes into records.
    pub fn field(&self, path: &str) -> Option<&Def> {
        let (head, rest) = path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)));
        let def = &self.fields.get(self.position(head)?)?.def;
        match (rest, &def.kind) {
            (None, _) => Some(def),
            (Some(rest), Type::Record(record)) => record.field(rest),
            (Some(_), _) => None,
        }
    }

    /// What the fields default to; those without a default are left out.
    pub fn defaults(&self) -> Document {
        let default = |field: &Field| match (&field.def.default, &field.def.kind) {
            (Some(default), _) => Some(default.clone()),
            (None, Type::Record(record)) if field.def.required => Some(Value::Object(record.defaults())),
            (None, _) => None,
        };
        self.fields.iter().filter_map(|field| Some((field.name.to_owned(), default(field)?))).collect()
    }

    /// Completes and checks every field; `special` redefines some. Returns the document and the faults.
    pub(super) fn complete(&self, mut input: Document, cx: Cx, special: Option<&Self>) -> (Document, Document) {
        self.modernise(&mut input);
        let mut faults = Document::new();
        let mut given: Vec<Option<(String, Value)>> = Vec::new();
        given.resize_with(self.fields.len(), || None);
        for (name, value) in input {
            match self.position(&name).and_then(|at| given.get_mut(at)) {
                Some(slot) => *slot = Some((name, value)),
                None => {
                    faults.insert(name, Value::from("unknown field"));
                }
            }
        }
        let mut out = Document::with_capacity(self.fields.len());
        for (field, slot) in self.fields.iter().zip(given) {
            let (name, value) = match slot {
                Some((name, value)) => (name, Some(value)),
                None => (field.name.to_owned(), None),
            };
            let (def, cx) = match special.and_then(|special| special.field(field.name)) {
                Some(def) => (def, Cx { null_is_default: false, ..cx }),
                None => (&field.def, cx),
            };
            let value = def.complete(value, cx).unwrap_or_else(|bad| {
                let Fault { value, fault } = *bad;
                faults.insert(name.clone(), fault);
                value
            });
            out.insert(name, value);
        }
        (out, faults)
    }

    pub(super) fn check_cross(&self, document: &Document, faults: &mut Document, cx: Cx) {
        for cross in &self.cross {
            cross.run(document, faults, cx);
        }
    }

    pub(super) fn complete_nested(&self, input: Document, cx: Cx) -> Result<Value, Box<Fault>> {
        let (out, mut faults) = self.complete(input, cx, None);
        self.check_cross(&out, &mut faults, Cx { updating: false, ..cx });
        if faults.is_empty() {
            Ok(Value::Object(out))
        } else {
            Err(Box::new(Fault { value: Value::Object(out), fault: Value::Object(faults) }))
        }
    }
}
