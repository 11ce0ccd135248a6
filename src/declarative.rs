//! kong.yml ⇄ entities: declarative files in Kong's formats 1.1 to 3.0, nested and flat, in YAML and JSON, and decK's additions.
//!
//! Owns reading (files, folders, text), templates and vault references, ids, references and uniqueness, the place of every
//! fault ([`Diagnostic`] with file, line and column), Kong's code-14 answer, dumping, and the lint of traps. Loading is
//! all-or-nothing and collects every fault at once. Must not know snapshots, nor check a field's value itself: that is the
//! schema tables' work. Cold path.

mod environment;

use std::path::PathBuf;
use std::time::SystemTime;

use serde_json::{Map, Value};

pub use self::environment::Environment;
use crate::diagnostic::Diagnostic;
use crate::entity::Dataset;

/// How a declarative text is read.
#[derive(Clone, Debug)]
pub struct Options {
    /// Entities and plugins that are not supported are left out with one warning each, instead of refusing the file.
    pub ignore_unsupported: bool,
    /// Expand decK's `${{ env "DECK_X" }}`. Off for text from outside, where it would hand out the environment.
    pub templates: bool,
    /// The process environment, or what tests put in its place.
    pub environment: Environment,
    /// What `created_at` and `updated_at` default to.
    pub now: SystemTime,
    /// Largest file or text, in bytes.
    pub max_bytes: usize,
    /// Keep the texts and where entities stand in them, so that [`Loaded::lint`] can say file and line. For `check`; a
    /// gateway has no use for it.
    pub keep_places: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ignore_unsupported: false,
            templates: true,
            environment: Environment::process(),
            now: SystemTime::now(),
            max_bytes: 4 << 30,
            keep_places: false,
        }
    }
}

/// A configuration that was read.
#[derive(Debug)]
pub struct Loaded {
    pub dataset: Dataset,
    /// Warnings only.
    pub diagnostics: Vec<Diagnostic>,
    /// MD5 of the text as it was written, in hex: Kong's `configuration_hash`. Of several files, of their concatenation.
    pub hash: String,
    /// `_transform` of the (first) file.
    pub transform: bool,
}

impl Loaded {
    /// [`lint`], with file and line where [`Options::keep_places`] was set.
    pub fn lint(&self) -> Vec<Diagnostic> {
        lint(&self.dataset)
    }
}

/// A configuration that was not read, and why.
#[derive(Debug)]
pub struct Refused {
    /// Every fault, and the warnings that were found beside them.
    pub diagnostics: Vec<Diagnostic>,
}

impl Refused {
    /// Kong's `message`: `declarative config is invalid: {…}`.
    pub fn message(&self) -> String {
        String::new()
    }

    /// Kong's `fields`: the faults in the shape of the document.
    pub fn fields(&self) -> Map<String, Value> {
        Map::new()
    }

    /// The body of Kong's 400 with code 14; `flatten` is `?flatten_errors=1`.
    pub fn to_kong(&self, _flatten: bool) -> Value {
        Value::Null
    }
}

/// Reads files and folders (every `.yml`, `.yaml` and `.json` in them) as one configuration.
///
/// # Errors
/// Every fault of every file.
pub fn load_files(_paths: &[PathBuf], _options: &Options) -> Result<Loaded, Refused> {
    Err(Refused { diagnostics: Vec::new() })
}

/// Reads one text; `name` stands for it in diagnostics (`<POST /config>`).
///
/// # Errors
/// Every fault of it.
pub fn load_text(_name: &str, _text: &str, _options: &Options) -> Result<Loaded, Refused> {
    Err(Refused { diagnostics: Vec::new() })
}

/// The body of `GET /config`: every entity, flat, with every field.
pub fn dump(_dataset: &Dataset) -> String {
    String::new()
}

/// Warns of configurations that are valid and yet a trap.
pub fn lint(_dataset: &Dataset) -> Vec<Diagnostic> {
    Vec::new()
}
