//! The process's own log: `tracing`, and what Pingora and other crates write through `log`, as text or JSON lines.

use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing_log::log;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, fmt, reload};

use super::output::{Output, Target};

/// Kong's log levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Notice,
    Warn,
    Error,
    Crit,
}

impl Level {
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Debug, "debug"),
        (Self::Info, "info"),
        (Self::Notice, "notice"),
        (Self::Warn, "warn"),
        (Self::Error, "error"),
        (Self::Crit, "crit"),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(level, _)| *level == self).map_or("notice", |(_, name)| name)
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(level, _)| *level)
    }

    /// Own messages by the level, other crates' one level stricter. Those that handle requests are silent at every level: where
    /// one is malformed their lines quote it, and with it whatever token it holds. `notice` is `info` here: there is no level
    /// between `info` and `warn`.
    fn filter(self) -> EnvFilter {
        let mut text = match self {
            Self::Debug => "info,portcullis=debug",
            Self::Info | Self::Notice => "warn,portcullis=info",
            Self::Warn => "warn",
            Self::Error | Self::Crit => "error",
        }
        .to_owned();
        for target in QUOTING {
            text.push_str(&format!(",{target}=off"));
        }
        EnvFilter::new(text)
    }

    /// What the `log` crate lets through at all. Pingora has dozens of `debug!` lines on the path of a request; below this level
    /// each costs one comparison, above it a call of the logger that turns the record away.
    fn foreign(self) -> log::LevelFilter {
        match self {
            Self::Debug => log::LevelFilter::Info,
            Self::Info | Self::Notice | Self::Warn => log::LevelFilter::Warn,
            Self::Error | Self::Crit => log::LevelFilter::Error,
        }
    }
}

/// Crates whose log lines may quote requests and responses.
const QUOTING: [&str; 9] =
    ["pingora", "pingora_core", "pingora_proxy", "pingora_http", "h2", "hyper", "hyper_util", "reqwest", "httparse"];

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Output>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().flush()
    }
}

/// The running log: its level can be changed, its file opened anew.
#[derive(Clone)]
pub struct Log {
    output: Shared,
    filter: reload::Handle<EnvFilter, Registry>,
    level: Arc<Mutex<Level>>,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Log({})", self.level().name())
    }
}

impl Log {
    /// Sets the process's log up; once.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn start(target: &Target, level: Level, format: Format) -> io::Result<Self> {
        let output = Shared(Arc::new(Mutex::new(Output::open(target)?)));
        let (filter, handle) = reload::Layer::new(level.filter());
        let registry = tracing_subscriber::registry().with(filter);
        let writer = {
            let output = output.clone();
            move || output.clone()
        };
        let layer = fmt::layer().with_writer(writer).with_ansi(false);
        let set = match format {
            Format::Json => tracing::subscriber::set_global_default(
                registry.with(layer.json().flatten_event(true).with_current_span(false).with_span_list(false)),
            ),
            Format::Text => tracing::subscriber::set_global_default(registry.with(layer)),
        };
        if set.is_ok() {
            // Fails only when a logger is there already; then its records go where they went before.
            let _ = tracing_log::LogTracer::builder().with_max_level(level.foreign()).init();
        }
        Ok(Self { output, filter: handle, level: Arc::new(Mutex::new(level)) })
    }

    pub fn level(&self) -> Level {
        *self.level.lock()
    }

    /// Changes the level from now on.
    pub fn set_level(&self, level: Level) {
        if self.filter.reload(level.filter()).is_ok() {
            log::set_max_level(level.foreign());
            *self.level.lock() = level;
        }
    }

    /// Opens the log file anew.
    ///
    /// # Errors
    /// When that fails; the old file stays in use.
    pub fn reopen(&self) -> io::Result<()> {
        self.output.0.lock().reopen()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter would let through must not be stopped before it: the filter's word for crates it does not name, and the
    /// one for all that can come through `log`.
    #[test]
    fn other_crates_reach_the_filter() {
        for (level, name) in Level::ALL {
            let filter = level.filter().to_string();
            let general = filter.split(',').find(|directive| !directive.contains('='));
            let general: log::LevelFilter = general.and_then(|level| level.parse().ok()).unwrap();
            assert_eq!(level.foreign(), general, "{name}");
        }
    }
}
