//! Where in a text a path of its document stands. Runs over the text a second time, and only when there is something to say.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, Span, StrInput};
use serde_json::value::RawValue;

use super::parse::offset_of;
use super::path::Step;

/// What is looked for.
#[derive(Debug)]
pub struct Wanted<'a> {
    pub steps: &'a [Step],
    /// The key of the last step, not its value.
    pub key: bool,
}

/// Byte offsets, in the order asked for. What is not there (a missing field, something behind an alias) gets the place of the
/// nearest thing around it.
pub fn locate(text: &str, yaml: bool, wanted: &[Wanted<'_>]) -> Vec<usize> {
    let mut tree = Node::default();
    for (n, wanted) in wanted.iter().enumerate() {
        let mut node = &mut tree;
        for step in wanted.steps {
            node = node.below.entry(step).or_default();
        }
        node.here.push((n, wanted.key));
    }
    let mut found = vec![0; wanted.len()];
    if yaml {
        Yaml { parser: Parser::new_from_str(text), text, lines: Lines::of(text), found: &mut found }.document(&tree);
    } else {
        json(text, text.trim(), &tree, &mut found);
    }
    found
}

/// The paths that are looked for, as a tree.
#[derive(Default)]
struct Node<'a> {
    here: Vec<(usize, bool)>,
    below: HashMap<&'a Step, Node<'a>>,
}

impl Node<'_> {
    /// Everything at and below this node is at least here.
    fn settle(&self, offset: usize, found: &mut [usize]) {
        for (n, _) in &self.here {
            if let Some(place) = found.get_mut(*n) {
                *place = offset;
            }
        }
        for node in self.below.values() {
            node.settle(offset, found);
        }
    }

    fn settle_keys(&self, offset: usize, found: &mut [usize]) {
        for (n, key) in &self.here {
            if let (true, Some(place)) = (*key, found.get_mut(*n)) {
                *place = offset;
            }
        }
    }

    fn wants_keys(&self) -> bool {
        self.below.keys().any(|step| matches!(step, Step::Key(_)))
    }
}

fn json(text: &str, part: &str, node: &Node<'_>, found: &mut [usize]) {
    node.settle(offset_of(text, part), found);
    if node.below.is_empty() {
        return;
    }
    if node.wants_keys() {
        let Ok(members) = serde_json::from_str::<HashMap<String, &RawValue>>(part) else { return };
        for (step, below) in &node.below {
            let Step::Key(key) = step else { continue };
            if let Some(raw) = members.get(&**key) {
                json(text, raw.get(), below, found);
                below.settle_keys(key_offset(text, offset_of(text, raw.get())), found);
            }
        }
    } else {
        let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(part) else { return };
        for (step, below) in &node.below {
            if let Step::Index(index) = step
                && let Some(raw) = elements.get(*index)
            {
                json(text, raw.get(), below, found);
            }
        }
    }
}

/// Where the key of a JSON value begins, from where the value begins.
fn key_offset(text: &str, value: usize) -> usize {
    let before = text.get(..value).unwrap_or_default().trim_end();
    let Some(key) = before.strip_suffix(':').map(str::trim_end).and_then(|key| key.strip_suffix('"')) else {
        return value;
    };
    let mut rest = key;
    while let Some((before, _)) = rest.rsplit_once('"') {
        let escapes = before.len() - before.trim_end_matches('\\').len();
        if escapes % 2 == 0 {
            return before.len();
        }
        rest = before;
    }
    value
}

/// Byte offsets of lines.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|newline| newline + 1)).collect())
    }
}

struct Yaml<'t, 'f> {
    parser: Parser<'t, StrInput<'t>>,
    text: &'t str,
    lines: Lines,
    found: &'f mut [usize],
}

