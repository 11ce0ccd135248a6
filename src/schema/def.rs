//! What one field may hold, and the constructors that say so.

use serde_json::Value;

use super::check::{Check, Validator, is_uuid};
use super::record::{Cx, Field, Former, Record};
use super::{Cross, random};

/// The type of a value.
#[derive(Clone, Debug)]
pub enum Type {
    String,
    Integer,
    Number,
    Boolean,
    Array(Box<Def>),
    /// An array without duplicates; they are dropped.
    Set(Box<Def>),
    Map {
        keys: Box<Def>,
        values: Box<Def>,
    },
    Record(Box<Record>),
    /// `{"id": uuid}`.
    Foreign {
        reference: &'static str,
        on_delete: OnDelete,
    },
    /// Anything.
    Any,
}

/// What becomes of an entity when the one it refers to is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// The deletion is refused.
    Restrict,
    /// It is deleted as well.
    Cascade,
}

/// A value that is made when none is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auto {
    Uuid,
    /// 32 letters and digits.
    Token,
    /// When the entity was written first; an explicit time is kept.
    CreatedAt,
    /// When it was written last; a given time is overwritten.
    UpdatedAt,
}

/// The definition of a value.
#[derive(Clone, Debug)]
pub struct Def {
    pub kind: Type,
    pub required: bool,
    pub default: Option<Value>,
    pub auto: Option<Auto>,
    /// No other entity of the kind may hold the same value; checked where the entities are.
    pub unique: bool,
    /// May only be null.
    pub null_only: bool,
    /// May hold `{vault://…}` in place of the value.
    pub referenceable: bool,
    pub encrypted: bool,
    /// Said instead of a check's own words.
    pub fault: Option<&'static str>,
    pub checks: Vec<Check>,
}

/// A value that does not pass, and why. The value is kept for the checks that compare fields.
pub(super) struct Fault {
    pub value: Value,
    pub fault: Value,
}

type Checked = Result<Value, Box<Fault>>;

fn fault(value: Value, fault: impl Into<Value>) -> Checked {
    Err(Box::new(Fault { value, fault: fault.into() }))
}

const REQUIRED: &str = "required field missing";

impl Def {
    pub const fn new(kind: Type) -> Self {
        Self {
            kind,
            required: false,
            default: None,
            auto: None,
            unique: false,
            null_only: false,
            referenceable: false,
            encrypted: false,
            fault: None,
            checks: Vec::new(),
        }
    }

    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// For a record: its default is what its fields default to.
    pub fn default_of_fields(mut self) -> Self {
        if let Type::Record(record) = &self.kind {
            self.default = Some(Value::Object(record.defaults()));
        }
        self
    }

    /// For a record: former names of its fields, still accepted.
    pub fn renames(mut self, former: Former) -> Self {
        if let Type::Record(record) = &mut self.kind {
            record.renames(former);
        }
        self
    }

    pub fn auto(mut self, auto: Auto) -> Self {
        self.auto = Some(auto);
        self
    }

    pub fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    pub fn null_only(mut self) -> Self {
        self.null_only = true;
        self
    }

    pub fn referenceable(mut self) -> Self {
        self.referenceable = true;
        self
    }

    pub fn encrypted(mut self) -> Self {
        self.encrypted = true;
        self
    }

    /// For a foreign key.
    pub fn on_delete_cascade(mut self) -> Self {
        if let Type::Foreign { on_delete, .. } = &mut self.kind {
            *on_delete = OnDelete::Cascade;
        }
        self
    }

    pub fn fault(mut self, words: &'static str) -> Self {
        self.fault = Some(words);
        self
    }

    pub fn check(mut self, check: Check) -> Self {
        let at = self.checks.partition_point(|there| there.rank() <= check.rank());
        self.checks.insert(at, check);
        self
    }

