//! The migration report of `portcullis check`: what of a Kong configuration moves over, and what does not.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::declarative;
use crate::diagnostic::Diagnostic;
use crate::entity::{Dataset, Kind, Protocol};

/// Findings about settings that load and change nothing.
const WITHOUT_EFFECT: [&str; 5] = ["path-handling-v1", "protocol", "tls-verify-depth", "use-srv-name", "workspace"];

/// What does not move over, each with the places where it stands.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Plugins that keep requests out of a service. Without them more passes than Kong would let through.
    pub guards: BTreeMap<String, Vec<String>>,
    pub plugins: BTreeMap<String, Vec<String>>,
    /// Kinds of entities.
    pub entities: BTreeMap<String, Vec<String>>,
    /// Settings that load and have no effect.
    pub without_effect: Vec<String>,
    /// Routes for protocols that are not proxied.
    pub unserved_routes: Vec<String>,
}

impl Report {
    /// Gathers what findings say; `dataset` is what is left of the configuration.
    pub fn new(findings: &[Diagnostic], dataset: Option<&Dataset>) -> Self {
        let mut report = Self::default();
        for finding in findings {
            let place = finding.place.as_ref().map_or_else(|| finding.path.clone(), ToString::to_string);
            match finding.code {
                "unsupported-plugin" | "unknown-plugin" => {
                    let name = quoted(&finding.message).unwrap_or("of a consumer group").to_owned();
                    let list = if declarative::may_guard(&name) { &mut report.guards } else { &mut report.plugins };
                    list.entry(name).or_default().push(place);
                }
                "unsupported-entity" => {
                    let name = quoted(&finding.message).unwrap_or("entities").to_owned();
                    report.entities.entry(name).or_default().push(place);
                }
                code if WITHOUT_EFFECT.contains(&code) => {
                    report.without_effect.push(format!("{}: {}", finding.path, finding.message));
                }
                _ => {}
            }
        }
        let stream = |protocol: &Protocol| {
            matches!(protocol, Protocol::Tcp | Protocol::Tls | Protocol::TlsPassthrough | Protocol::Udp)
        };
        for route in dataset.iter().flat_map(|dataset| &dataset.routes) {
            if route.protocols.iter().all(stream) {
                report.unserved_routes.push(route.name.clone().unwrap_or_else(|| route.id.to_string()));
            }
        }
        report
    }

    /// Whether everything moves over.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The report for people.
    pub fn render(&self, dataset: Option<&Dataset>) -> String {
        let mut out = String::from("migration report\n");
        if let Some(dataset) = dataset {
            out += &format!("  moves over: {}\n", held(dataset));
        }
        let lists = [
            ("does not, and what it refuses would pass", &self.guards),
            ("does not", &self.plugins),
            ("entities that do not", &self.entities),
        ];
        for (title, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            out += &format!("  {title}:\n");
            let width = list.keys().map(String::len).max().unwrap_or(0);
            for (name, places) in list {
                out += &format!("    {name:width$}  {}\n", places.join(", "));
            }
        }
        let lists = [
            ("loads and has no effect", &self.without_effect),
            ("routes that are not served (only HTTP and gRPC are)", &self.unserved_routes),
        ];
        for (title, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            out += &format!("  {title}:\n");
            list.iter().for_each(|line| out += &format!("    {line}\n"));
        }
        out.truncate(out.trim_end().len());
        out
    }
}

/// Kinds and how many there are of each.
pub fn held(dataset: &Dataset) -> String {
    let held: Vec<String> = Kind::ALL
        .into_iter()
        .filter(|kind| dataset.count(*kind) > 0)
        .map(|kind| format!("{} {}", dataset.count(kind), kind.collection()))
        .collect();
    if held.is_empty() { "nothing".to_owned() } else { held.join(", ") }
}

/// Findings name what they are about in quotes.
fn quoted(message: &str) -> Option<&str> {
    message.split('\'').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_stand_apart() {
        let finding = |name: &str| {
            let message = format!("plugin '{name}' is not supported by Portcullis");
            Diagnostic::error("unsupported-plugin", "plugins[0].name", message)
        };
        let report = Report::new(&[finding("acl"), finding("file-log"), finding("acl")], None);
        assert_eq!(report.guards["acl"].len(), 2);
        assert_eq!(report.plugins["file-log"], ["plugins[0].name"]);
        assert!(
            report.render(None).contains("what it refuses would pass:\n    acl  plugins[0].name, plugins[0].name\n")
        );
        assert!(Report::new(&[], Some(&Dataset::default())).is_empty());
    }
}
