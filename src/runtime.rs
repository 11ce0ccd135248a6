//! The running process: settings, listeners, signals, reload, graceful upgrade.
//!
//! Owns what a process does once (bind, load, serve, end) and what it does when told (signals). Cold path, except for the
//! connection's way from `accept` to the gateway. Must not know what a request is about.

pub mod listen;
pub mod settings;

use std::process::ExitCode;

use self::settings::Settings;

/// How a process is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// Take the listening sockets over from the process that runs already.
    pub upgrade: bool,
}

/// Makes aws-lc the one provider of cryptography for TLS and for `jsonwebtoken`; before anything else uses either.
pub fn install_crypto_providers() {
    // Both fail only when a provider is there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

/// Serves until told to stop.
pub fn run(_settings: Settings, _start: Start) -> ExitCode {
    ExitCode::FAILURE
}

/// Tells the running process of these settings to load its configuration anew.
pub fn reload(_settings: &Settings) -> ExitCode {
    ExitCode::FAILURE
}
