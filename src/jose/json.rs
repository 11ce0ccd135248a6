//! Strict JSON for headers, claims and keys.
//!
//! RFC 8259 text in UTF-8 and nothing after it; duplicate members are refused at every depth (RFC 7515 section 4 and
//! RFC 7519 section 4 allow that, and it leaves no room for two readers to disagree); nesting is bounded. Members are a
//! vector in their order, looked up by walking: headers and claims have a handful. Strings without escapes are
//! borrowed.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserializer, Serialize};

pub use serde_json::Number;

/// How deep arrays and objects may nest, the outermost counted.
pub const MAX_DEPTH: usize = 32;

/// Members that nearly every token has: their names are not kept with each.
const USUAL: [&str; 16] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "typ",
    "alg",
    "kid",
    "azp",
    "sid",
    "acr",
    "scope",
    "client_id",
    "auth_time",
];

/// Not JSON as this module wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not strict JSON")]
pub struct NotJson;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Number(Number),
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Object<'a>),
}

/// A JSON object: members in their order, names distinct.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Value<'a> {
    /// Parses a whole text.
    ///
    /// # Errors
    /// When it is not UTF-8, not JSON, has duplicate members, nests too deep, or goes on after the value.
    pub fn parse(text: &'a [u8]) -> Result<Self, NotJson> {
        let text = std::str::from_utf8(text).map_err(|_| NotJson)?;
        let mut reader = serde_json::Deserializer::from_str(text);
        let value = Depth(0).deserialize(&mut reader).map_err(|_| NotJson)?;
        reader.end().map_err(|_| NotJson)?;
        Ok(value)
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Any number; always finite.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => number.as_f64(),
            _ => None,
        }
    }

    pub fn as_array(&self) -> Option<&[Value<'a>]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Number(number) => Value::Number(number),
            Self::String(text) => Value::String(Cow::Owned(text.into_owned())),
            Self::Array(items) => Value::Array(items.into_iter().map(Value::into_owned).collect()),
            Self::Object(object) => Value::Object(object.into_owned()),
        }
    }

    /// Bytes on the heap, about, once it is owned.
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 0,
            Self::String(text) => text.len(),
            Self::Array(items) => items.iter().map(|item| size_of::<Self>() + item.heap_bytes()).sum(),
            Self::Object(object) => object.heap_bytes(),
        }
    }
}

impl<'a> Object<'a> {
    /// Parses a whole text that must be an object.
    ///
    /// # Errors
    /// As [`Value::parse`], and when the value is not an object.
    pub fn parse(text: &'a [u8]) -> Result<Self, NotJson> {
        match Value::parse(text)? {
            Value::Object(object) => Ok(object),
            _ => Err(NotJson),
        }
    }

    /// The same, borrowing nothing.
    pub fn into_owned(self) -> Object<'static> {
        let name = |name: Cow<'a, str>| match USUAL.iter().find(|usual| **usual == name) {
            Some(usual) => Cow::Borrowed(*usual),
            None => Cow::Owned(name.into_owned()),
        };
        let owned = |(member, value): (Cow<'a, str>, Value<'a>)| (name(member), value.into_owned());
        // Collected anew: what was read into has room for more members.
        Object(self.0.into_iter().map(owned).collect::<Box<[_]>>().into_vec())
    }

    /// Bytes on the heap, about, once it is owned.
    pub fn heap_bytes(&self) -> usize {
        let member = |(name, value): &(Cow<'a, str>, Value<'a>)| {
            size_of::<(Cow<'a, str>, Value<'a>)>() + name.len() + value.heap_bytes()
        };
        self.0.iter().map(member).sum()
    }

    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(there, _)| there == name).map(|(_, value)| value)
    }

    /// The string member of a name.
    pub fn str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// A member inside members: `["realm_access", "roles"]`. An empty path names nothing.
    pub fn path<S: AsRef<str>>(&self, path: &[S]) -> Option<&Value<'a>> {
        let (last, way) = path.split_last()?;
        let mut object = self;
        for name in way {
            object = object.get(name.as_ref())?.as_object()?;
        }
        object.get(last.as_ref())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether two members have one name. Few are compared with each other, many are sorted: a hostile object with
    /// thousands of members must not cost their square.
    fn has_duplicates(&self) -> bool {
        if self.0.len() <= 16 {
            return self
                .0
                .iter()
                .enumerate()
                .any(|(at, (name, _))| self.0.iter().take(at).any(|(there, _)| there == name));
        }
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| matches!(pair, [one, two] if one == two))
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Reads a value that stands inside this many arrays and objects.
#[derive(Clone, Copy)]
struct Depth(usize);

