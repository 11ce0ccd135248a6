//! The texts a configuration is read from: bounded reading, template expansion, and from an offset back to a line the user wrote.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::template::{self, Replaced};
use super::{Options, excerpt};
use crate::diagnostic::{Diagnostic, Place};

/// One file, or one text from elsewhere.
#[derive(Debug)]
pub struct Source {
    /// As the user named it.
    pub name: Arc<str>,
    /// As it was written.
    pub original: String,
    /// With its templates expanded; `None` where there are none.
    expanded: Option<String>,
    replaced: Vec<Replaced>,
    pub format: Format,
}

/// What a text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
    /// JSON is tried first, then YAML, as Kong does.
    Either,
}

impl Format {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" => Some(Self::Json),
            "yml" | "yaml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

impl Source {
    /// Takes a text and expands its templates.
    ///
    /// # Errors
    /// Every template fault, with its place; the source comes back for its text.
    pub fn new(
        name: &str,
        original: String,
        format: Format,
        options: &Options,
    ) -> Result<Self, (Self, Vec<Diagnostic>)> {
        let mut source = Self { name: name.into(), original, expanded: None, replaced: Vec::new(), format };
        if original_too_large(&source, options) {
            let message = format!("larger than the limit of {} bytes", options.max_bytes);
            return Err((
                source,
                vec![Diagnostic::error("too-large", "", message).help("raise the limit, or split the file")],
            ));
        }
        if !options.templates {
            return Ok(source);
        }
        match template::expand(&source.original, &options.environment) {
            Ok(done) => {
                let expanded = match done.text {
                    std::borrow::Cow::Owned(text) => Some(text),
                    std::borrow::Cow::Borrowed(_) => None,
                };
                source.replaced = done.replaced;
                source.expanded = expanded;
                Ok(source)
            }
            Err(faults) => {
                let mut placer = source.placer();
                let place = |fault: template::Fault| {
                    let mut diagnostic = Diagnostic::error("template", "", fault.message);
                    placer.place_original(&mut diagnostic, fault.at, false);
                    diagnostic
                };
                let faults = faults.into_iter().map(place).collect();
                Err((source, faults))
            }
        }
    }

    /// The text that is parsed.
    pub fn text(&self) -> &str {
        self.expanded.as_deref().unwrap_or(&self.original)
    }

    /// Gives diagnostics their places; fastest in the order of the text.
    pub fn placer(&self) -> Placer<'_> {
        Placer { source: self, at: 0, line: 1, line_start: 0, column: 1 }
    }

    fn original_offset(&self, offset: usize) -> usize {
        let at = self.replaced.partition_point(|replaced| replaced.to.0 <= offset);
        match at.checked_sub(1).and_then(|last| self.replaced.get(last)) {
            None => offset,
            Some(last) if offset < last.to.1 => last.from.0,
            Some(last) => offset - last.to.1 + last.from.1,
        }
    }
}

/// Finds lines and columns, counting on from the place before.
#[derive(Debug)]
pub struct Placer<'s> {
    source: &'s Source,
    at: usize,
    line: usize,
    line_start: usize,
    column: usize,
}

impl Placer<'_> {
    /// Gives a diagnostic its place and excerpt from a byte offset into [`Source::text`]. `secret` says that the value found
    /// there must not be shown.
    pub fn place(&mut self, diagnostic: &mut Diagnostic, offset: usize, secret: bool) {
        self.place_original(diagnostic, self.source.original_offset(offset), secret);
    }

    fn place_original(&mut self, diagnostic: &mut Diagnostic, offset: usize, secret: bool) {
        let text = &self.source.original;
        let offset = floor_char_boundary(text, offset);
        if offset < self.at {
            *self = self.source.placer();
        }
        let between = text.get(self.at..offset).unwrap_or_default();
        match between.rfind('\n') {
            Some(newline) => {
                self.line += memchr::memchr_iter(b'\n', between.as_bytes()).count();
                self.line_start = self.at + newline + 1;
                self.column = 1 + text.get(self.line_start..offset).map_or(0, |before| before.chars().count());
            }
            None => self.column += between.chars().count(),
        }
        self.at = offset;
        diagnostic.place = Some(Place { file: self.source.name.clone(), line: self.line, column: self.column });
        diagnostic.excerpt = excerpt::line(text, self.line_start, offset, secret);
    }
}

fn original_too_large(source: &Source, options: &Options) -> bool {
    source.original.len() > options.max_bytes
}

fn floor_char_boundary(text: &str, mut offset: usize) -> usize {
    offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// Reads files and what is in folders, in the order given, folders by name.
pub fn read(paths: &[PathBuf], options: &Options) -> (Vec<Source>, Vec<Diagnostic>) {
    let (mut sources, mut faults) = (Vec::new(), Vec::new());
    let mut files = Vec::new();
    for path in paths {
        list(path, &mut files, &mut faults, 0);
    }
    if files.is_empty() && faults.is_empty() {
        faults.push(
            Diagnostic::error("no-file", "", "no declarative file found")
                .help("name a .yml, .yaml or .json file, or a folder with some"),
        );
    }
    for path in files {
        let name = path.display().to_string();
        let fault = |message: String| Diagnostic::error("unreadable", "", format!("{name}: {message}"));
        let Some(format) = Format::of(&path) else {
            faults.push(fault("unknown file type (accepted: json, yaml)".into()).help("name it .yml, .yaml or .json"));
            continue;
        };
        match read_bounded(&path, options.max_bytes) {
            Ok(text) => match Source::new(&name, text, format, options) {
                Ok(source) => sources.push(source),
                Err((_, more)) => faults.extend(more),
            },
            Err(message) => faults.push(fault(message)),
        }
    }
    (sources, faults)
}

/// Folders inside folders are read to this depth: a symbolic link to a parent must end.
const DEPTH: usize = 16;

fn list(path: &Path, files: &mut Vec<PathBuf>, faults: &mut Vec<Diagnostic>, depth: usize) {
    if !path.is_dir() {
        files.push(path.to_owned());
        return;
    }
    let entries = match std::fs::read_dir(path) {
        Ok(entries) if depth < DEPTH => entries,
        Ok(_) => {
            faults.push(Diagnostic::error(
                "unreadable",
                "",
                format!("{}: folders are nested too deeply", path.display()),
            ));
            return;
        }
        Err(error) => {
            faults.push(Diagnostic::error("unreadable", "", format!("{}: {error}", path.display())));
            return;
        }
    };
    let mut entries: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    for entry in entries {
        // Kubernetes mounts a ConfigMap with hidden folders beside the links to its files.
        let hidden = entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && (entry.is_dir() || Format::of(&entry).is_some()) {
            list(&entry, files, faults, depth + 1);
        }
    }
}

fn read_bounded(path: &Path, limit: usize) -> Result<String, String> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let expected = file.metadata().map_or(0, |metadata| metadata.len());
    let expected = usize::try_from(expected).unwrap_or(usize::MAX);
    if expected > limit {
        return Err(format!("larger than the limit of {limit} bytes"));
    }
    let mut text = Vec::with_capacity(expected + 1);
    file.take(limit as u64 + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() > limit {
        return Err(format!("larger than the limit of {limit} bytes"));
    }
    if text.starts_with(b"\xef\xbb\xbf") {
        text.drain(..3);
    }
    String::from_utf8(text).map_err(|error| format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
}
