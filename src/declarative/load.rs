//! From documents to a dataset.
//!
//! Owns the order of things: members of the files first, then kind by kind in Kong's load order, so that what is referred to is
//! there before what refers to it. Entities are consumed as they are read: text, one value, typed entity. Credentials are taken
//! in with their consumer; nested routes and plugins, which are few and may refer to anything, wait until their kind's turn.

mod entity;
mod fast;
mod header;
mod index;
mod kept;

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};
use uuid::Uuid;

use self::header::Header;
use self::index::{Index, Plan};
use super::fault::{Faults, Stage};
use super::ids::Ids;
use super::parse::{self, Body, NoList};
use super::path::{At, Path, Step};
use super::source::Source;
use super::vault::{self, Vaults};
use super::{Loaded, Options, Places, Refused};
use crate::diagnostic::Diagnostic;
use crate::entity::{Dataset, Kind};
use crate::schema::Now;

/// Kong's words before a parser's.
const PARSING: &str = "failed parsing declarative configuration";

/// Loads texts that have been read.
pub fn load(sources: Vec<Source>, options: &Options) -> Result<Loaded, Refused> {
    let mut syntax = Vec::new();
    let mut error = None;
    let mut documents = Vec::with_capacity(sources.len());
    for source in &sources {
        match parse::document(source) {
            Ok(document) => documents.push(document),
            Err(fault) => {
                let empty = source.text().trim().is_empty();
                let message = if empty {
                    "expected a declarative configuration".into()
                } else {
                    format!("{PARSING}: {}", fault.message)
                };
                syntax.push(syntax_fault(source, &fault, &message));
                error.get_or_insert(message);
            }
        }
    }
    if let Some(error) = error {
        return Err(Refused::unparsed(syntax, error));
    }
    let yaml: Vec<bool> = documents.iter().map(|document| document.yaml).collect();
    let (result, faults) = {
        let mut loader = Loader::new(&sources, &yaml, options);
        for (file, document) in documents.into_iter().enumerate() {
            loader.members(file, document.members);
        }
        loader.entities();
        loader.finish()
    };
    let refused = faults.any_errors() || !result.syntax.is_empty();
    let (mut diagnostics, tree) = faults.finish(&sources, &yaml);
    if refused {
        diagnostics.splice(0..0, result.syntax);
        if let Some(error) = result.error {
            return Err(Refused::unparsed(diagnostics, error));
        }
        return Err(Refused { diagnostics, tree, sources });
    }
    let hash = hash(&sources);
    let places = options.keep_places.then_some(Places { sources, yaml, paths: result.places });
    Ok(Loaded { dataset: result.dataset, diagnostics, hash, transform: result.transform, places })
}

fn syntax_fault(source: &Source, fault: &parse::Fault, message: &str) -> Diagnostic {
    let mut diagnostic = Diagnostic::error("syntax", "", message);
    source.placer().place(&mut diagnostic, fault.at, false);
    diagnostic
}

