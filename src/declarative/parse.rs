//! From text to values: JSON or YAML, strictly.
//!
//! Owns refusing duplicate keys, expanding YAML's merge keys, and the bounds on what aliases may blow up to. JSON is cut into its
//! top-level members first, which cost nothing, and each collection is then read entity by entity, so that a file with a
//! million consumers is never held as values as a whole. Depth is bounded by the parsers, at 128.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::source::{Format, Source};

/// A text that does not parse, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// Byte offset into the source's text.
    pub at: usize,
    pub message: String,
}

/// A document, cut into its top-level members.
#[derive(Debug)]
pub struct Document<'t> {
    pub members: Vec<(String, Body<'t>)>,
    pub yaml: bool,
}

/// The value of a top-level member.
#[derive(Debug)]
pub enum Body<'t> {
    Raw(&'t RawValue),
    Value(Value),
}

/// Why a member was not read as a list.
#[derive(Debug)]
pub enum NoList {
    Syntax(Fault),
    /// It is something else.
    Type,
}

/// Cuts a source into its members.
pub fn document(source: &Source) -> Result<Document<'_>, Fault> {
    let text = source.text();
    let starts_as_json = text.trim_start().starts_with(['{', '[']);
    match source.format {
        Format::Json => json(text),
        Format::Yaml if !starts_as_json => yaml(text),
        Format::Either if !starts_as_json => yaml(text),
        // A flow mapping is YAML, too; but what looks like JSON is meant to be JSON.
        Format::Yaml | Format::Either => json(text).or_else(|fault| yaml(text).map_err(|_| fault)),
    }
}

fn json(text: &str) -> Result<Document<'_>, Fault> {
    struct Members;
    impl<'t> Visitor<'t> for Members {
        type Value = Vec<(String, &'t RawValue)>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members: Self::Value = Vec::new();
            while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                if members.iter().any(|(there, _)| *there == key) {
                    return Err(A::Error::custom(format_args!("duplicate key '{key}'")));
                }
                members.push((key, value));
            }
            Ok(members)
        }
    }
    if !text.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok() {
        return Err(Fault { at: 0, message: "expected an object".into() });
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(Members).and_then(|members| deserializer.end().map(|()| members));
    let members = members.map_err(|error| json_fault(text, text, &error))?;
    Ok(Document { members: members.into_iter().map(|(key, raw)| (key, Body::Raw(raw))).collect(), yaml: false })
}

fn yaml(text: &str) -> Result<Document<'static>, Fault> {
    if let Some(at) = too_deep(text) {
        return Err(Fault { at, message: "nested too deeply".into() });
    }
    let budget = Budget::of(text);
    match Strict(&budget).deserialize(serde_yaml::Deserializer::from_str(text)) {
        Ok(Value::Object(map)) => Ok(Document {
            members: map.into_iter().map(|(key, value)| (key, Body::Value(value))).collect(),
            yaml: true,
        }),
        Ok(_) => Err(Fault { at: 0, message: "expected an object".into() }),
        Err(error) => {
            let at = error.location().map_or(0, |location| offset(text, location.line(), location.column(), true));
            let message = without_places(&error.to_string());
            let at = second_key(text, at, &message).unwrap_or(at);
            Err(Fault { at, message })
        }
    }
}

/// Where more brackets are open than any configuration has. The parser's work grows with the square of their number.
fn too_deep(text: &str) -> Option<usize> {
    const DEPTH: usize = 1024;
    let mut depth: usize = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH {
            return Some(at);
        }
    }
    None
}

/// Where a duplicate key stands for the second time: the parser knows only where its mapping begins.
fn second_key(text: &str, mapping: usize, message: &str) -> Option<usize> {
    let key = message.rsplit_once("duplicate key '")?.1.strip_suffix('\'')?;
    let column = mapping - text.get(..mapping)?.rfind('\n').map_or(0, |newline| newline + 1);
    let mut seen = false;
    let mut at = mapping - column;
    for line in text.get(at..)?.split_inclusive('\n') {
        let here = line.get(column..).unwrap_or_default().trim_start_matches(['"', '\'']);
        let is_key = here
            .strip_prefix(key)
            .is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':'));
        if is_key && std::mem::replace(&mut seen, true) {
            return Some(at + column);
        }
        at += line.len();
    }
    None
}

/// A parser's message without its ` at line 1 column 2`: the place is given apart.
fn without_places(message: &str) -> String {
    const AT: &str = " at line ";
    let digit = |char: char| char.is_ascii_digit();
    let mut output = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((before, place)) = rest.split_once(AT) {
        output.push_str(before);
        rest = place.trim_start_matches(digit);
        rest = rest.strip_prefix(" column ").map_or(rest, |column| column.trim_start_matches(digit));
    }
    output.push_str(rest);
    output
}

impl Body<'_> {
    /// Bytes of text not yet read.
    pub fn text_len(&self) -> usize {
        match self {
            Self::Raw(raw) => raw.get().len(),
            Self::Value(_) => 0,
        }
    }

    pub fn into_value(self, text: &str) -> Result<Value, Fault> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Raw(raw) => read_json(text, raw, Strict(&Budget::of(raw.get()))),
        }
    }

    /// Hands out the elements one by one. Nothing, and an empty mapping, count as an empty list: in Kong's Lua they are one.
    pub fn each(self, text: &str, mut take: impl FnMut(usize, Value)) -> Result<(), NoList> {
        match self {
            Self::Value(Value::Array(elements)) => {
                for (n, element) in elements.into_iter().enumerate() {
                    take(n, element);
                }
                Ok(())
            }
            Self::Value(Value::Null) => Ok(()),
            Self::Value(Value::Object(map)) if map.is_empty() => Ok(()),
            Self::Value(_) => Err(NoList::Type),
            Self::Raw(raw) if raw.get().starts_with('[') => {
                let budget = Budget::of(raw.get());
                read_json(text, raw, Elements { budget: &budget, take: &mut take }).map_err(NoList::Syntax)
            }
            Self::Raw(raw) if raw.get() == "null" => Ok(()),
            Self::Raw(raw) if raw.get().strip_prefix('{').is_some_and(|inside| inside.trim_start() == "}") => Ok(()),
            Self::Raw(_) => Err(NoList::Type),
        }
    }
}

