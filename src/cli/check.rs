//! `portcullis check`: every fault of a declarative configuration at once, and the traps in it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::migration::{Report, held};
use super::{INVALID, print_error, print_json, print_line};
use crate::declarative;
use crate::diagnostic::{Diagnostic, Severity};
use crate::entity::{Dataset, Kind};
use crate::plugins::Registries;
use crate::snapshot::{Origin, Resources, Snapshot};
use crate::store::tokens::LocalTokens;
use crate::telemetry::Metrics;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files or folders, read together as one configuration.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
    /// Take unsupported plugins and entities for warnings.
    #[arg(long)]
    ignore_unsupported: bool,
    /// Exit 1 on warnings too.
    #[arg(long)]
    strict: bool,
}

pub fn run(args: &Args) -> ExitCode {
    let options = declarative::Options {
        ignore_unsupported: args.ignore_unsupported,
        keep_places: true,
        ..declarative::Options::default()
    };
    let (dataset, mut findings, traps) = match declarative::load_files(&args.files, &options) {
        Ok(loaded) => {
            let traps = loaded.lint(options.now);
            (Some(loaded.dataset), loaded.diagnostics, traps)
        }
        Err(refused) => {
            let (rest, traps) = rest(args, &options, &refused.diagnostics);
            (rest, refused.diagnostics, traps)
        }
    };
    if let Some(dataset) = &dataset {
        match Snapshot::compile(dataset.clone(), Origin::none(), &resources()) {
            Ok((_, warnings)) => findings.extend(warnings),
            Err(faults) => findings.extend(faults),
        }
        findings.extend(traps);
    }
    let report = Report::new(&findings, dataset.as_ref());
    let invalid = findings.iter().any(|finding| finding.is_error() || args.strict);
    if args.json {
        print_json(&serde_json::json!({
            "valid": !invalid,
            "entities": dataset.as_ref().map(counts),
            "diagnostics": findings,
            "migration": (!report.is_empty()).then_some(&report),
        }));
    } else {
        print_diagnostics(&findings);
        if !report.is_empty() {
            print_error(&report.render(dataset.as_ref()));
        }
        let (errors, warnings) = (count(&findings, Severity::Error), count(&findings, Severity::Warning));
        match &dataset {
            Some(dataset) if !invalid => {
                print_line(&format!("configuration is valid: {}; {warnings} warning(s)", held(dataset)));
            }
            _ => print_error(&format!("configuration is invalid: {errors} error(s), {warnings} warning(s)")),
        }
    }
    if invalid { ExitCode::from(INVALID) } else { ExitCode::SUCCESS }
}

/// What is left of a configuration in which only unsupported plugins and entities are at fault, with its traps: whoever moves
/// over from Kong sees everything at once.
fn rest(args: &Args, options: &declarative::Options, faults: &[Diagnostic]) -> (Option<Dataset>, Vec<Diagnostic>) {
    let unsupported = |fault: &Diagnostic| matches!(fault.code, "unsupported-plugin" | "unsupported-entity");
    if !faults.iter().filter(|fault| fault.is_error()).all(unsupported) {
        return (None, Vec::new());
    }
    let options = declarative::Options { ignore_unsupported: true, ..options.clone() };
    match declarative::load_files(&args.files, &options) {
        Ok(loaded) => {
            let traps = loaded.lint(options.now);
            (Some(loaded.dataset), traps)
        }
        Err(_) => (None, Vec::new()),
    }
}

/// What a snapshot is compiled with when nothing is going to be served from it.
pub fn resources() -> Resources {
    Resources {
        registries: Registries::new(Arc::new(LocalTokens::in_memory())),
        upstreams: Arc::default(),
        metrics: Arc::new(Metrics::new(false)),
    }
}

fn counts(dataset: &Dataset) -> serde_json::Map<String, serde_json::Value> {
    Kind::ALL.into_iter().map(|kind| (kind.collection().into(), dataset.count(kind).into())).collect()
}

fn count(findings: &[Diagnostic], severity: Severity) -> usize {
    findings.iter().filter(|finding| finding.severity == severity).count()
}

/// Prints findings as a compiler does: what, where, the line, the remedy.
pub fn print_diagnostics(findings: &[Diagnostic]) {
    for finding in findings {
        print_error(&render(finding));
    }
}

fn render(finding: &Diagnostic) -> String {
    let kind = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let mut text = format!("{kind}[{}]: ", finding.code);
    if !finding.path.is_empty() {
        text += &format!("{}: ", finding.path);
    }
    text += &finding.message;
    let margin = finding.place.as_ref().map_or(2, |place| place.line.to_string().len());
    if let Some(place) = &finding.place {
        text += &format!("\n{:margin$}--> {place}", "");
        if let Some(excerpt) = &finding.excerpt {
            text += &format!("\n{:margin$} |\n{} | {excerpt}", "", place.line);
            // Columns of a line that was cut, or on which something is masked, are not those of the file.
            if !excerpt.contains(['…', '•']) {
                let caret = " ".repeat(place.column.saturating_sub(1));
                text += &format!("\n{:margin$} | {caret}^", "");
            }
        }
    }
    if let Some(help) = &finding.help {
        text += &format!("\n{:margin$} = help: {help}", "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Place;

    #[test]
    fn a_finding_shows_its_line_and_the_remedy() {
        let mut finding = Diagnostic::error("schema", "services[0].port", "value should be between 0 and 65535")
            .help("use a port number");
        finding.place = Some(Place { file: "kong.yml".into(), line: 12, column: 5 });
        finding.excerpt = Some("    port: 99999".into());
        assert_eq!(
            render(&finding),
            "error[schema]: services[0].port: value should be between 0 and 65535\n  --> kong.yml:12:5\n   |\n12 |     \
             port: 99999\n   |     ^\n   = help: use a port number"
        );
    }
}
