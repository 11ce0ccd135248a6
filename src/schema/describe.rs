//! `GET /schemas/…`: a table as decK and Kong Manager read it.

use serde_json::{Value, json};

use super::check::Check;
use super::def::{Auto, Def, OnDelete, Type};
use super::{Cross, Document, Field, Matcher, Record, Table};

impl Table {
    /// Kong's description of the table.
    pub fn to_json(&self) -> Value {
        Value::Object(describe_record(&self.record))
    }
}

fn describe_record(record: &Record) -> Document {
    let mut out = Document::new();
    out.insert("fields".to_owned(), record.fields().iter().map(describe_field).collect());
    if !record.cross().is_empty() {
        out.insert("entity_checks".to_owned(), record.cross().iter().map(describe_cross).collect());
    }
    out
}

fn describe_field(field: &Field) -> Value {
    json!({ field.name: describe(&field.def) })
}

#[expect(clippy::cast_possible_truncation, reason = "only whole numbers that fit are converted")]
fn plain(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 { Value::from(number as i64) } else { Value::from(number) }
}

fn describe(def: &Def) -> Document {
    let mut out = Document::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    match &def.kind {
        Type::String => put("type", "string".into()),
        Type::Integer => put("type", "integer".into()),
        Type::Number => put("type", "number".into()),
        Type::Boolean => put("type", "boolean".into()),
        Type::Any => put("type", "json".into()),
        Type::Array(elements) => {
            put("type", "array".into());
            put("elements", describe(elements).into());
        }
        Type::Set(elements) => {
            put("type", "set".into());
            put("elements", describe(elements).into());
        }
        Type::Map { keys, values } => {
            put("type", "map".into());
            put("keys", describe(keys).into());
            put("values", describe(values).into());
        }
        Type::Record(record) => {
            put("type", "record".into());
            for (name, value) in describe_record(record) {
                put(&name, value);
            }
        }
        Type::Foreign { reference, on_delete } => {
            put("type", "foreign".into());
            put("reference", (*reference).into());
            if *on_delete == OnDelete::Cascade {
                put("on_delete", "cascade".into());
            }
        }
    }
    if let Some(auto) = def.auto {
        put("auto", true.into());
        match auto {
            Auto::Uuid => put("uuid", true.into()),
            Auto::CreatedAt | Auto::UpdatedAt => put("timestamp", true.into()),
            Auto::Token => {}
        }
    }
    if let Some(default) = &def.default {
        put("default", default.clone());
    }
    if def.null_only {
        put("eq", Value::Null);
    }
    for (name, on) in [
        ("required", def.required),
        ("unique", def.unique),
        ("referenceable", def.referenceable),
        ("encrypted", def.encrypted),
    ] {
        if on {
            put(name, true.into());
        }
    }
    if let Some(fault) = def.fault {
        put("err", fault.into());
    }
    for check in &def.checks {
        if let Some((name, value)) = describe_check(check) {
            put(name, value);
        }
    }
    out
}

fn describe_check(check: &Check) -> Option<(&'static str, Value)> {
    Some(match check {
        Check::Not(other) => ("ne", json!(other)),
        Check::NotTrue => ("ne", json!(true)),
        Check::OneOf(options) => ("one_of", json!(options)),
        Check::OneOfIntegers(options) => ("one_of", json!(options)),
        Check::Above(limit) => ("gt", plain(*limit)),
        Check::Timestamp => ("timestamp", json!(true)),
        Check::Uuid => ("uuid", json!(true)),
        Check::Between(low, high) => ("between", json!([plain(*low), plain(*high)])),
        Check::LengthIs(n) => ("len_eq", json!(n)),
        // Every string has it: not worth saying.
        Check::LengthAtLeast(1) | Check::Custom(_) => return None,
        Check::LengthAtLeast(n) => ("len_min", json!(n)),
        Check::LengthAtMost(n) => ("len_max", json!(n)),
        Check::StartsWith(start) => ("starts_with", json!(start)),
        Check::Without { part, fault } => ("match_none", json!([{ "pattern": part, "err": fault }])),
        Check::Match { pattern, .. } => ("match", json!(pattern)),
        Check::MatchAny { patterns, fault, .. } => ("match_any", json!({ "patterns": patterns, "err": fault })),
        Check::Contains(item) => ("contains", json!(item)),
        Check::ExclusiveSubsets(subsets) => ("mutually_exclusive_subsets", json!(subsets)),
    })
}

fn describe_cross(cross: &Cross) -> Value {
    match cross {
        Cross::AtLeastOneOf(fields) => json!({ "at_least_one_of": fields }),
        Cross::Distinct(fields) => json!({ "distinct": fields }),
        Cross::AllOrNone(fields) => json!({ "mutually_required": fields }),
        Cross::Conditional { if_field, if_match, then_field, then_match, fault } => {
            let mut out = json!({
                "if_field": if_field,
                "if_match": describe_matcher(if_match),
                "then_field": then_field,
                "then_match": describe_matcher(then_match),
            });
            if let (Some(fault), Value::Object(out)) = (fault, &mut out) {
                out.insert("then_err".to_owned(), json!(fault));
            }
            json!({ "conditional": out })
        }
        Cross::ConditionalAtLeastOneOf { if_field, cases } => {
            let mut out = Document::new();
            out.insert("if_field".to_owned(), json!(if_field));
            let names = [
                ("if_match", "then_at_least_one_of", "then_err"),
                ("else_match", "else_then_at_least_one_of", "else_then_err"),
            ];
            for ((matcher, fields, fault), (on, then, words)) in cases.iter().zip(names) {
                out.insert(on.to_owned(), describe_matcher(matcher));
                out.insert(then.to_owned(), json!(fields));
                out.insert(words.to_owned(), json!(fault));
            }
            json!({ "conditional_at_least_one_of": out })
        }
        Cross::Custom { fields, .. } => json!({ "custom_entity_check": { "field_sources": fields } }),
    }
}

fn describe_matcher(matcher: &Matcher) -> Value {
    match matcher {
        Matcher::Required => json!({ "required": true }),
        Matcher::Null => json!({ "eq": null }),
        Matcher::Is(text) => json!({ "match": format!("^{text}$") }),
        Matcher::OneOf(options) => json!({ "one_of": options }),
        Matcher::NotOneOf(options) => json!({ "not_one_of": options }),
        Matcher::True => json!({ "eq": true }),
        Matcher::Above(limit) => json!({ "gt": plain(*limit) }),
        Matcher::Contains(item) => json!({ "contains": item }),
        Matcher::LengthIs(n) => json!({ "len_eq": n }),
        Matcher::EachOneOf(options) => json!({ "elements": { "type": "string", "one_of": options } }),
        Matcher::EachNotOneOf(options) => json!({ "elements": { "type": "string", "not_one_of": options } }),
        Matcher::Valid(_) => json!({}),
    }
}
