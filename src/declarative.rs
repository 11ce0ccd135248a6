//! kong.yml ⇄ entities: declarative files in Kong's formats 1.1 to 3.0, nested and flat, in YAML and JSON, and decK's additions.
//!
//! Owns reading (files, folders, text), templates and vault references, ids, references and uniqueness, the place of every
//! fault ([`Diagnostic`] with file, line and column), Kong's code-14 answer, dumping, and the lint of traps. Loading is
//! all-or-nothing and collects every fault at once. Must not know snapshots, nor check a field's value itself: that is the
//! schema tables' work. Cold path.

mod dump;
mod environment;
mod excerpt;
mod fault;
mod ids;
mod lint;
mod load;
mod locate;
mod migrate;
mod parse;
mod path;
mod places;
mod refused;
mod source;
mod template;
mod unsupported;
mod vault;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use self::dump::{dump, export};
pub use self::environment::Environment;
pub use self::lint::{lint, lint_plugins};
pub use self::places::Places;
pub use self::refused::Refused;
use self::source::{Format, Source};
use crate::diagnostic::Diagnostic;
use crate::entity::Dataset;
use crate::schema::{Document, Now, Table};

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
    pub now: Now,
    /// What is in force: entities that did not change are kept, not copied.
    pub previous: Dataset,
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
            now: Now::system(),
            previous: Dataset::default(),
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
    /// `_transform` of the first file that has it.
    pub transform: bool,
    /// Where the entities stand, if [`Options::keep_places`].
    pub places: Option<Places>,
}

impl Loaded {
    /// [`lint`], with file and line where [`Options::keep_places`] was set.
    pub fn lint(&self, now: Now) -> Vec<Diagnostic> {
        lint::placed(&self.dataset, now, self.places.as_ref())
    }
}

/// Whether a plugin of this name keeps requests out, or may do so: one that nobody knows.
pub fn may_guard(plugin: &str) -> bool {
    unsupported::is_guard(plugin) || !unsupported::is_plugin(plugin)
}

/// Whether a document's text may hold references to values that are kept elsewhere.
pub fn may_refer(text: &str) -> bool {
    memchr::memmem::find(text.as_bytes(), vault::SCHEME.as_bytes()).is_some()
}

/// Puts in what the fields of a document refer to (`{vault://env/name}`), of the process's environment. What cannot be found
/// becomes empty, and is returned with its dotted path and what is missing.
pub fn resolve_references(table: &Table, document: &mut Document) -> Vec<(String, String)> {
    let environment = Environment::process();
    let special = table.special(document).map(|special| &special.record);
    let missing = vault::resolve(&vault::Vaults::new(&environment), &table.record, special, document);
    vault::clear(&table.record, special, document);
    missing
}

/// Reads files and folders (every `.yml`, `.yaml` and `.json` in them) as one configuration.
///
/// # Errors
/// Every fault of every file.
pub fn load_files(paths: &[PathBuf], options: &Options) -> Result<Loaded, Refused> {
    let (sources, faults) = source::read(paths, options);
    if let Some(first) = faults.first() {
        let error = first.message.clone();
        return Err(Refused::unparsed(faults, error));
    }
    load::load(sources, options)
}

/// Reads one text; `name` stands for it in diagnostics (`<POST /config>`).
///
/// # Errors
/// Every fault of it.
pub fn load_text(name: &str, text: impl Into<String>, options: &Options) -> Result<Loaded, Refused> {
    match Source::new(name, text.into(), Format::Either, options) {
        Ok(source) => load::load(vec![source], options),
        Err((_, faults)) => {
            let error = faults.first().map_or_else(String::new, |fault| fault.message.clone());
            Err(Refused::unparsed(faults, error))
        }
    }
}