    pub fn one_of(self, options: &'static [&'static str]) -> Self {
        self.check(Check::OneOf(options))
    }

    pub fn between(self, low: f64, high: f64) -> Self {
        self.check(Check::Between(low, high))
    }

    pub fn above(self, limit: f64) -> Self {
        self.check(Check::Above(limit))
    }

    /// Replaces the rule that strings are not empty.
    pub fn length_at_least(mut self, n: usize) -> Self {
        self.checks.retain(|check| !matches!(check, Check::LengthAtLeast(_)));
        self.check(Check::LengthAtLeast(n))
    }

    pub fn custom(self, validator: Validator) -> Self {
        self.check(Check::Custom(validator))
    }

    /// Supplies what is missing, checks the value and brings it into the form it is stored in.
    pub(super) fn complete(&self, given: Option<Value>, cx: Cx) -> Checked {
        let value = self.supply(given, cx);
        if value.is_null() {
            return if self.required { fault(value, REQUIRED) } else { Ok(value) };
        }
        if self.null_only {
            return fault(value, self.fault.unwrap_or("value must be null"));
        }
        let value = match &self.kind {
            Type::String => match value {
                Value::String(text) => {
                    if self.referenceable && is_reference(&text) {
                        return Ok(Value::String(text));
                    }
                    Value::String(text)
                }
                other => return fault(other, "expected a string"),
            },
            Type::Integer => match integral(&value) {
                Some(integer) => Value::from(integer),
                None => return fault(value, "expected an integer"),
            },
            Type::Number if !value.is_number() => return fault(value, "expected a number"),
            // Written as clients write it: `5.0` is `5`.
            Type::Number => integral(&value).map_or(value, Value::from),
            Type::Boolean if !value.is_boolean() => return fault(value, "expected a boolean"),
            Type::Boolean | Type::Any => value,
            Type::Array(elements) => match list(value) {
                Ok(items) => complete_items(elements, items, cx)?,
                Err(other) => return fault(other, "expected an array"),
            },
            Type::Set(elements) => match list(value) {
                Ok(items) => complete_items(elements, without_duplicates(items), cx)?,
                Err(other) => return fault(other, "expected a set"),
            },
            Type::Map { keys, values } => match members(value) {
                Ok(members) => complete_map(keys, values, members, cx)?,
                Err(other) => return fault(other, "expected a map"),
            },
            Type::Record(record) => match members(value) {
                Ok(members) => record.complete_nested(members, cx)?,
                Err(other) => return fault(other, "expected a record"),
            },
            Type::Foreign { .. } => return foreign_key(value),
        };
        for check in &self.checks {
            if let Err(words) = check.run(&value) {
                return fault(value, self.fault.map_or(words, str::to_owned));
            }
        }
        Ok(if self.is_uuid() { lower(value) } else { value })
    }

    fn supply(&self, given: Option<Value>, cx: Cx) -> Value {
        match (given, self.auto) {
            (_, Some(Auto::UpdatedAt)) => self.time(cx),
            (None | Some(Value::Null), Some(Auto::CreatedAt)) => self.time(cx),
            (None | Some(Value::Null), Some(Auto::Uuid)) => uuid_value(random::uuid()),
            (None, Some(Auto::Token)) => Value::String(random::token()),
            (Some(Value::Null), None) if cx.null_is_default && !self.required => {
                self.default.clone().unwrap_or_default()
            }
            (Some(value), _) => value,
            (None, None) => match (&self.default, &self.kind) {
                (Some(default), _) => default.clone(),
                // A required record stands for its members' defaults.
                (None, Type::Record(_)) if self.required => Value::Object(super::Document::new()),
                (None, _) => Value::Null,
            },
        }
    }

    fn time(&self, cx: Cx) -> Value {
        match self.kind {
            Type::Integer => Value::from(cx.now.seconds()),
            _ => Value::from(cx.now.fractional()),
        }
    }

    fn is_uuid(&self) -> bool {
        matches!(self.checks.first(), Some(Check::Uuid))
    }
}

fn uuid_value(id: uuid::Uuid) -> Value {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    Value::String(id.hyphenated().encode_lower(&mut text).to_owned())
}

/// Whether a text stands for a value in a vault.
pub(super) fn is_reference(text: &str) -> bool {
    text.len() > 12 && text.starts_with("{vault://") && text.ends_with('}')
}

fn lower(value: Value) -> Value {
    match value {
        Value::String(mut text) => {
            text.make_ascii_lowercase();
            Value::String(text)
        }
        other => other,
    }
}

/// Kong's numbers are doubles, so `5.0` is an integer.
#[expect(clippy::cast_possible_truncation, reason = "within 2^53, where it is exact")]
fn integral(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let number = value.as_f64()?;
        (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
    })
}

