//! Where log lines go: a file that can be opened anew, or a standard stream.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::str::FromStr;

/// The value of a log setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Off,
    Stdout,
    Stderr,
    File(PathBuf),
}

impl FromStr for Target {
    type Err = std::convert::Infallible;

    /// `off`, `stdout` or `/dev/stdout`, `stderr` or `/dev/stderr`; anything else is a path.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "off" | "" => Self::Off,
            "stdout" | "/dev/stdout" => Self::Stdout,
            "stderr" | "/dev/stderr" => Self::Stderr,
            path => Self::File(path.into()),
        })
    }
}

/// An open [`Target`].
#[derive(Debug)]
pub enum Output {
    Off,
    Stdout,
    Stderr,
    File { path: PathBuf, file: File },
}

impl Output {
    /// # Errors
    /// When the file or its directory cannot be made or opened.
    pub fn open(target: &Target) -> io::Result<Self> {
        Ok(match target {
            Target::Off => Self::Off,
            Target::Stdout => Self::Stdout,
            Target::Stderr => Self::Stderr,
            Target::File(path) => Self::File { path: path.clone(), file: open(path)? },
        })
    }

    /// Opens the file of the same name anew, after a rotation moved the old one away. On failure the old one stays in use.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn reopen(&mut self) -> io::Result<()> {
        if let Self::File { path, file } = self {
            *file = open(path)?;
        }
        Ok(())
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Off => Ok(bytes.len()),
            Self::Stdout => io::stdout().lock().write(bytes),
            Self::Stderr => io::stderr().lock().write(bytes),
            Self::File { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Off => Ok(()),
            Self::Stdout => io::stdout().lock().flush(),
            Self::Stderr => io::stderr().lock().flush(),
            Self::File { file, .. } => file.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_file_is_made_anew() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("logs/access.log");
        let mut output = Output::open(&Target::File(path.clone()))?;
        output.write_all(b"one\n")?;
        std::fs::rename(&path, directory.path().join("old"))?;
        output.write_all(b"two\n")?;
        output.reopen()?;
        output.write_all(b"three\n")?;
        assert_eq!(std::fs::read_to_string(directory.path().join("old"))?, "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(path)?, "three\n");
        Ok(())
    }
}