fn read_json<'t, S: DeserializeSeed<'t>>(text: &str, raw: &'t RawValue, seed: S) -> Result<S::Value, Fault> {
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    seed.deserialize(&mut deserializer).map_err(|error| json_fault(text, raw.get(), &error))
}

/// `part` is a slice of `text`.
fn json_fault(text: &str, part: &str, error: &serde_json::Error) -> Fault {
    let message = without_places(&error.to_string());
    let mut inside = offset(part, error.line(), error.column(), false);
    if let Some(key) = message.strip_prefix("duplicate key '").and_then(|rest| rest.strip_suffix('\'')) {
        // The parser has read on.
        inside = part
            .get(..part.len().min(inside + 1))
            .and_then(|before| before.rfind(&format!("\"{key}\"")))
            .unwrap_or(inside);
    }
    Fault { at: offset_of(text, part) + inside, message }
}

/// Where a slice of a text begins in it.
pub fn offset_of(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

/// The byte offset of a line and column, both from 1; columns in characters or in bytes.
fn offset(text: &str, line: usize, column: usize, characters: bool) -> usize {
    let start = match line.checked_sub(2) {
        None => 0,
        Some(skip) => memchr::memchr_iter(b'\n', text.as_bytes()).nth(skip).map_or(text.len(), |newline| newline + 1),
    };
    let column = column.saturating_sub(1);
    let rest = text.get(start..).unwrap_or_default();
    let inside = if characters {
        rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    } else {
        column.min(rest.len())
    };
    start + inside
}

/// How much may still be built. Aliases make a small text large; without them a text never reaches its budget.
struct Budget(Cell<usize>);

impl Budget {
    fn of(text: &str) -> Self {
        Self(Cell::new(100_000 + 2 * text.len()))
    }

    fn spend<E: serde::de::Error>(&self, cost: usize) -> Result<(), E> {
        match self.0.get().checked_sub(cost) {
            Some(left) => {
                self.0.set(left);
                Ok(())
            }
            None => Err(E::custom("aliases expand to too much")),
        }
    }

    fn text<E: serde::de::Error>(&self, text: &str) -> Result<(), E> {
        self.spend(1 + text.len() / 16)
    }
}

/// Builds a value; refuses duplicate keys.
#[derive(Clone, Copy)]
struct Strict<'b>(&'b Budget);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without a tag")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.0.spend(1).map(|()| Value::Null)
    }

    /// A YAML document of comments alone.
    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.0.spend(1).map(|()| value.into())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.0.spend(1).map(|()| value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.0.spend(1).map(|()| value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.0.spend(1)?;
        // JSON has no infinity; as text it fails the field's check, instead of passing as absent.
        Ok(serde_json::Number::from_f64(value).map_or_else(|| Value::String(value.to_string()), Value::Number))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.0.text(value).map(|()| value.into())
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Value, E> {
        self.0.text(&value).map(|()| value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        self.0.spend(1)?;
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.0.spend(1)?;
        let mut members = Map::new();
        let mut merged = Vec::new();
        while let Some(key) = map.next_key_seed(Key)? {
            self.0.text(&key)?;
            if key == "<<" {
                match map.next_value_seed(self)? {
                    Value::Object(from) => merged.push(from),
                    Value::Array(list) => {
                        for from in list {
                            let Value::Object(from) = from else {
                                return Err(A::Error::custom("'<<' merges mappings"));
                            };
                            merged.push(from);
                        }
                    }
                    _ => return Err(A::Error::custom("'<<' merges mappings")),
                }
                continue;
            }
            match members.entry(key) {
                serde_json::map::Entry::Vacant(place) => {
                    place.insert(map.next_value_seed(self)?);
                }
                serde_json::map::Entry::Occupied(there) => {
                    return Err(A::Error::custom(format_args!("duplicate key '{}'", there.key())));
                }
            }
        }
        for (key, value) in merged.into_iter().flatten() {
            // What stands in the mapping itself goes before what is merged into it, and the first merged before the later.
            members.entry(key).or_insert(value);
        }
        Ok(Value::Object(members))
    }
}

/// A mapping's key; YAML's numbers and booleans count as what they look like.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name as key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<String, E> {
        Ok(key.to_owned())
    }

    fn visit_string<E: serde::de::Error>(self, key: String) -> Result<String, E> {
        Ok(key)
    }

    fn visit_bool<E: serde::de::Error>(self, key: bool) -> Result<String, E> {
        Ok(key.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, key: i64) -> Result<String, E> {
        Ok(key.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, key: u64) -> Result<String, E> {
        Ok(key.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, key: f64) -> Result<String, E> {
        Ok(key.to_string())
    }
}

/// Hands out a list's elements.
struct Elements<'b, 'f, F> {
    budget: &'b Budget,
    take: &'f mut F,
}

impl<'de, F: FnMut(usize, Value)> DeserializeSeed<'de> for Elements<'_, '_, F> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(usize, Value)> Visitor<'de> for Elements<'_, '_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut n = 0;
        while let Some(value) = seq.next_element_seed(Strict(self.budget))? {
            (self.take)(n, value);
            n += 1;
        }
        Ok(())
    }
}