/// An empty JSON object and an empty array are the same to Kong.
fn list(value: Value) -> Result<Vec<Value>, Value> {
    match value {
        Value::Array(items) => Ok(items),
        Value::Object(members) if members.is_empty() => Ok(Vec::new()),
        other => Err(other),
    }
}

fn members(value: Value) -> Result<super::Document, Value> {
    match value {
        Value::Object(members) => Ok(members),
        Value::Array(items) if items.is_empty() => Ok(super::Document::new()),
        other => Err(other),
    }
}

fn without_duplicates(items: Vec<Value>) -> Vec<Value> {
    if items.len() < 2 {
        return items;
    }
    let mut seen = std::collections::HashSet::with_capacity(items.len());
    let keep: Vec<bool> = items.iter().map(|item| item.is_array() || item.is_object() || seen.insert(item)).collect();
    items.into_iter().zip(keep).filter_map(|(item, keep)| keep.then_some(item)).collect()
}

fn complete_items(elements: &Def, items: Vec<Value>, cx: Cx) -> Checked {
    let mut faults: Vec<Value> = Vec::new();
    let mut out = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        let checked = if item.is_null() { fault(item, REQUIRED) } else { elements.complete(Some(item), cx) };
        match checked {
            Ok(item) => out.push(item),
            Err(bad) => {
                faults.resize(at, Value::Null);
                faults.push(bad.fault);
                out.push(bad.value);
            }
        }
    }
    if faults.is_empty() { Ok(Value::Array(out)) } else { fault(Value::Array(out), faults) }
}

fn complete_map(keys: &Def, values: &Def, members: super::Document, cx: Cx) -> Checked {
    let mut out = super::Document::with_capacity(members.len());
    let mut first = None;
    for (key, value) in members {
        if let Err(bad) = keys.complete(Some(Value::String(key.clone())), cx) {
            first.get_or_insert(bad.fault);
        }
        let checked = if value.is_null() { fault(value, REQUIRED) } else { values.complete(Some(value), cx) };
        let value = checked.unwrap_or_else(|bad| {
            first.get_or_insert(bad.fault);
            bad.value
        });
        out.insert(key, value);
    }
    match first {
        None => Ok(Value::Object(out)),
        Some(bad) => fault(Value::Object(out), bad),
    }
}

/// Only `id` counts; what else stands beside it served to find the id.
fn foreign_key(value: Value) -> Checked {
    let complaint = match value.get("id") {
        Some(Value::String(id)) if is_uuid(id) => {
            let mut key = super::Document::with_capacity(1);
            key.insert("id".to_owned(), Value::String(id.to_ascii_lowercase()));
            return Ok(Value::Object(key));
        }
        Some(Value::String(_)) => "expected a valid UUID",
        Some(Value::Null) => REQUIRED,
        Some(_) => "expected a string",
        None => "missing primary key",
    };
    fault(value, serde_json::json!({ "id": complaint }))
}

/// A string, not empty unless said otherwise.
pub fn string() -> Def {
    Def::new(Type::String).check(Check::LengthAtLeast(1))
}

pub const fn integer() -> Def {
    Def::new(Type::Integer)
}

pub const fn number() -> Def {
    Def::new(Type::Number)
}

pub const fn boolean() -> Def {
    Def::new(Type::Boolean)
}

pub fn array(elements: Def) -> Def {
    Def::new(Type::Array(Box::new(elements)))
}

pub fn set(elements: Def) -> Def {
    Def::new(Type::Set(Box::new(elements)))
}

pub fn map(keys: Def, values: Def) -> Def {
    Def::new(Type::Map { keys: Box::new(keys), values: Box::new(values) })
}

pub fn record(fields: Vec<Field>) -> Def {
    record_with(fields, Vec::new())
}

/// A record whose fields depend on each other.
pub fn record_with(fields: Vec<Field>, cross: Vec<Cross>) -> Def {
    Def::new(Type::Record(Box::new(Record::new(fields, cross))))
}

/// A reference to an entity of a collection; deleting that one is refused unless the definition says cascade.
pub const fn foreign(reference: &'static str) -> Def {
    Def::new(Type::Foreign { reference, on_delete: OnDelete::Restrict })
}

/// Any JSON value.
pub const fn any() -> Def {
    Def::new(Type::Any)
}
