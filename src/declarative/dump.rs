//! A dataset as YAML again: whole, as Kong's `GET /config`, or compact, as decK writes files.
//!
//! Both load back into the same dataset. Whatever the dataset holds is written, secrets included.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::ids::{Derived, Ids};
use crate::entity::{Dataset, Kind, tables};
use crate::schema::{Record, Type};

/// The body of `GET /config`: every entity, flat, with every field, references by id.
pub fn dump(dataset: &Dataset) -> String {
    let mut yaml = String::from("_format_version: '3.0'\n_transform: false\n");
    for kind in Kind::ALL {
        if dataset.count(kind) == 0 {
            continue;
        }
        let foreign: Vec<_> = tables::table(kind).foreign_keys().map(|(field, ..)| field).collect();
        let _ = writeln!(yaml, "{}:", kind.collection());
        each(dataset, kind, |mut document| {
            for field in &foreign {
                flat_reference(&mut document, field, |id| Some(id.to_owned()));
            }
            write_entry(&mut yaml, document);
        });
    }
    yaml
}

/// A file as decK writes it: nested, without times and without what is a default anyway. Ids are written where they do not
/// follow from the names.
pub fn export(dataset: &Dataset) -> String {
    let mut exporter = Exporter::new(dataset);
    let mut yaml = String::from("_format_version: \"3.0\"\n");
    // Hashed secrets must not be hashed again.
    if !dataset.oauth2_credentials.is_empty() {
        yaml.push_str("_transform: false\n");
    }
    for kind in [
        Kind::Plugin,
        Kind::Target,
        Kind::JwtSecret,
        Kind::KeyAuthCredential,
        Kind::Oauth2Credential,
        Kind::Sni,
        Kind::Route,
    ] {
        exporter.collect(kind);
    }
    for kind in Kind::ALL {
        let mut entries = exporter.flat.remove(&kind).unwrap_or_default();
        if matches!(
            kind,
            Kind::Certificate
                | Kind::CaCertificate
                | Kind::Service
                | Kind::Upstream
                | Kind::Consumer
                | Kind::Oauth2Token
        ) {
            each(dataset, kind, |document| entries.push(exporter.entry(kind, document)));
        }
        if !entries.is_empty() {
            let _ = writeln!(yaml, "{}:", kind.collection());
            for entry in entries {
                write_entry(&mut yaml, entry);
            }
        }
    }
    yaml
}

/// An entry on its way into its parent.
struct Child {
    kind: Kind,
    entry: Map<String, Value>,
}

struct Exporter<'d> {
    dataset: &'d Dataset,
    ids: Ids,
    /// Names by which entities are referred to.
    names: HashMap<Uuid, String>,
    /// Entries to be nested, by parent.
    nested: HashMap<Uuid, Vec<Child>>,
    /// Entries without one parent.
    flat: HashMap<Kind, Vec<Map<String, Value>>>,
}

impl<'d> Exporter<'d> {
    fn new(dataset: &'d Dataset) -> Self {
        let mut names = HashMap::new();
        names.extend(dataset.services.iter().filter_map(|service| Some((service.id, service.name.clone()?))));
        names.extend(dataset.routes.iter().filter_map(|route| Some((route.id, route.name.clone()?))));
        names.extend(
            dataset
                .consumers
                .iter()
                .filter_map(|consumer| Some((consumer.id, consumer.username.as_deref()?.to_owned()))),
        );
        Self { dataset, ids: Ids::new(), names, nested: HashMap::new(), flat: HashMap::new() }
    }

    /// Takes the entities of a kind that may stand inside others.
    fn collect(&mut self, kind: Kind) {
        let mut documents = Vec::new();
        each(self.dataset, kind, |document| documents.push(document));
        let nests_in: &[&str] = match kind {
            Kind::Plugin => &["route", "service", "consumer"],
            Kind::Target => &["upstream"],
            Kind::Sni => &["certificate"],
            Kind::Route => &["service"],
            _ => &["consumer"],
        };
        for document in documents {
            let parents: Vec<&str> =
                nests_in.iter().copied().filter(|field| document.get(*field).is_some_and(|to| !to.is_null())).collect();
            let mut entry = self.entry(kind, document);
            match parents.as_slice() {
                [field] => {
                    let parent =
                        entry.shift_remove(*field).and_then(|parent| Uuid::try_parse(parent.get("id")?.as_str()?).ok());
                    self.nested.entry(parent.unwrap_or_default()).or_default().push(Child { kind, entry });
                }
                _ => {
                    for field in parents {
                        flat_reference(&mut entry, field, |id| self.names.get(&Uuid::try_parse(id).ok()?).cloned());
                    }
                    self.flat.entry(kind).or_default().push(entry);
                }
            }
        }
    }