/// MD5 of the texts as they were written.
fn hash(sources: &[Source]) -> String {
    use md5::{Digest, Md5};
    let mut digest = Md5::new();
    for source in sources {
        digest.update(&source.original);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether plain documents of a kind go the short way.
#[cfg(test)]
pub fn is_fast(kind: Kind) -> bool {
    Plan::of(kind).fast
}

/// What a loader leaves behind.
struct Outcome {
    dataset: Dataset,
    transform: bool,
    places: HashMap<(Kind, Uuid), Path>,
    syntax: Vec<Diagnostic>,
    /// Kong's words for the first of `syntax`.
    error: Option<String>,
}

/// The entity around a nested one.
#[derive(Clone)]
struct Parent {
    kind: Kind,
    /// Nil when it has none because it is at fault.
    id: Uuid,
    /// Its endpoint key, by which children may name it.
    key: Option<Box<str>>,
}

/// A nested entity that waits for its kind's turn.
struct Waiting {
    value: Value,
    path: Path,
    parent: Parent,
}

struct Loader<'s> {
    sources: &'s [Source],
    yaml: &'s [bool],
    options: &'s Options,
    now: Now,
    header: Header,
    vaults: Vaults<'s>,
    /// Whether any text of the file holds a reference into a vault.
    references: Vec<bool>,
    collections: BTreeMap<Kind, Vec<(Path, Body<'s>)>>,
    /// How many entities of a collection the files before hold: Kong's positions count through.
    before: HashMap<(usize, Box<str>), usize>,
    waiting: BTreeMap<Kind, Vec<Waiting>>,
    plans: [Plan; Kind::ALL.len()],
    ids: Ids,
    index: Index,
    dataset: Dataset,
    places: HashMap<(Kind, Uuid), Path>,
    faults: Faults,
    syntax: Vec<Diagnostic>,
    error: Option<String>,
}

impl<'s> Loader<'s> {
    fn new(sources: &'s [Source], yaml: &'s [bool], options: &'s Options) -> Self {
        let references = sources
            .iter()
            .map(|source| memchr::memmem::find(source.text().as_bytes(), vault::SCHEME.as_bytes()).is_some());
        Self {
            sources,
            yaml,
            options,
            now: options.now,
            header: Header::default(),
            vaults: Vaults::new(&options.environment),
            references: references.collect(),
            collections: BTreeMap::new(),
            before: HashMap::new(),
            waiting: BTreeMap::new(),
            plans: Kind::ALL.map(Plan::of),
            ids: Ids::new(),
            index: Index::default(),
            dataset: Dataset::default(),
            places: HashMap::new(),
            faults: Faults::default(),
            syntax: Vec::new(),
            error: None,
        }
    }

    /// Notes where an entity stands, if that is wanted.
    fn remember(&mut self, kind: Kind, id: Uuid, at: &At<'_>) {
        if self.options.keep_places {
            self.places.insert((kind, id), at.to_path());
        }
    }

    fn text(&self, file: usize) -> &'s str {
        self.sources.get(file).map_or("", Source::text)
    }

    /// Every entity, kind by kind.
    fn entities(&mut self) {
        for kind in Kind::ALL {
            self.make_room(kind);
            let mut before = 0;
            for (path, body) in self.collections.remove(&kind).unwrap_or_default() {
                if let Some(Step::Key(name)) = path.steps.first() {
                    self.before.insert((path.file, name.clone()), before);
                }
                let text = self.text(path.file);
                let list = At::Path(&path);
                let done = body.each(text, |n, value| {
                    before += 1;
                    self.entity(kind, value, &At::Index(&list, n), None);
                });
                match done {
                    Ok(()) => {}
                    Err(NoList::Type) => self.fault(path, "expected an array"),
                    Err(NoList::Syntax(fault)) => self.syntax(path.file, &fault),
                }
            }
            for Waiting { value, path, parent } in self.waiting.remove(&kind).unwrap_or_default() {
                self.entity(kind, value, &At::Path(&path), Some(&parent));
            }
        }
    }

    /// Sizes a large kind's table for what is to come: known where it stands inside others, guessed where it is a list not yet read.
    fn make_room(&mut self, kind: Kind) {
        /// Of a small consumer or credential; too low a guess doubles a table once more than it need be.
        const ENTITY_BYTES: usize = 128;
        let lists = self.collections.get(&kind).into_iter().flatten();
        let listed: usize = lists.map(|(_, body)| body.text_len() / ENTITY_BYTES).sum();
        let more = listed + self.waiting.get(&kind).map_or(0, Vec::len);
        match kind {
            Kind::Consumer => self.dataset.consumers.reserve(more),
            Kind::JwtSecret => self.dataset.jwt_secrets.reserve(more),
            Kind::KeyAuthCredential => self.dataset.keyauth_credentials.reserve(more),
            Kind::Oauth2Credential => self.dataset.oauth2_credentials.reserve(more),
            Kind::Oauth2Token => self.dataset.oauth2_tokens.reserve(more),
            _ => {}
        }
    }

    fn syntax(&mut self, file: usize, fault: &parse::Fault) {
        let message = format!("{PARSING}: {}", fault.message);
        if let Some(source) = self.sources.get(file) {
            self.syntax.push(syntax_fault(source, fault, &message));
        }
        self.error.get_or_insert(message);
    }

    /// A fault in Kong's words at a path that Kong files it under as well.
    fn fault(&mut self, path: Path, message: &str) {
        let tree = self.tree(&path);
        self.faults.kong(Stage::Schema, &tree, message.into());
        let diagnostic = Diagnostic::error("schema", "", message);
        self.faults.say(path, diagnostic);
    }

    /// Where Kong's tree has a path: several files count as one.
    fn tree(&self, path: &Path) -> Vec<Step> {
        let mut steps = path.steps.clone();
        if let [Step::Key(name), Step::Index(index), ..] = steps.as_mut_slice() {
            *index += self.before.get(&(path.file, name.clone())).copied().unwrap_or(0);
        }
        steps
    }

    fn finish(self) -> (Outcome, Faults) {
        let result = Outcome {
            dataset: self.dataset,
            transform: self.header.transform.unwrap_or(true),
            places: self.places,
            syntax: self.syntax,
            error: self.error,
        };
        (result, self.faults)
    }
}

/// Fills in members that are missing, record by record.
fn fill(document: &mut Map<String, Value>, defaults: &Map<String, Value>) {
    for (key, default) in defaults {
        match (document.get_mut(key), default) {
            (Some(Value::Object(there)), Value::Object(below)) => fill(there, below),
            (Some(_), _) => {}
            (None, _) => {
                document.insert(key.clone(), default.clone());
            }
        }
    }
}
