//! The checks between fields: Kong's entity checks.

use serde_json::Value;

use super::check::{Check, quoted};
use super::def::is_reference;
use super::record::Cx;
use super::violations::{put, put_entity};
use super::{Document, Now, Validator};

/// A check of several fields together; its fault stands under `@entity`. Fields may be dotted paths.
#[derive(Clone, Debug)]
pub enum Cross {
    AtLeastOneOf(&'static [&'static str]),
    Distinct(&'static [&'static str]),
    AllOrNone(&'static [&'static str]),
    /// When the first field matches, so must the second.
    Conditional {
        if_field: &'static str,
        if_match: Matcher,
        then_field: &'static str,
        then_match: Matcher,
        fault: Option<&'static str>,
    },
    /// For the first case whose matcher fits, one of its fields must be set. `%s` in the fault stands for the fields.
    ConditionalAtLeastOneOf {
        if_field: &'static str,
        cases: &'static [(Matcher, &'static [&'static str], &'static str)],
    },
    /// Runs only when none of `fields` has a fault of its own.
    Custom {
        fields: &'static [&'static str],
        check: fn(&Document, Now) -> Result<(), String>,
    },
}

/// A condition on one field of a conditional check.
#[derive(Clone, Debug)]
pub enum Matcher {
    Required,
    Null,
    Is(&'static str),
    OneOf(&'static [&'static str]),
    NotOneOf(&'static [&'static str]),
    True,
    Above(f64),
    Contains(&'static str),
    LengthIs(usize),
    EachOneOf(&'static [&'static str]),
    EachNotOneOf(&'static [&'static str]),
    Valid(Validator),
}

/// The value at a dotted path.
pub(super) fn at<'a>(document: &'a Document, path: &str) -> &'a Value {
    let found = match path.split_once('.') {
        None => document.get(path),
        Some((head, rest)) => rest.split('.').fold(document.get(head), |value, name| value?.get(name)),
    };
    found.unwrap_or(&Value::Null)
}

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

impl Matcher {
    /// Whether a value that is set passes. Conditions are tried on every document, so nothing is put into words here.
    fn accepts(&self, value: &Value) -> bool {
        let text = value.as_str();
        let each = |accept: &dyn Fn(&str) -> bool| {
            value.as_array().into_iter().flatten().all(|item| item.as_str().is_some_and(accept))
        };
        match self {
            Self::Required => true,
            Self::Null => false,
            Self::Is(wanted) => text == Some(wanted),
            Self::OneOf(options) => text.is_some_and(|text| options.contains(&text)),
            Self::NotOneOf(options) => !text.is_some_and(|text| options.contains(&text)),
            Self::True => value == &Value::Bool(true),
            Self::Above(limit) => value.as_f64().is_some_and(|number| number > *limit),
            Self::Contains(wanted) => Check::Contains(wanted).run(value).is_ok(),
            Self::LengthIs(n) => Check::LengthIs(*n).run(value).is_ok(),
            Self::EachOneOf(options) => each(&|item| options.contains(&item)),
            Self::EachNotOneOf(options) => each(&|item| !options.contains(&item)),
            Self::Valid(validator) => validator(value).is_ok(),
        }
    }

    /// As a condition: a field that is not set does not meet one.
    fn fits(&self, value: &Value) -> bool {
        !value.is_null() && self.accepts(value)
    }

    /// As a demand: a field that is not set meets all but one.
    fn fault(&self, value: &Value) -> Option<String> {
        if value.is_null() {
            return matches!(self, Self::Required).then(|| "required field missing".to_owned());
        }
        if self.accepts(value) {
            return None;
        }
        Some(match self {
            Self::Required => "required field missing".to_owned(),
            Self::Null => "value must be null".to_owned(),
            Self::Is(_) => format!("invalid value: {}", value.as_str().unwrap_or_default()),
            Self::OneOf(options) | Self::EachOneOf(options) => format!("expected one of: {}", options.join(", ")),
            Self::NotOneOf(options) | Self::EachNotOneOf(options) => {
                format!("must not be one of: {}", options.join(", "))
            }
            Self::True => "value must be true".to_owned(),
            Self::Above(limit) => format!("value must be greater than {limit}"),
            Self::Contains(wanted) => format!("expected to contain: {wanted}"),
            Self::LengthIs(n) => format!("length must be {n}"),
            Self::Valid(validator) => validator(value).err().unwrap_or_default(),
        })
    }
}

impl Cross {
    pub(super) fn run(&self, document: &Document, faults: &mut Document, cx: Cx) {
        match self {
            Self::AtLeastOneOf(fields) => {
                if !any_set(document, fields) {
                    let when = if cx.updating { "when updating, " } else { "" };
                    put_entity(
                        faults,
                        format!("{when}at least one of these fields must be non-empty: {}", quoted(fields)),
                    );
                }
            }
            Self::Distinct(fields) => {
                let values: Vec<&Value> =
                    fields.iter().map(|field| at(document, field)).filter(|value| is_set(value)).collect();
                if values.iter().enumerate().any(|(n, value)| values.iter().skip(n + 1).any(|other| value == other)) {
                    put_entity(faults, format!("values of these fields must be distinct: {}", quoted(fields)));
                }
            }
            Self::AllOrNone(fields) => {
                if let Some(words) = all_or_none(document, fields) {
                    put_entity(faults, words);
                }
            }
            Self::Conditional { if_field, if_match, then_field, then_match, fault } => {
                if has_fault(faults, if_field) || !if_match.fits(at(document, if_field)) {
                    return;
                }
                let value = at(document, then_field);
                if value.as_str().is_some_and(is_reference) {
                    return;
                }
                if let Some(words) = then_match.fault(value) {
                    put(faults, then_field, Value::String(words));
                    let words = fault.map_or_else(
                        || format!("failed conditional validation given value of field '{if_field}'"),
                        str::to_owned,
                    );
                    put_entity(faults, words);
                }
            }
            Self::ConditionalAtLeastOneOf { if_field, cases } => {
                let value = at(document, if_field);
                if has_fault(faults, if_field) {
                    return;
                }
                if let Some((_, fields, words)) = cases.iter().find(|(matcher, ..)| matcher.fits(value))
                    && !any_set(document, fields)
                {
                    put_entity(faults, words.replace("%s", &quoted(fields)));
                }
            }
            Self::Custom { fields, check } => {
                if fields
                    .iter()
                    .any(|field| faults.contains_key(*field) || at(document, field).as_str().is_some_and(is_reference))
                {
                    return;
                }
                if let Err(words) = check(document, cx.now) {
                    put_entity(faults, words);
                }
            }
        }
    }
}

/// Whether a value was refused already: what depends on it cannot be told.
fn has_fault(faults: &Document, path: &str) -> bool {
    !faults.is_empty() && !at(faults, path).is_null()
}

fn any_set(document: &Document, fields: &[&str]) -> bool {
    fields.iter().any(|field| is_set(at(document, field)))
}

/// The fault when some of the fields are set and some are not.
pub(super) fn all_or_none(document: &Document, fields: &[&str]) -> Option<String> {
    let given = fields.iter().filter(|field| is_set(at(document, field))).count();
    (given != 0 && given != fields.len())
        .then(|| format!("all or none of these fields must be set: {}", quoted(fields)))
}
