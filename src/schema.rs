//! The engine of the schema tables: what a field may hold, what it holds when nothing was given, and Kong's words for every fault.
//!
//! A [`Table`] is a plain value built by small constructors, one per entity and one per plugin; it checks and completes documents
//! from files, forms and JSON, and describes itself for `GET /schemas/…`. Cold path, but fast: a million credentials pass through
//! it when a large configuration loads, so nothing is compiled, and nothing is quadratic, per document.
//! Must not know any particular entity, nor look at other documents: uniqueness and references are checked where the documents are.

mod check;
mod cross;
mod def;
mod describe;
mod form;
pub mod host;
mod merge;
pub mod path;
mod random;
mod record;
mod table;
pub mod typedefs;
pub mod url;
mod violations;

use std::time::{SystemTime, UNIX_EPOCH};

pub use self::check::{Check, Validator};
pub use self::cross::{Cross, Matcher};
pub use self::def::{
    Auto, Def, OnDelete, Type, any, array, boolean, foreign, integer, map, number, record, record_with, set, string,
};
pub use self::form::from_form;
pub use self::random::{salt, token, uuid};
pub use self::record::{Field, Former, Record};
pub use self::table::{Subschema, Table};
pub use self::violations::Violations;

/// A JSON object: an entity as it is stored and served.
pub type Document = serde_json::Map<String, serde_json::Value>;

/// The time of a write, handed in by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    milliseconds: i64,
}

impl Now {
    /// Milliseconds since the UNIX epoch.
    pub const fn from_milliseconds(milliseconds: i64) -> Self {
        Self { milliseconds }
    }

    /// The system clock.
    pub fn system() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_milliseconds(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Whole seconds since the UNIX epoch, as in `created_at`.
    pub const fn seconds(self) -> i64 {
        self.milliseconds.div_euclid(1000)
    }

    /// Seconds with the milliseconds as fraction, as in the times of targets.
    #[expect(clippy::cast_precision_loss, reason = "exact up to the year 287396")]
    pub fn fractional(self) -> f64 {
        self.milliseconds as f64 / 1000.0
    }
}