impl Depth {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.0 < MAX_DEPTH { Ok(Self(self.0 + 1)) } else { Err(E::custom("nested too deep")) }
    }
}

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value<'de>, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::String(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value<'de>, E> {
        Ok(Value::String(Cow::Owned(value.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        let inner = self.inner()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value<'de>, A::Error> {
        let inner = self.inner()?;
        // Claims of a usual token fit without growing.
        let mut object = Object(Vec::with_capacity(if self.0 == 0 { 8 } else { 0 }));
        while let Some(name) = members.next_key_seed(Name)? {
            object.0.push((name, members.next_value_seed(inner)?));
        }
        if object.has_duplicates() {
            return Err(A::Error::custom("duplicate member"));
        }
        Ok(Value::Object(object))
    }
}

/// Reads a member name, borrowed where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(value.into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn members_are_found_and_borrowed() {
        let text = br#"{"iss":"k","a":{"b":{"c":[1,-2,1.5]}},"n":null,"e\u0073c":"x\ny","t":true}"#;
        let object = Object::parse(text).unwrap();
        assert_eq!(object.str("iss"), Some("k"));
        assert!(matches!(object.get("iss"), Some(Value::String(Cow::Borrowed("k")))));
        assert_eq!(object.str("esc"), Some("x\ny"));
        assert_eq!(object.get("n"), Some(&Value::Null));
        assert_eq!(object.get("missing"), None);
        let numbers = object.path(&["a", "b", "c"]).and_then(Value::as_array).unwrap();
        assert_eq!(numbers.iter().filter_map(Value::as_f64).collect::<Vec<_>>(), [1.0, -2.0, 1.5]);
        assert_eq!(object.path(&["a", "iss"]), None);
        assert_eq!(object.path(&["iss", "b"]), None);
        assert_eq!(object.path::<&str>(&[]), None);
        assert_eq!(object.get("t").and_then(Value::as_bool), Some(true));
    }

    #[test]
    fn depth_is_bounded() {
        assert!(Value::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(Value::parse(nested(MAX_DEPTH + 1).as_bytes()).is_err());
        assert!(Value::parse(nested(100_000).as_bytes()).is_err());
        let object = format!("{}1{}", r#"{"a":"#.repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH));
        assert!(Value::parse(object.as_bytes()).is_ok());
        assert!(Value::parse(format!(r#"{{"a":{object}}}"#).as_bytes()).is_err());
    }

    #[test]
    fn duplicates_are_refused_at_every_depth() {
        for bad in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"x":{"b":1,"b":2}}"#, r#"[{"b":1,"b":2}]"#] {
            assert_eq!(Value::parse(bad.as_bytes()), Err(NotJson), "{bad}");
        }
        let mut many: Vec<String> = (0..3000).map(|n| format!(r#""{n}":1"#)).collect();
        assert!(Value::parse(format!("{{{}}}", many.join(",")).as_bytes()).is_ok());
        many.push(r#""1500":2"#.into());
        assert!(Value::parse(format!("{{{}}}", many.join(",")).as_bytes()).is_err());
    }

    #[test]
    fn only_json_and_all_of_it() {
        for bad in [
            &b""[..],
            b" ",
            b"{",
            b"{}x",
            b"{} {}",
            b"{,}",
            b"{\"a\":1,}",
            b"{a:1}",
            b"{'a':1}",
            b"NaN",
            b"{\"a\":NaN}",
            b"0x7f",
            b"01",
            b"1e400",
            b"-1e999",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            b"\"\\ud800\"",
            b"{\"a\":\"\t\"}",
            b"/**/{}",
            b"{}\0",
        ] {
            assert_eq!(Value::parse(bad), Err(NotJson), "{:?}", String::from_utf8_lossy(bad));
        }
        for good in [&b"{}"[..], b" {\n} ", b"99999999999999999999", b"1e300", b"\"\\u0000\"", b"-0", b"false"] {
            assert!(Value::parse(good).is_ok(), "{:?}", String::from_utf8_lossy(good));
        }
        assert_eq!(Object::parse(b"[]"), Err(NotJson));
    }

    #[test]
    fn what_is_owned_is_the_same() {
        let text = r#"{"a":[1,-2,1.5,null,true,"x\n"],"b":{"c":"d","e":{}}}"#;
        let owned = Object::parse(text.as_bytes()).unwrap().into_owned();
        assert_eq!(owned, Object::parse(text.as_bytes()).unwrap());
        assert!(owned.heap_bytes() > text.len(), "{}", owned.heap_bytes());
        assert_eq!(Object::default().heap_bytes(), 0);
    }

    #[test]
    fn serialises_back() {
        let text = r#"{"a":[1,-2,1.5,null,true,"x"],"b":{"c":"d"}}"#;
        assert_eq!(serde_json::to_string(&Object::parse(text.as_bytes()).unwrap()).unwrap(), text);
    }

    proptest! {
        /// What we read, serde_json reads the same; what it refuses, we refuse.
        #[test]
        fn agrees_with_serde_json(text in r#"([\[\]{}:,"\\ 0-9a-eEtrufn.+-]|true|null|"a":|"b"){0,40}"#) {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            if let Ok(ours) = Value::parse(text.as_bytes()) {
                prop_assert_eq!(serde_json::to_value(&ours).unwrap(), theirs.unwrap());
            }
        }

        #[test]
        fn never_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Value::parse(&text);
        }
    }
}
