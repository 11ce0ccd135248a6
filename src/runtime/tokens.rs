//! The store of issued tokens as the settings want it, and its sweeping.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::settings::Settings;
use crate::store::tokens::{JournalFault, LocalTokens};

/// How often what has ended is forgotten.
const SWEEP: Duration = Duration::from_secs(60);

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// # Errors
/// When the token file cannot be used.
pub fn open(settings: &Settings) -> Result<Arc<LocalTokens>, JournalFault> {
    Ok(Arc::new(match settings.token_path() {
        Some(path) => LocalTokens::in_file(&path, now())?,
        None => LocalTokens::in_memory(),
    }))
}

/// Sweeps until the process stops.
pub async fn sweep(tokens: Arc<LocalTokens>, mut stopping: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopping.changed() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
        let tokens = tokens.clone();
        let swept = tokio::task::spawn_blocking(move || tokens.sweep(now())).await;
        if let Ok(Err(error)) = swept {
            tracing::error!(%error, "the token file cannot be written anew");
        }
    }
}
