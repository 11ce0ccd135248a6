//! Reading the settings file: one flat YAML mapping of scalars and lists of scalars.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, Span, SpannedEventReceiver};

use super::{Settings, unknown};
use crate::diagnostic::{Diagnostic, Place};

/// A setting as it was given: file and environment alike.
#[derive(Debug)]
pub(super) struct Given {
    pub text: String,
    /// Where in the file; `None` for a variable.
    pub place: Option<Place>,
    pub excerpt: Option<String>,
}

/// What the parser reports, as far as a flat mapping goes.
#[derive(Default)]
struct Pairs {
    depth: usize,
    key: Option<(String, Span)>,
    list: Option<Vec<String>>,
    pairs: Vec<(String, Span, Option<String>)>,
    /// What does not belong into a flat mapping, with its place.
    odd: Vec<(Span, &'static str)>,
}

impl Pairs {
    fn value(&mut self, value: Option<String>) {
        if let Some((key, span)) = self.key.take() {
            self.pairs.push((key, span, value));
        }
    }
}

impl SpannedEventReceiver<'_> for Pairs {
    fn on_event(&mut self, event: Event<'_>, span: Span) {
        match event {
            Event::Scalar(text, style, ..) => {
                // A plain `null` or `~`, and nothing at all, leave a setting at its default.
                let plain = style == saphyr_parser::ScalarStyle::Plain;
                let null = plain && matches!(&*text, "" | "~" | "null");
                match (&mut self.list, self.depth, &self.key) {
                    (Some(list), ..) => list.push(text.into_owned()),
                    (None, 1, None) => self.key = Some((text.into_owned(), span)),
                    (None, 1, Some(_)) => self.value((!null).then(|| text.into_owned())),
                    (None, 0, _) if null => {}
                    _ => self.odd.push((span, "settings are a mapping of names to values")),
                }
            }
            Event::MappingStart(..) => {
                self.depth += 1;
                if self.depth > 1 {
                    self.key = None;
                    self.odd.push((span, "a setting's value is a scalar or a list, not a mapping"));
                }
            }
            Event::MappingEnd => self.depth = self.depth.saturating_sub(1),
            Event::SequenceStart(..) if self.depth == 1 && self.key.is_some() && self.list.is_none() => {
                self.list = Some(Vec::new());
            }
            Event::SequenceStart(..) => self.odd.push((span, "a list has its place only as a setting's value")),
            Event::SequenceEnd => {
                if let Some(list) = self.list.take() {
                    self.value(Some(list.join(", ")));
                }
            }
            Event::Alias(..) => self.odd.push((span, "aliases are not supported here")),
            _ => {}
        }
    }
}

/// The settings that the file gives, by name.
pub(super) fn read(path: &Path, text: &str, faults: &mut Vec<Diagnostic>) -> HashMap<&'static str, Given> {
    let file: Arc<str> = path.display().to_string().into();
    let line_of = |line: usize| text.lines().nth(line.saturating_sub(1)).map(str::to_owned);
    let place = |line: usize, column: usize| Some(Place { file: file.clone(), line, column: column + 1 });
    let mut found = Pairs::default();
    if let Err(error) = Parser::new_from_str(text).load(&mut found, false) {
        let at = *error.marker();
        let fault = Diagnostic::error("yaml", "", format!("not YAML: {}", error.info()));
        faults.push(Diagnostic { place: place(at.line(), at.col()), excerpt: line_of(at.line()), ..fault });
    }
    let at = |fault: Diagnostic, span: &Span| Diagnostic {
        place: place(span.start.line(), span.start.col()),
        excerpt: line_of(span.start.line()),
        ..fault
    };
    for (span, message) in &found.odd {
        faults.push(at(Diagnostic::error("settings", "", *message), span));
    }
    let mut given: HashMap<&'static str, Given> = HashMap::new();
    for (key, span, value) in found.pairs {
        let Some(known) = Settings::TABLE.iter().find(|known| known.name == key) else {
            faults.push(at(unknown(&key, &key), &span));
            continue;
        };
        if given.contains_key(known.name) {
            faults.push(at(Diagnostic::error("settings", known.name, "given twice"), &span));
        }
        if let Some(text) = value {
            let (line, column) = (span.start.line(), span.start.col());
            given.insert(known.name, Given { text, place: place(line, column), excerpt: line_of(line) });
        }
    }
    given
}
