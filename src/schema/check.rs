//! The checks of a single value.

use serde_json::Value;

/// A check that is written as code: the fault in Kong's words, or nothing.
pub type Validator = fn(&Value) -> Result<(), String>;

/// One check of a value that has the right type and is not null.
#[derive(Clone, Debug)]
pub enum Check {
    Not(&'static str),
    NotTrue,
    OneOf(&'static [&'static str]),
    OneOfIntegers(&'static [i64]),
    Above(f64),
    Timestamp,
    Uuid,
    /// Both ends included.
    Between(f64, f64),
    /// Bytes of a string, elements of a list, members of a map.
    LengthIs(usize),
    LengthAtLeast(usize),
    LengthAtMost(usize),
    StartsWith(&'static str),
    /// The text must not hold `part`.
    Without {
        part: &'static str,
        fault: &'static str,
    },
    /// `pattern` is the Lua pattern that `accepts` stands for: clients see it in the schema.
    Match {
        pattern: &'static str,
        accepts: fn(&str) -> bool,
    },
    MatchAny {
        patterns: &'static [&'static str],
        accepts: fn(&str) -> bool,
        fault: &'static str,
    },
    Contains(&'static str),
    Custom(Validator),
    ExclusiveSubsets(&'static [&'static [&'static str]]),
}

impl Check {
    /// Kong runs the checks of a field in a fixed order whatever order they were written in; the first fault is reported.
    pub(super) const fn rank(&self) -> u8 {
        match self {
            Self::Not(_) | Self::NotTrue => 0,
            Self::OneOf(_) | Self::OneOfIntegers(_) => 1,
            Self::Above(_) => 2,
            Self::Timestamp => 3,
            Self::Uuid => 4,
            Self::Between(..) => 5,
            Self::LengthIs(_) | Self::LengthAtLeast(_) | Self::LengthAtMost(_) => 6,
            Self::StartsWith(_) => 7,
            Self::Without { .. } => 8,
            Self::Match { .. } => 9,
            Self::MatchAny { .. } => 10,
            Self::Contains(_) => 11,
            Self::Custom(_) => 12,
            Self::ExclusiveSubsets(_) => 13,
        }
    }

    /// # Errors
    /// The fault in Kong's words.
    pub fn run(&self, value: &Value) -> Result<(), String> {
        let text = value.as_str().unwrap_or_default();
        match self {
            Self::Not(other) => fail_if(text == *other, || format!("value must not be {other}")),
            Self::NotTrue => fail_if(value.as_bool() == Some(true), || "value must not be true".to_owned()),
            Self::OneOf(options) => {
                fail_if(!options.contains(&text), || format!("expected one of: {}", options.join(", ")))
            }
            Self::OneOfIntegers(options) => fail_if(!value.as_i64().is_some_and(|n| options.contains(&n)), || {
                let options: Vec<_> = options.iter().map(ToString::to_string).collect();
                format!("expected one of: {}", options.join(", "))
            }),
            Self::Above(limit) => {
                fail_if(!value.as_f64().is_some_and(|n| n > *limit), || format!("value must be greater than {limit}"))
            }
            Self::Timestamp => {
                fail_if(!value.as_f64().is_some_and(|n| n > 0.0), || "expected a valid timestamp".to_owned())
            }
            Self::Uuid => fail_if(!is_uuid(text), || "expected a valid UUID".to_owned()),
            Self::Between(low, high) => fail_if(!value.as_f64().is_some_and(|n| n >= *low && n <= *high), || {
                format!("value should be between {low} and {high}")
            }),
            Self::LengthIs(n) => fail_if(length(value) != *n, || format!("length must be {n}")),
            Self::LengthAtLeast(n) => fail_if(length(value) < *n, || format!("length must be at least {n}")),
            Self::LengthAtMost(n) => fail_if(length(value) > *n, || format!("length must be at most {n}")),
            Self::StartsWith(start) => fail_if(!text.starts_with(start), || format!("should start with: {start}")),
            Self::Without { part, fault } => fail_if(text.contains(part), || (*fault).to_owned()),
            Self::Match { accepts, .. } => fail_if(!accepts(text), || format!("invalid value: {text}")),
            Self::MatchAny { accepts, fault, .. } => fail_if(!accepts(text), || (*fault).to_owned()),
            Self::Contains(wanted) => fail_if(!holds(value, wanted), || format!("expected to contain: {wanted}")),
            Self::Custom(validator) => validator(value),
            Self::ExclusiveSubsets(subsets) => exclusive(value, subsets),
        }
    }
}

fn fail_if(bad: bool, fault: impl FnOnce() -> String) -> Result<(), String> {
    if bad { Err(fault()) } else { Ok(()) }
}

fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    }
}

fn holds(list: &Value, wanted: &str) -> bool {
    list.as_array().is_some_and(|items| items.iter().any(|item| item.as_str() == Some(wanted)))
}

/// `8-4-4-4-12` hexadecimal digits of any case, nothing around them.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

/// `'a', 'b'`.
pub(super) fn quoted(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
    quoted.join(", ")
}

fn exclusive(value: &Value, subsets: &[&[&str]]) -> Result<(), String> {
    let mut members: Vec<&[&str]> = Vec::new();
    for item in value.as_array().into_iter().flatten().filter_map(Value::as_str) {
        if let Some(subset) = subsets.iter().copied().find(|subset| subset.contains(&item))
            && !members.contains(&subset)
        {
            members.push(subset);
        }
    }
    fail_if(members.len() > 1, || {
        let sets: Vec<_> = members.iter().map(|set| format!("({})", quoted(set))).collect();
        format!("these sets are mutually exclusive: {}", sets.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fault(check: &Check, value: &Value) -> String {
        check.run(value).expect_err("a fault")
    }

    #[test]
    fn faults_are_in_kongs_words() {
        assert_eq!(fault(&Check::OneOf(&["a", "b"]), &json!("c")), "expected one of: a, b");
        assert_eq!(fault(&Check::OneOfIntegers(&[426, 301]), &json!(200)), "expected one of: 426, 301");
        assert_eq!(fault(&Check::Between(0.0, 65535.0), &json!(-12)), "value should be between 0 and 65535");
        assert_eq!(fault(&Check::Above(0.0), &json!(0)), "value must be greater than 0");
        assert_eq!(fault(&Check::LengthAtLeast(1), &json!("")), "length must be at least 1");
        assert_eq!(fault(&Check::LengthIs(0), &json!(["x"])), "length must be 0");
        assert_eq!(fault(&Check::LengthAtMost(1), &json!({"a": 1, "b": 2})), "length must be at most 1");
        assert_eq!(fault(&Check::StartsWith("/"), &json!("x")), "should start with: /");
        assert_eq!(fault(&Check::Uuid, &json!("x")), "expected a valid UUID");
        assert_eq!(
            fault(&Check::Uuid, &json!("urn:uuid:00000000-0000-4000-8000-000000000001")),
            "expected a valid UUID"
        );
        assert_eq!(fault(&Check::Contains("exp"), &json!(["nbf"])), "expected to contain: exp");
        assert_eq!(fault(&Check::Timestamp, &json!(0)), "expected a valid timestamp");
        assert!(Check::Uuid.run(&json!("00000000-0000-4000-8000-00000000000F")).is_ok());
    }

    #[test]
    fn sets_that_exclude_each_other_are_named() {
        let check = Check::ExclusiveSubsets(&[&["http", "https"], &["tcp", "tls", "udp"], &["grpc", "grpcs"]]);
        assert!(check.run(&json!(["http", "https"])).is_ok());
        assert_eq!(
            fault(&check, &json!(["http", "tcp"])),
            "these sets are mutually exclusive: ('http', 'https'), ('tcp', 'tls', 'udp')"
        );
    }
}
