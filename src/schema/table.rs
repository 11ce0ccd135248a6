//! A table: the fields of one entity or one plugin, and how documents are written through it.

use serde_json::Value;

use super::cross::all_or_none;
use super::def::{Def, OnDelete, Type};
use super::merge::merge;
use super::record::{Cx, Field, Record};
use super::violations::put_entity;
use super::{Cross, Document, Now, Violations};

/// The schema of one kind of entity, or of one plugin's part of the plugin entity.
#[derive(Clone, Debug)]
pub struct Table {
    /// Kong's collection name (`services`), or the plugin's name.
    pub name: &'static str,
    pub record: Record,
    /// The field that names an entity beside its id.
    pub endpoint_key: Option<&'static str>,
    /// Fields that together may exist only once.
    pub cache_key: &'static [&'static str],
    /// A field of the input decides on further rules.
    subschema: Option<Subschema>,
    /// Rewrites the input before anything is checked: shorthands and old forms.
    rewrite: Option<Rewrite>,
    /// Fills fields that follow from others, after everything was checked.
    derive: Option<fn(&mut Document)>,
    /// Replaces what must not be stored as it was given.
    transform: Option<fn(&mut Document)>,
    /// A PATCH gives all of these fields or none.
    patched_together: &'static [&'static str],
}

/// Brings an input into the form that is checked.
type Rewrite = fn(&mut Document) -> Result<(), Violations>;

/// Rules that depend on the value of one field.
#[derive(Clone, Copy, Debug)]
pub struct Subschema {
    pub key: &'static str,
    /// The rules for a value, or why there are none.
    pub select: fn(&Value) -> Result<&'static Table, String>,
}

impl Table {
    pub fn new(name: &'static str, fields: Vec<Field>, cross: Vec<Cross>) -> Self {
        Self {
            name,
            record: Record::new(fields, cross),
            endpoint_key: None,
            cache_key: &[],
            subschema: None,
            rewrite: None,
            derive: None,
            transform: None,
            patched_together: &[],
        }
    }

    pub fn endpoint_key(mut self, field: &'static str) -> Self {
        self.endpoint_key = Some(field);
        self
    }

    pub fn cache_key(mut self, fields: &'static [&'static str]) -> Self {
        self.cache_key = fields;
        self
    }

    pub fn subschema(mut self, subschema: Subschema) -> Self {
        self.subschema = Some(subschema);
        self
    }

    pub fn rewrite(mut self, rewrite: Rewrite) -> Self {
        self.rewrite = Some(rewrite);
        self
    }

    pub fn derive(mut self, derive: fn(&mut Document)) -> Self {
        self.derive = Some(derive);
        self
    }

    pub fn transformed_by(mut self, transform: fn(&mut Document)) -> Self {
        self.transform = Some(transform);
        self
    }

    pub fn patched_together(mut self, fields: &'static [&'static str]) -> Self {
        self.patched_together = fields;
        self
    }

    pub fn fields(&self) -> &[Field] {
        self.record.fields()
    }

    /// The definition of a field, by dotted path.
    pub fn field(&self, path: &str) -> Option<&Def> {
        self.record.field(path)
    }

    /// Fields whose value no other entity of the kind may hold.
    pub fn unique_fields(&self) -> impl Iterator<Item = &'static str> {
        self.fields().iter().filter(|field| field.def.unique).map(|field| field.name)
    }

    /// Foreign keys: field, collection referred to, and what its deletion does.
    pub fn foreign_keys(&self) -> impl Iterator<Item = (&'static str, &'static str, OnDelete)> {
        self.fields().iter().filter_map(|field| match field.def.kind {
            Type::Foreign { reference, on_delete } => Some((field.name, reference, on_delete)),
            _ => None,
        })
    }

    /// The rules that a document of this table is under beside the table's own; none when it names no or an unknown one.
    pub fn special(&self, document: &Document) -> Option<&'static Self> {
        self.select(document)?.ok()
    }

    fn select(&self, document: &Document) -> Option<Result<&'static Self, String>> {
        let Subschema { key, select } = self.subschema?;
        let given = document.get(key).or_else(|| self.field(key)?.default.as_ref());
        Some(match given {
            None | Some(Value::Null) => Err("required field missing".to_owned()),
            Some(value) => select(value),
        })
    }

    /// A new entity from what a client or a file gives: every default supplied, every rule checked. The result holds every field
    /// of the table, unset ones null. Uniqueness and references to other entities are for the caller to check.
    ///
    /// # Errors
    /// Every fault found, in Kong's words.
    pub fn insert(&self, mut input: Document, now: Now) -> Result<Document, Violations> {
        if let Some(rewrite) = self.rewrite {
            rewrite(&mut input)?;
        }
        self.complete(input, now, false)
    }

    /// PUT: a new entity in place of `current`, which only its id survives.
    ///
    /// # Errors
    /// As [`Table::insert`].
    pub fn replace(&self, current: Option<&Document>, mut input: Document, now: Now) -> Result<Document, Violations> {
        if let Some(id) = current.and_then(|current| current.get("id")) {
            input.insert("id".to_owned(), id.clone());
        }
        self.insert(input, now)
    }

    /// PATCH: `current` with the given fields changed. Records are merged, lists and maps replaced, null clears; the id stays.
    ///
    /// # Errors
    /// As [`Table::insert`].
    pub fn update(&self, current: &Document, mut patch: Document, now: Now) -> Result<Document, Violations> {
        if let Some(rewrite) = self.rewrite {
            rewrite(&mut patch)?;
        }
        patch.shift_remove("id");
        let apart = all_or_none(&patch, self.patched_together);
        let mut name = Document::new();
        if let Some(Subschema { key, .. }) = self.subschema
            && let Some(value) = patch.get(key).or_else(|| current.get(key))
        {
            name.insert(key.to_owned(), value.clone());
        }
        let special = self.special(&name).map(|special| &special.record);
        let done = self.complete(merge(&self.record, special, current, patch), now, true);
        match apart {
            None => done,
            Some(words) => {
                let mut violations = done.err().unwrap_or_default();
                put_entity(&mut violations.fields, words);
                Err(violations)
            }
        }
    }

    /// Replaces what must not be stored as it was given (hashed secrets). Done on every write but that of a file which says
    /// `_transform: false`; doing it again changes nothing.
    pub fn transform(&self, document: &mut Document) {
        if let Some(transform) = self.transform {
            transform(document);
        }
    }

    fn complete(&self, input: Document, now: Now, updating: bool) -> Result<Document, Violations> {
        let special = match (self.select(&input), self.subschema) {
            (Some(Err(words)), Some(Subschema { key, .. })) => return Err(Violations::of(key, words)),
            (Some(Ok(special)), _) => Some(&special.record),
            _ => None,
        };
        let cx = Cx { now, null_is_default: true, updating };
        let (mut document, mut fields) = self.record.complete(input, cx, special);
        self.record.check_cross(&document, &mut fields, cx);
        if let Some(special) = special {
            special.check_cross(&document, &mut fields, cx);
        }
        if !fields.is_empty() {
            return Err(Violations { fields });
        }
        if let Some(derive) = self.derive {
            derive(&mut document);
        }
        Ok(document)
    }
}
