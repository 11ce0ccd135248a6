//! The store of issued tokens as the settings want it, and its upkeep.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::huge_pages;
use super::settings::Settings;
use crate::auth::oauth2::TokenStore;
use crate::store::Store;
use crate::store::tokens::{JournalFault, LocalTokens, SqlTokens};

/// How often what another process wrote to the token file is looked for, while one takes over from another.
const FOLLOW: Duration = Duration::from_secs(1);

/// How often what has ended is forgotten.
const SWEEP: Duration = Duration::from_secs(60);

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Where this process keeps tokens.
#[derive(Clone, Debug)]
pub enum Tokens {
    Local(Arc<LocalTokens>),
    Sql(Arc<SqlTokens>),
}

impl Tokens {
    /// Those of the database, where there is one. Their work is done on the runtime this is called on.
    ///
    /// # Errors
    /// When the token file cannot be used.
    pub fn open(settings: &Settings, database: Option<&Store>) -> Result<Self, JournalFault> {
        Ok(match (database, settings.token_path()) {
            (Some(database), _) => Self::Sql(SqlTokens::new(database.clone())),
            (None, Some(path)) => {
                huge_pages::let_go_for(std::slice::from_ref(&path));
                Self::Local(Arc::new(LocalTokens::in_file(&path, now())?))
            }
            (None, None) => Self::Local(Arc::new(LocalTokens::in_memory())),
        })
    }

    pub fn store(&self) -> Arc<dyn TokenStore> {
        match self {
            Self::Local(tokens) => tokens.clone(),
            Self::Sql(tokens) => tokens.clone(),
        }
    }

    /// Keeps them in order until the process stops.
    pub async fn run(self, stopping: watch::Receiver<bool>) {
        match self {
            Self::Local(tokens) => sweep(tokens, stopping).await,
            Self::Sql(tokens) => tokens.run(stopping).await,
        }
    }
}

async fn sweep(tokens: Arc<LocalTokens>, mut stopping: watch::Receiver<bool>) {
    let mut swept = Instant::now();
    loop {
        tokio::select! {
            _ = stopping.changed() => return,
            () = tokio::time::sleep(FOLLOW) => {}
        }
        let (tokens, due) = (tokens.clone(), swept.elapsed() >= SWEEP);
        if due {
            swept = Instant::now();
        }
        let done = tokio::task::spawn_blocking(move || {
            tokens.follow()?;
            if due { tokens.sweep(now()) } else { Ok(()) }
        });
        if let Ok(Err(error)) = done.await {
            tracing::error!(%error, "the token file cannot be read, or written anew");
        }
    }
}
