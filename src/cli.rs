//! The commands.
//!
//! Owns the command line: what can be typed, help texts, exit codes (0 ok, 1 invalid, 2 usage), and how results are printed.
//! The work itself is done in other rooms.

mod check;
mod database;
mod demo;
mod explain;
mod idp;
mod migration;
mod token;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::runtime;
use crate::runtime::settings::Settings;

/// An edge proxy that reads Kong configurations and authenticates every request before it reaches a service.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the gateway.
    Run(RunArgs),
    /// Read declarative files and print every fault and trap, without starting anything.
    #[command(visible_alias = "validate", short_flag = 't')]
    Check(check::Args),
    /// Make a running gateway read its configuration again.
    Reload(SettingsArgs),
    /// Start the gateway with a sample configuration and a service to call, and print what to type.
    Demo(demo::Args),
    /// Start an identity provider for development: discovery, keys, tokens, and faults on demand.
    Idp(idp::Args),
    /// The tables of the database.
    #[command(subcommand)]
    Migrations(database::Migrations),
    /// Declarative files into the database and back.
    #[command(subcommand)]
    Config(database::Config),
    /// Mint, inspect and verify tokens.
    #[command(subcommand)]
    Token(token::Command),
    /// Say why a token or request would be refused, check by check.
    Explain(Box<explain::Args>),
    /// Print the version.
    Version {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print a completion script for a shell.
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, clap::Args)]
pub(crate) struct SettingsArgs {
    /// The settings file. Without it ./conf/portcullis.yaml and /etc/portcullis/portcullis.yaml are looked for;
    /// PORTCULLIS_* variables win over any file.
    #[arg(short = 'c', long = "conf", value_name = "FILE")]
    conf: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Take the listening sockets over from a running gateway, which is then told to finish (SIGQUIT).
    #[arg(long)]
    upgrade: bool,
}

impl SettingsArgs {
    fn load(&self) -> Result<Settings, ExitCode> {
        Settings::load(self.conf.as_deref()).map_err(|faults| {
            check::print_diagnostics(&faults);
            ExitCode::from(INVALID)
        })
    }
}

/// Exit code for something invalid: a configuration, a token.
const INVALID: u8 = 1;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    runtime::install_crypto_providers();
    match Cli::parse().command {
        Command::Run(args) => match args.settings.load() {
            Ok(settings) => runtime::run(settings, runtime::Start { upgrade: args.upgrade, on_ready: None }),
            Err(code) => code,
        },
        Command::Check(args) => check::run(&args),
        Command::Reload(args) => match args.load() {
            Ok(settings) => runtime::reload(&settings),
            Err(code) => code,
        },
        Command::Demo(args) => demo::run(&args),
        Command::Idp(args) => idp::run(&args),
        Command::Migrations(command) => database::migrations(&command),
        Command::Config(command) => database::config(&command),
        Command::Token(command) => token::run(command),
        Command::Explain(args) => explain::run(&args),
        Command::Version { json } => version(json),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "portcullis", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
    }
}

fn version(json: bool) -> ExitCode {
    let version = env!("CARGO_PKG_VERSION");
    if json {
        print_json(&serde_json::json!({ "name": "portcullis", "version": version }));
    } else {
        print_line(&format!("portcullis {version}"));
    }
    ExitCode::SUCCESS
}

/// A line to standard output; a closed pipe is not an error.
fn print_line(line: &str) {
    let _closed = writeln!(std::io::stdout(), "{line}");
}

/// A line to standard error.
fn print_error(line: &str) {
    let _closed = writeln!(std::io::stderr(), "{line}");
}

fn print_json(value: &serde_json::Value) {
    print_line(&format!("{value:#}"));
}
