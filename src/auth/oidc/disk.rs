//! The last good keys of a provider on disk, for a start while it is away.
//!
//! One file a provider, named by a hash of what is fetched; written anew as a whole. What is read is checked as if it had come
//! over the network. Holds public keys only.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::provider::{Keys, Metadata, Published, Source, read_keys};
use crate::jose::base64url;

/// Older keys are not believed: a key that was withdrawn meanwhile must not come back for ever.
const OLDEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Largest file that is read.
const MOST: u64 = 8 * 1024 * 1024;

/// Modes of files: ours, and those that are not ours alone.
const OWN: u32 = 0o600;
const OTHERS_MAY_WRITE: u32 = 0o022;

/// A folder of such files.
#[derive(Clone, Debug)]
pub struct Disk {
    pub folder: PathBuf,
}

/// A file's content.
#[derive(Debug, Serialize, Deserialize)]
pub struct Kept {
    configured: String,
    /// Seconds since the UNIX epoch.
    confirmed: u64,
    metadata: Metadata,
    keys: Vec<KeptKeys>,
    #[serde(skip)]
    name: String,
}

/// One key set.
#[derive(Debug, Serialize, Deserialize)]
struct KeptKeys {
    url: String,
    #[serde(default)]
    extra: bool,
    text: String,
}

impl KeptKeys {
    fn of(keys: &Keys) -> Self {
        Self { url: keys.url.to_string(), extra: keys.extra, text: keys.text.to_string() }
    }

    fn read(&self) -> Option<Keys> {
        read_keys(self.url.parse().ok()?, &self.text, self.extra).ok()
    }
}

impl Kept {
    pub fn of(source: &Source, published: &Published) -> Self {
        Self {
            configured: source.issuer.clone(),
            confirmed: published.confirmed.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            metadata: published.metadata.clone(),
            keys: published.keys.iter().map(KeptKeys::of).collect(),
            name: name(source),
        }
    }
}

fn name(source: &Source) -> String {
    let mut text = source.issuer.clone();
    for url in source.discovery.iter().chain(&source.jwks).chain(&source.extra) {
        text.push('\n');
        text.push_str(url.as_str());
    }
    let hash = digest(&SHA256, text.as_bytes());
    format!("issuer-{}.json", base64url::encode(hash.as_ref().get(..16).unwrap_or_default()))
}

impl Disk {
    /// Nothing, when there is no file, or one that does not hold what it should.
    pub fn load(&self, source: &Source) -> Option<Published> {
        let path = self.folder.join(name(source));
        let found = fs::metadata(&path).ok()?;
        if found.len() > MOST {
            return None;
        }
        if found.mode() & OTHERS_MAY_WRITE != 0 {
            tracing::warn!(path = %path.display(), "keys that others may have written are not believed");
            return None;
        }
        let kept: Kept = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let confirmed = UNIX_EPOCH.checked_add(Duration::from_secs(kept.confirmed))?;
        // From the future: the clock was wrong then or is now.
        let young = SystemTime::now().duration_since(confirmed).map_or(true, |age| age <= OLDEST);
        let ours = kept.configured == source.issuer && source.is_named(&kept.metadata.issuer);
        if !young || !ours {
            return None;
        }
        let keys: Vec<_> = kept.keys.iter().filter_map(KeptKeys::read).collect();
        (!keys.is_empty()).then_some(Published { metadata: kept.metadata, keys, confirmed })
    }

    /// Fails without harm: the file is for the next start.
    pub fn keep(&self, kept: &Kept) {
        if let Err(error) = self.write(kept) {
            tracing::warn!(issuer = kept.configured, %error, "the provider's keys could not be kept on disk");
        }
    }

    fn write(&self, kept: &Kept) -> std::io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let temporary = self.folder.join(format!("{}.{}.tmp", kept.name, uuid::Uuid::new_v4().simple()));
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(OWN)
            .open(&temporary)
            .and_then(|mut file| file.write_all(&serde_json::to_vec(kept)?))
            .and_then(|()| fs::rename(&temporary, self.folder.join(&kept.name)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}
