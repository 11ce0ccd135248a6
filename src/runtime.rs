//! The running process: settings, listeners, signals, reload, graceful upgrade.
//!
//! Owns what a process does once (bind, load, serve, end) and what it does when told (signals). Cold path, except for the
//! connection's way from `accept` to the gateway. Must not know what a request is about.

mod configuration;
mod gate;
mod host;
mod huge_pages;
pub mod listen;
mod notify;
mod options;
mod process;
pub mod proxy_protocol;
mod server;
pub mod settings;
mod signals;
pub mod sockets;
pub mod status;
pub mod stream;
mod tls;
mod tokens;
pub mod upgrade;

use std::io::Write;
use std::process::ExitCode;

use rustix::process::{Pid, Signal, kill_process};

use self::settings::Settings;
use crate::telemetry::logging::Log;

pub use self::options::gateway_options;

/// How a process is started.
#[derive(Default)]
pub struct Start {
    /// Take the listening sockets over from the process that runs already.
    pub upgrade: bool,
    /// Called once, when requests are being served.
    pub on_ready: Option<Box<dyn FnOnce() + Send>>,
}

/// Makes aws-lc the one provider of cryptography for TLS and for `jsonwebtoken`; before anything else uses either.
pub fn install_crypto_providers() {
    // Both fail only when a provider is there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

/// Threads beside the workers: Admin API, status, reloads.
const CONTROL_THREADS: usize = 2;

/// Serves until told to stop.
pub fn run(settings: Settings, start: Start) -> ExitCode {
    install_crypto_providers();
    match serve(settings, start) {
        Ok(()) => ExitCode::SUCCESS,
        Err(faults) => {
            for fault in faults {
                // Standard error may be closed; there is nobody to tell then.
                let _ = writeln!(std::io::stderr(), "error: {fault}");
            }
            ExitCode::FAILURE
        }
    }
}

fn serve(settings: Settings, start: Start) -> Result<(), process::Failure> {
    if let Some(names) = &settings.plugins.0 {
        crate::plugins::tables::enable_only(names.clone());
    }
    huge_pages::hold_back();
    let log = Log::start(&settings.proxy_error_log, settings.log_level, settings.log_format)
        .map_err(|error| vec![format!("the log cannot be opened: {error}")])?;
    let worker_threads = settings.worker_threads.or_else(cores).max(1);
    let threads = |name: &str, count| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(count)
            .thread_name(name)
            .enable_all()
            .build()
            .map_err(|error| vec![format!("threads cannot be started: {error}")])
    };
    let (workers, control) = (threads("worker", worker_threads)?, threads("control", CONTROL_THREADS)?);
    let runtimes = process::Runtimes { workers: workers.handle().clone(), worker_threads };
    let result = control.block_on(process::run(settings, start, log, runtimes));
    // Requests that outlived the grace period are not waited for.
    workers.shutdown_background();
    control.shutdown_background();
    result
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Tells the running process of these settings to load its configuration anew.
pub fn reload(settings: &Settings) -> ExitCode {
    let path = settings.pid_path();
    let told = host::read_pid(&path)
        .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
        .ok_or_else(|| format!("{} names no process; is the gateway running with this prefix?", path.display()))
        .and_then(|pid| match kill_process(pid, Signal::HUP) {
            Ok(()) => Ok(pid),
            Err(error) => Err(format!("process {} of {} cannot be told: {error}", pid.as_raw_pid(), path.display())),
        });
    match told {
        Ok(pid) => {
            let _ = writeln!(std::io::stdout(), "process {} reloads; its log says the result", pid.as_raw_pid());
            ExitCode::SUCCESS
        }
        Err(fault) => {
            let _ = writeln!(std::io::stderr(), "error: {fault}");
            ExitCode::FAILURE
        }
    }
}
