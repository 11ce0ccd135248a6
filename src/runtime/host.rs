//! What the process asks of the machine: its directory, its pid file, its limit of open files.

use std::path::Path;

use super::settings::Settings;

/// Makes the directory of the process's own files.
pub fn prepare_prefix(settings: &Settings) {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&settings.prefix);
    if let Err(error) = made {
        tracing::warn!(%error, "{} cannot be made; there will be no pid file and no upgrade", settings.prefix.display());
    }
}

/// Raises the limit of open files as far as the system lets us, and returns it.
pub fn raise_file_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Fails where the hard limit was lowered meanwhile; the old limit holds then.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.map_or(1 << 20, |files| usize::try_from(files).unwrap_or(1 << 20))
}

/// Writes the process id for `portcullis reload`.
pub fn write_pid(path: &Path) {
    if let Err(error) = std::fs::write(path, format!("{}\n", std::process::id())) {
        tracing::warn!(%error, "{} cannot be written; `portcullis reload` will not find this process", path.display());
    }
}

/// The process id in a pid file.
pub fn read_pid(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