    /// What has to be written of an entity, with what is nested in it.
    fn entry(&mut self, kind: Kind, document: Map<String, Value>) -> Map<String, Value> {
        let id = document.get("id").and_then(Value::as_str).and_then(|id| Uuid::try_parse(id).ok()).unwrap_or_default();
        let table = tables::table(kind);
        let special = table.special(&document);
        let mut entry = document;
        entry.retain(|field, _| !matches!(field.as_str(), "created_at" | "updated_at" | "cert_digest"));
        compact(&table.record, special.map(|special| &special.record), &mut entry);
        entry.shift_remove("id");
        let follows = matches!(self.ids.derive(kind, &entry), Some(Derived::Key(derived)) if derived == id);
        if !follows {
            entry.shift_insert(0, "id".to_owned(), id.to_string().into());
        }
        flat_reference(&mut entry, "client_certificate", |id| Some(id.to_owned()));
        let children = self.nested.remove(&id).unwrap_or_default();
        let kinds: BTreeSet<Kind> = children.iter().map(|child| child.kind).collect();
        for kind in kinds {
            let list =
                children.iter().filter(|child| child.kind == kind).map(|child| Value::Object(child.entry.clone()));
            entry.insert(kind.collection().to_owned(), list.collect());
        }
        entry
    }
}

/// Leaves out nulls and defaults.
fn compact(record: &Record, special: Option<&Record>, document: &mut Map<String, Value>) {
    document.retain(|field, value| {
        let Some(def) = special.and_then(|special| special.field(field)).or_else(|| record.field(field)) else {
            return true;
        };
        if let (Type::Record(record), Value::Object(below)) = (&def.kind, &mut *value) {
            // A record that is not there by default keeps its braces even if nothing is left in them.
            compact(record, None, below);
            return !(below.is_empty() && (def.required || def.default.is_some()));
        }
        match &def.default {
            Some(default) => default != value,
            None => !value.is_null(),
        }
    });
}

/// Replaces `{"id": …}` by the text that refers to it.
fn flat_reference(document: &mut Map<String, Value>, field: &str, name: impl FnOnce(&str) -> Option<String>) {
    if let Some(reference) = document.get_mut(field)
        && let Some(id) = reference.get("id").and_then(Value::as_str).map(str::to_owned)
    {
        *reference = name(&id).unwrap_or(id).into();
    }
}

/// Hands out the entities of a kind as documents: lists in their order, tables by id.
pub(super) fn each(dataset: &Dataset, kind: Kind, mut take: impl FnMut(Map<String, Value>)) {
    fn list<T: Serialize>(list: &[Arc<T>], take: &mut impl FnMut(Map<String, Value>)) {
        for entity in list {
            if let Ok(Value::Object(document)) = serde_json::to_value(&**entity) {
                take(document);
            }
        }
    }
    fn table<'t, T: Serialize + 't>(
        table: impl Iterator<Item = &'t Arc<T>>,
        id: impl Fn(&T) -> Uuid,
        take: &mut impl FnMut(Map<String, Value>),
    ) {
        let mut entities: Vec<_> = table.cloned().collect();
        entities.sort_unstable_by_key(|entity| id(entity));
        list(&entities, take);
    }
    match kind {
        Kind::Certificate => list(&dataset.certificates, &mut take),
        Kind::CaCertificate => list(&dataset.ca_certificates, &mut take),
        Kind::Service => list(&dataset.services, &mut take),
        Kind::Upstream => list(&dataset.upstreams, &mut take),
        Kind::Sni => list(&dataset.snis, &mut take),
        Kind::Route => list(&dataset.routes, &mut take),
        Kind::Target => list(&dataset.targets, &mut take),
        Kind::Plugin => list(&dataset.plugins, &mut take),
        Kind::Consumer => table(dataset.consumers.iter(), |entity| entity.id, &mut take),
        Kind::JwtSecret => table(dataset.jwt_secrets.iter(), |entity| entity.id, &mut take),
        Kind::KeyAuthCredential => table(dataset.keyauth_credentials.iter(), |entity| entity.id, &mut take),
        Kind::Oauth2Credential => table(dataset.oauth2_credentials.iter(), |entity| entity.id, &mut take),
        Kind::Oauth2Token => table(dataset.oauth2_tokens.iter(), |entity| entity.id, &mut take),
    }
}

/// One list entry.
fn write_entry(yaml: &mut String, document: Map<String, Value>) {
    // Maps with texts as keys cannot fail.
    yaml.push_str(&serde_yaml::to_string(&[Value::Object(document)]).unwrap_or_default());
}