impl<'t> Yaml<'t, '_> {
    fn next(&mut self) -> Option<(Event<'t>, Span)> {
        self.parser.next_event()?.ok()
    }

    fn offset(&self, span: Span) -> usize {
        let start = span
            .start
            .line()
            .checked_sub(1)
            .and_then(|line| self.lines.0.get(line))
            .copied()
            .unwrap_or(self.text.len());
        let rest = self.text.get(start..).unwrap_or_default();
        start + rest.char_indices().nth(span.start.col()).map_or(rest.len(), |(at, _)| at)
    }

    fn document(&mut self, tree: &Node<'_>) {
        while let Some((event, span)) = self.next() {
            if !matches!(event, Event::StreamStart | Event::DocumentStart(_)) {
                self.value(event, span, Some(tree));
                return;
            }
        }
    }

    /// Walks the value that the event begins; `None` when the text ended inside it.
    fn value(&mut self, event: Event<'t>, span: Span, node: Option<&Node<'_>>) -> Option<()> {
        let node = node.filter(|node| !(node.here.is_empty() && node.below.is_empty()));
        if let Some(node) = node {
            node.settle(self.offset(span), self.found);
        }
        match (event, node.filter(|node| !node.below.is_empty())) {
            (Event::MappingStart(..), Some(node)) => loop {
                let (event, key_span) = self.next()?;
                let below = match event {
                    Event::MappingEnd => return Some(()),
                    Event::Scalar(key, ..) => node.below.get(&Step::Key((&*key).into())),
                    Event::MappingStart(..) | Event::SequenceStart(..) => {
                        self.skip()?;
                        None
                    }
                    _ => None,
                };
                let (event, span) = self.next()?;
                self.value(event, span, below)?;
                if let Some(below) = below {
                    below.settle_keys(self.offset(key_span), self.found);
                }
            },
            (Event::SequenceStart(..), Some(node)) => {
                for index in 0.. {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        return Some(());
                    }
                    self.value(event, span, node.below.get(&Step::Index(index)))?;
                }
                Some(())
            }
            (Event::MappingStart(..) | Event::SequenceStart(..), None) => self.skip(),
            _ => Some(()),
        }
    }

    /// Leaves the mapping or list that has just begun.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 1;
        while depth > 0 {
            match self.next()?.0 {
                Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
                Event::MappingEnd | Event::SequenceEnd => depth -= 1,
                _ => {}
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declarative::path::Path;

    fn find(text: &str, yaml: bool, path: &str, key: bool) -> (usize, usize) {
        let path = Path::default().then_field(path);
        let at = locate(text, yaml, &[Wanted { steps: &path.steps, key }])[0];
        let line = text[..at].matches('\n').count() + 1;
        (line, text[..at].rsplit('\n').next().unwrap().chars().count() + 1)
    }

    #[test]
    fn yaml_places() {
        let text = "# x\n_format_version: '3.0'\nservices:\n- name: ä\n  url: http://x\n  routes:\n  - name: r\n    paths:\n    - /a\n    - b\n  - {name: q, paths: [/c]}\nx: &a\n  b: 1\ny: *a\nz: |\n  text\n";
        for (path, key, expected) in [
            ("services.1.name", false, (4, 9)),
            ("services.1.name", true, (4, 3)),
            ("services.1.host", false, (4, 3)),
            ("services.1.routes.1.paths.2", false, (10, 7)),
            ("services.1.routes.2.paths.1", false, (11, 23)),
            ("services.1.routes.2.paths", true, (11, 15)),
            ("services.1.routes.3", false, (7, 5)),
            ("y.b", false, (14, 4)),
            ("z", false, (16, 3)),
            ("_format_version", false, (2, 18)),
            ("nothing", true, (2, 1)),
        ] {
            assert_eq!(find(text, true, path, key), expected, "{path}");
        }
    }

    #[test]
    fn json_places() {
        let text = "{\n\t\"a\\\"\" : 1,\n  \"services\": [{\"na\\u006de\": \"x\",\n \"tags\" :\n [1, \"two\"]}, {}]}";
        for (path, key, expected) in [
            ("services", true, (3, 3)),
            ("services.1.name", false, (3, 30)),
            ("services.1.name", true, (3, 17)),
            ("services.1.tags.2", false, (5, 6)),
            ("services.1.tags", true, (4, 2)),
            ("services.2.host", false, (5, 15)),
            ("a\"", true, (2, 2)),
        ] {
            assert_eq!(find(text, false, path, key), expected, "{path}");
        }
    }
}
