//! How values are written that have more than one form in JSON.

use serde::{Serialize, Serializer};

/// A whole number without a fraction, as clients sent it and Kong answers.
#[expect(
    clippy::cast_possible_truncation,
    clippy::trivially_copy_pass_by_ref,
    reason = "exact below 2^53; serde passes references"
)]
pub(super) fn number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
        (*value as i64).serialize(serializer)
    } else {
        value.serialize(serializer)
    }
}

/// Text that is never empty, with null in place of none: saves a discriminant check at every look at a credential.
pub(super) mod or_null {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &str, serializer: S) -> Result<S::Ok, S::Error> {
        Some(value).filter(|text| !text.is_empty()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<str>, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or_default())
    }
}
