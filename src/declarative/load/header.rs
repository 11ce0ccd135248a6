//! The members of a file that are no entities of ours: format, decK's additions, vaults, and what is not supported.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::super::fault::Stage;
use super::super::parse::{Body, NoList};
use super::super::path::Path;
use super::super::unsupported;
use super::Loader;
use crate::diagnostic::Diagnostic;
use crate::entity::Kind;

/// What the files say about themselves.
#[derive(Debug, Default)]
pub struct Header {
    /// The first file's.
    version: Option<String>,
    pub transform: Option<bool>,
    /// Format 1.1 or 2.1: route paths are from before `~`.
    pub old_paths: bool,
    /// `_info.select_tags`: on every entity.
    pub tags: Vec<String>,
    /// `_info.defaults`.
    pub defaults: HashMap<Kind, Map<String, Value>>,
    /// `_plugin_configs`.
    pub plugin_configs: Map<String, Value>,
}

const MEMBERS: &[&str] =
    &["_format_version", "_transform", "_comment", "_ignore", "_info", "_workspace", "_konnect", "_plugin_configs"];

impl<'s> Loader<'s> {
    /// Takes in a file's members; collections are put by until their turn.
    pub(super) fn members(&mut self, file: usize, members: Vec<(String, Body<'s>)>) {
        let root = Path::root(file);
        let mut versioned = false;
        for (name, body) in members {
            let path = root.then(name.as_str());
            let kind = Kind::from_collection(&name).or_else(|| Kind::from_collection(&name.replace('-', "_")));
            if let Some(kind) = kind {
                self.collections.entry(kind).or_default().push((path, body));
            } else if name == "vaults" {
                self.vaults(path, body);
            } else if MEMBERS.contains(&name.as_str()) {
                versioned |= name == "_format_version";
                match body.into_value(self.text(file)) {
                    Ok(value) => self.member(&name, path, value),
                    Err(fault) => self.syntax(file, &fault),
                }
            } else if unsupported::is_collection(&name) {
                self.unsupported_collection(path, &name);
            } else {
                self.unknown_member(path, &name);
            }
        }
        if !versioned {
            let path = root.then("_format_version");
            self.faults.kong(Stage::Schema, &path.steps, "required field missing".into());
            let diagnostic = Diagnostic::error("format-version", "", "required field missing");
            self.faults.say(path, diagnostic.help("add _format_version: \"3.0\""));
        }
    }

    fn unknown_member(&mut self, path: Path, name: &str) {
        self.faults.kong(Stage::Schema, &path.steps, "unknown field".into());
        let mut diagnostic = Diagnostic::error("unknown-field", "", "unknown field");
        let names = Kind::ALL.into_iter().map(Kind::collection).chain(MEMBERS.iter().copied());
        diagnostic.help = unsupported::did_you_mean(name, names);
        self.faults.say_at_key(path, diagnostic);
    }

    pub(super) fn unsupported_collection(&mut self, path: Path, name: &str) {
        let message = format!("'{name}' are not supported by Portcullis");
        self.unsupported(path, "unsupported-entity", message, "unknown field", None);
    }

    /// An error, or a warning where what is not supported is left out.
    pub(super) fn unsupported(
        &mut self,
        path: Path,
        code: &'static str,
        message: String,
        kong: &str,
        warning: Option<&str>,
    ) {
        if self.options.ignore_unsupported {
            let help = warning.unwrap_or("it was left out, as ignore_unsupported says");
            self.faults.say_at_key(path, Diagnostic::warning(code, "", message).help(help));
        } else {
            let tree = self.tree(&path);
            self.faults.kong(Stage::Schema, &tree, kong.into());
            let help = "remove it, or set ignore_unsupported to load the rest without it";
            self.faults.say_at_key(path, Diagnostic::error(code, "", message).help(help));
        }
    }

    fn member(&mut self, name: &str, path: Path, value: Value) {
        match (name, value) {
            ("_format_version", value) => self.version(path, &value),
            ("_transform", Value::Bool(transform)) => {
                self.header.transform.get_or_insert(transform);
            }
            ("_transform", Value::Null)
            | ("_comment", Value::String(_) | Value::Null)
            | ("_ignore", Value::Array(_) | Value::Null) => {}
            ("_ignore", Value::Object(map)) if map.is_empty() => {}
            ("_transform", _) => self.fault(path, "expected a boolean"),
            ("_comment", _) => self.fault(path, "expected a string"),
            ("_ignore", _) => self.fault(path, "expected an array"),
            ("_konnect" | "_info" | "_plugin_configs" | "_workspace", Value::Null) | ("_konnect", Value::Object(_)) => {
            }
            ("_workspace", Value::String(workspace)) => {
                if workspace != "default" {
                    let warning = Diagnostic::warning(
                        "workspace",
                        "",
                        format!("workspace '{workspace}' is ignored: there is one, 'default'"),
                    );
                    self.faults.say(path, warning);
                }
            }
            ("_workspace", _) => self.fault(path, "expected a string"),
            ("_info", Value::Object(info)) => self.info(&path, info),
            ("_plugin_configs", Value::Object(configs)) => {
                for (name, config) in configs {
                    if config.is_object() {
                        self.header.plugin_configs.insert(name, config);
                    } else {
                        self.fault(path.then(name.as_str()), "expected a record");
                    }
                }
            }
            (_, _) => self.fault(path, "expected a record"),
        }
    }

    fn version(&mut self, path: Path, value: &Value) {
        let (message, help) = match value {
            Value::String(version) if matches!(version.as_str(), "1.1" | "2.1" | "3.0") => {
                self.header.old_paths |= version != "3.0";
                match &self.header.version {
                    Some(first) if first != version => {
                        let message = format!("expected {first}, as in the first file");
                        (message, "all files of a configuration carry the same _format_version".to_owned())
                    }
                    _ => {
                        self.header.version = Some(version.clone());
                        return;
                    }
                }
            }
            Value::String(_) => ("expected one of: 1.1, 2.1, 3.0".to_owned(), "write \"3.0\"".to_owned()),
            Value::Null => ("required field missing".to_owned(), "write \"3.0\"".to_owned()),
            other => {
                let written = if other.is_number() {
                    format!("put it in quotes: \"{other:.1}\"")
                } else {
                    "write \"3.0\"".into()
                };
                ("expected a string".to_owned(), written)
            }
        };
        self.faults.kong(Stage::Schema, &path.steps, message.as_str().into());
        self.faults.say(path, Diagnostic::error("format-version", "", message).help(help));
    }

    fn info(&mut self, path: &Path, info: Map<String, Value>) {
        for (name, value) in info {
            let path = path.then(name.as_str());
            match (name.as_str(), value) {
                (_, Value::Null) | ("default_lookup_tags" | "consumer_group_policy_overrides", _) => {}
                ("select_tags", Value::Array(tags)) if tags.iter().all(Value::is_string) => {
                    let tags =
                        tags.into_iter().filter_map(|tag| if let Value::String(tag) = tag { Some(tag) } else { None });
                    self.header.tags.extend(tags);
                }
                ("select_tags", _) => self.fault(path, "expected an array"),
                ("defaults", Value::Object(defaults)) => self.defaults(&path, defaults),
                ("defaults", _) => self.fault(path, "expected a record"),
                (name, _) => {
                    let mut diagnostic = Diagnostic::error("unknown-field", "", "unknown field");
                    diagnostic.help =
                        unsupported::did_you_mean(name, ["select_tags", "default_lookup_tags", "defaults"]);
                    self.faults.kong(Stage::Schema, &path.steps, "unknown field".into());
                    self.faults.say_at_key(path, diagnostic);
                }
            }
        }
    }

    fn defaults(&mut self, path: &Path, defaults: Map<String, Value>) {
        for (name, values) in defaults {
            let path = path.then(name.as_str());
            let kind = Kind::ALL.into_iter().find(|kind| kind.collection().strip_suffix('s') == Some(&name));
            match (kind, values) {
                (_, Value::Null) => {}
                (Some(kind), Value::Object(values)) => {
                    self.header.defaults.insert(kind, values);
                }
                (Some(_), _) => self.fault(path, "expected a record"),
                (None, _) => {
                    let mut diagnostic = Diagnostic::error("unknown-field", "", "unknown field");
                    diagnostic.help = unsupported::did_you_mean(&name, ["service", "route", "upstream", "target"]);
                    self.faults.kong(Stage::Schema, &path.steps, "unknown field".into());
                    self.faults.say_at_key(path, diagnostic);
                }
            }
        }
    }

    /// Vaults over the environment are known; others are not supported.
    fn vaults(&mut self, path: Path, body: Body<'s>) {
        let mut list = Vec::new();
        match body.each(self.text(path.file), |_, vault| list.push(vault)) {
            Ok(()) => {}
            Err(NoList::Type) => return self.fault(path, "expected an array"),
            Err(NoList::Syntax(fault)) => return self.syntax(path.file, &fault),
        }
        for (n, vault) in list.into_iter().enumerate() {
            let path = path.then(n);
            match vault {
                Value::Object(vault) => match vault.get("name").and_then(Value::as_str) {
                    Some("env") => {
                        if let Err((field, message)) = self.vaults.add(&vault) {
                            self.fault(path.then_field(field), &message);
                        }
                    }
                    Some(name) => {
                        let message = format!("vault '{name}' is not supported by Portcullis (only 'env')");
                        self.unsupported(
                            path.then("name"),
                            "unsupported-entity",
                            message,
                            "vault is not installed",
                            None,
                        );
                    }
                    None => self.fault(path.then("name"), "required field missing"),
                },
                _ => self.fault(path, "expected a record"),
            }
        }
    }
}
