//! `portcullis migrations` and `portcullis config`: the database, without a gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use super::check::print_diagnostics;
use super::{INVALID, SettingsArgs, print_error, print_json, print_line};
use crate::declarative;
use crate::entity::Dataset;
use crate::store::{self, Difference, Store};

#[derive(Debug, clap::Subcommand)]
pub enum Migrations {
    /// Bring the database's tables up to date.
    Up(SettingsArgs),
    /// List migrations and whether the database has them. Exit code 1 if one is missing.
    Status(SettingsArgs),
}

#[derive(Debug, clap::Subcommand)]
pub enum Config {
    /// Write declarative files into the database; what is there already is replaced, nothing is deleted.
    Import(Files),
    /// Print what the database holds as a declarative file.
    Export(SettingsArgs),
    /// Show what an import would add and change, and what the files lack. Exit code 1 if anything differs.
    Diff(Files),
}

#[derive(Debug, clap::Args)]
pub struct Files {
    /// Files or folders, read together as one configuration.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Take unsupported plugins and entities for warnings.
    #[arg(long)]
    ignore_unsupported: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What went wrong was said already, or is to be said.
enum Failure {
    Told,
    Tell(String),
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Tell(error.to_string())
    }
}

type Done = Result<bool, Failure>;

pub fn migrations(command: &Migrations) -> ExitCode {
    finish(async {
        match command {
            Migrations::Up(settings) => {
                store::open(&url(settings)?).await?.close().await;
                print_line("the database is up to date");
                Ok(true)
            }
            Migrations::Status(settings) => {
                let store = Store::connect(&url(settings)?, false).await?;
                let all = store.migrations().await?;
                for migration in &all {
                    let state = if migration.applied { "applied" } else { "missing" };
                    print_line(&format!("{:>14}  {state}  {}", migration.version, migration.description));
                }
                Ok(all.iter().all(|migration| migration.applied))
            }
        }
    })
}

pub fn config(command: &Config) -> ExitCode {
    finish(async {
        match command {
            Config::Import(files) => {
                let dataset = files.load()?;
                let imported = store::open(&url(&files.settings)?).await?.import(&dataset).await?;
                if files.json {
                    print_json(&serde_json::to_value(imported)?);
                } else {
                    let (created, replaced, unchanged) = (imported.created, imported.replaced, imported.unchanged);
                    print_line(&format!("{created} created, {replaced} replaced, {unchanged} unchanged"));
                }
                Ok(true)
            }
            Config::Export(settings) => {
                let dataset = store::open(&url(settings)?).await?.export().await?;
                print_line(declarative::export(&dataset).trim_end());
                Ok(true)
            }
            Config::Diff(files) => {
                let dataset = files.load()?;
                let there = store::open(&url(&files.settings)?).await?.export().await?;
                let differences = store::diff(&there, &dataset);
                if files.json {
                    print_json(&serde_json::to_value(&differences)?);
                } else {
                    differences.iter().for_each(|difference| print_line(&in_words(difference)));
                }
                Ok(differences.is_empty())
            }
        }
    })
}

impl Files {
    fn load(&self) -> Result<Dataset, Failure> {
        let options = declarative::Options { ignore_unsupported: self.ignore_unsupported, ..Default::default() };
        match declarative::load_files(&self.files, &options) {
            Ok(loaded) => {
                print_diagnostics(&loaded.diagnostics);
                Ok(loaded.dataset)
            }
            Err(refused) => {
                print_diagnostics(&refused.diagnostics);
                Err(Failure::Told)
            }
        }
    }
}

/// The database of the settings.
fn url(settings: &SettingsArgs) -> Result<String, Failure> {
    let settings = settings.load().map_err(|_| Failure::Told)?;
    let none = "the settings name no database: set `database` to sqlite:PATH or postgres://…";
    settings.database_url().ok_or_else(|| Failure::Tell(none.into()))
}

fn in_words(difference: &Difference) -> String {
    match difference {
        Difference::Added { collection, name, .. } => format!("+ {collection} {name}"),
        Difference::Removed { collection, name, .. } => format!("- {collection} {name}"),
        Difference::Changed { collection, name, fields, .. } => format!("~ {collection} {name}: {}", fields.join(", ")),
    }
}

fn finish(work: impl Future<Output = Done>) -> ExitCode {
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(work));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) | Err(Failure::Told) => ExitCode::from(INVALID),
        Err(Failure::Tell(error)) => {
            print_error(&format!("error: {error}"));
            ExitCode::from(INVALID)
        }
    }
}
