//! Where the entities of a loaded configuration stand in its files, for warnings that are found later.

use std::collections::HashMap;

use uuid::Uuid;

use super::excerpt;
use super::locate::{Wanted, locate};
use super::path::Path;
use super::source::Source;
use crate::diagnostic::Diagnostic;
use crate::entity::Kind;

/// The texts, and the paths of the entities in them.
#[derive(Debug)]
pub struct Places {
    pub(super) sources: Vec<Source>,
    pub(super) yaml: Vec<bool>,
    pub(super) paths: HashMap<(Kind, Uuid), Path>,
}

impl Places {
    /// Gives diagnostics path, place and excerpt. Each comes with the entity it is about and the dotted path of the field in it
    /// (empty: the entity as a whole; a field that is not written out counts as the entity). In the order of the files.
    pub fn place(&self, found: Vec<(Kind, Uuid, String, Diagnostic)>) -> Vec<Diagnostic> {
        let mut placed = Vec::with_capacity(found.len());
        let mut unplaced = Vec::new();
        let mut by_file: Vec<Vec<(Path, Diagnostic)>> = self.sources.iter().map(|_| Vec::new()).collect();
        for (kind, id, field, diagnostic) in found {
            let path = self.paths.get(&(kind, id)).map(|path| path.then_field(&field));
            match path.and_then(|path| Some((by_file.get_mut(path.file)?, path))) {
                Some((file, path)) => file.push((path, diagnostic)),
                None => unplaced.push(diagnostic),
            }
        }
        for (file, (source, found)) in self.sources.iter().zip(by_file).enumerate() {
            if found.is_empty() {
                continue;
            }
            let wanted: Vec<_> = found.iter().map(|(path, _)| Wanted { steps: &path.steps, key: true }).collect();
            let offsets = locate(source.text(), self.yaml.get(file).copied().unwrap_or(true), &wanted);
            let mut here: Vec<_> = found.into_iter().zip(offsets).collect();
            here.sort_by_key(|(_, offset)| *offset);
            let mut placer = source.placer();
            for ((path, mut diagnostic), offset) in here {
                let secret = path
                    .steps
                    .iter()
                    .any(|step| matches!(step, super::path::Step::Key(key) if excerpt::is_secret(key)));
                placer.place(&mut diagnostic, offset, secret);
                diagnostic.path = path.to_string();
                placed.push(diagnostic);
            }
        }
        placed.extend(unplaced);
        placed
    }
}
