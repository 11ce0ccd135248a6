//! The settings: what a process is told once, at its start.
//!
//! One table (`settings/table.rs`) is the source of every setting's name, type, default and description; from it come the reading
//! of `conf/portcullis.yaml` and of `PORTCULLIS_*` variables, that file itself, and `docs/settings.md`. Names are kong.conf's where
//! Kong has one. A setting that does not exist is an error with a suggestion.

mod file;
mod table;
mod value;

use std::path::{Path, PathBuf};

pub use self::table::Settings;
pub use self::value::{
    Auto, Database, DnsOrder, Plugins, Secret, Size, SslProtocols, TrustedCertificates, UpstreamHeaders, Value,
};
use crate::diagnostic::Diagnostic;

/// What the table says about one setting.
#[derive(Debug)]
pub struct Setting {
    pub name: &'static str,
    pub section: &'static str,
    /// What values look like.
    pub kind: &'static str,
    pub default: &'static str,
    pub description: &'static str,
}

impl Setting {
    /// The environment variable that overrides the file.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase())
    }
}

const VARIABLE_PREFIX: &str = "PORTCULLIS_";

/// Variables with the prefix that are no settings.
const OTHER_VARIABLES: [&str; 2] = ["PORTCULLIS_COMMIT", "PORTCULLIS_BIN"];
/// And those of the tests.
const TEST_VARIABLES: &str = "PORTCULLIS_TEST_";

/// Settings of Kong's that Portcullis has none of, by how their names begin, and what to do instead.
const KONGS: [(&str, &str); 10] = [
    ("dns_resolver", "names are resolved as by any other program here: /etc/resolv.conf and /etc/hosts"),
    ("dns_hostsfile", "names are resolved as by any other program here: /etc/resolv.conf and /etc/hosts"),
    ("dns_no_sync", "a name is resolved once at a time and never by a request: there is nothing to switch"),
    ("dns_cache_size", "every name in use is kept: there is nothing to size"),
    ("dns_not_found_ttl", "dns_error_ttl holds for it"),
    ("resolver_", "see dns_order, dns_valid_ttl, dns_error_ttl and dns_stale_ttl"),
    ("router_flavor", "the router is Kong's traditional_compatible"),
    ("nginx_", "nginx is not underneath: docs/settings.md has the limits and times"),
    ("pg_", "write `database: postgres://USER:PASSWORD@HOST/NAME`"),
    ("cluster_", "gateways that share a database need no cluster settings"),
];

/// Where the settings file is looked for when none is named.
const PLACES: [&str; 2] = ["conf/portcullis.yaml", "/etc/portcullis/portcullis.yaml"];

impl Settings {
    /// Reads the file (or the first of `conf/portcullis.yaml` and `/etc/portcullis/portcullis.yaml` that is there, or none), then
    /// the environment, which wins.
    ///
    /// # Errors
    /// Every fault of file and environment.
    pub fn load(file: Option<&Path>) -> Result<Self, Vec<Diagnostic>> {
        let found = file.map(PathBuf::from).or_else(|| PLACES.iter().map(PathBuf::from).find(|place| place.is_file()));
        let text = match &found {
            None => None,
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
                vec![Diagnostic::error("settings", "", format!("{} cannot be read: {error}", path.display()))]
            })?),
        };
        let name = found.unwrap_or_default();
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(VARIABLE_PREFIX))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        Self::read(text.as_deref().map(|text| (&*name, text)), variables)
    }

    /// Reads settings from a text, standing for the file, and variables.
    ///
    /// # Errors
    /// Every fault of both.
    pub fn read(
        file: Option<(&Path, &str)>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Vec::new();
        let mut given = file.map(|(path, text)| file::read(path, text, &mut faults)).unwrap_or_default();
        for (name, value) in variables {
            let setting = name.strip_prefix(VARIABLE_PREFIX).map(str::to_ascii_lowercase).unwrap_or_default();
            if OTHER_VARIABLES.contains(&name.as_str()) || name.starts_with(TEST_VARIABLES) {
                continue;
            }
            match Self::TABLE.iter().find(|known| known.name == setting) {
                Some(known) => {
                    given.insert(known.name, file::Given { text: value, place: None, excerpt: None });
                }
                None => faults.push(unknown(&setting, &name)),
            }
        }
        let settings = Self::from_given(&given, &mut faults);
        // In the order of the file, then the environment's.
        faults.sort_by_key(|fault| fault.place.as_ref().map_or(usize::MAX, |place| place.line));
        match settings {
            Some(settings) if faults.is_empty() => {
                let faults = settings.check();
                if faults.is_empty() { Ok(settings) } else { Err(faults) }
            }
            _ => Err(faults),
        }
    }

    /// Faults of settings in combination.
    fn check(&self) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        let mut fault = |name: &str, message: &str| faults.push(Diagnostic::error("settings", name, message));
        if self.ssl_cert.len() != self.ssl_cert_key.len() {
            fault("ssl_cert_key", "ssl_cert and ssl_cert_key name as many files");
        }
        if self.client_ssl_cert.is_some() != self.client_ssl_cert_key.is_some() {
            fault("client_ssl_cert_key", "client_ssl_cert and client_ssl_cert_key go together");
        }
        if self.client_ssl && self.client_ssl_cert.is_none() {
            fault("client_ssl", "client_ssl needs client_ssl_cert and client_ssl_cert_key");
        }
        if !self.client_ssl && self.client_ssl_cert.is_some() {
            fault("client_ssl_cert", "client_ssl_cert has no effect while client_ssl is off; set `client_ssl: on`");
        }
        if !self.declarative_config.is_empty() && self.declarative_config_string.is_some() {
            fault("declarative_config_string", "declarative_config and declarative_config_string exclude each other");
        }
        for (name, listens) in [
            ("admin_listen", &self.admin_listen),
            ("admin_gui_listen", &self.admin_gui_listen),
            ("status_listen", &self.status_listen),
        ] {
            if listens.iter().any(|listen| listen.proxy_protocol || listen.http2) {
                fault(name, "http2 and proxy_protocol are for proxy_listen");
            }
        }
        faults
    }

    /// Whether the console listens where it does unless told otherwise: nobody relies on that very address.
    pub fn is_console_at_default(&self) -> bool {
        let default = Self::TABLE.iter().find(|setting| setting.name == "admin_gui_listen");
        let given = self.texts.iter().find(|(name, _)| *name == "admin_gui_listen");
        matches!((default, given), (Some(default), Some((_, given))) if default.default == given)
    }

    /// The default of every setting.
    pub fn defaults() -> Self {
        Self::read(None, []).unwrap_or_else(|faults| {
            // A test reads them; they cannot fail in a built program.
            unreachable!("default settings are invalid: {faults:?}")
        })
    }

    /// Every setting for `GET /` of the Admin API: switches and numbers as such, the rest as text, secrets masked.
    pub fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
        let value = |text: &str| match text {
            "on" => true.into(),
            "off" => false.into(),
            _ => text.parse::<u64>().map_or_else(|_| text.into(), Into::into),
        };
        self.texts.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect()
    }

    /// The database that entities live in; none where they come from declarative files.
    pub fn database_url(&self) -> Option<String> {
        match &self.database {
            Database::Off => None,
            Database::Url(url) => Some(url.clone()),
            Database::Auto if !self.declarative_config.is_empty() || self.declarative_config_string.is_some() => None,
            Database::Auto => Some(format!("sqlite:{}", self.prefix.join("portcullis.db").display())),
        }
    }

    /// A path of this process's own files.
    fn own(&self, given: Option<&PathBuf>, name: &str) -> PathBuf {
        given.cloned().unwrap_or_else(|| self.prefix.join(name))
    }

    pub fn pid_path(&self) -> PathBuf {
        self.own(self.pid_file.as_ref(), "portcullis.pid")
    }

    /// The file of issued tokens, or `None` for memory alone.
    pub fn token_path(&self) -> Option<PathBuf> {
        let path = self.own(self.oauth2_token_file.as_ref(), "oauth2-tokens.jsonl");
        (path != Path::new("off")).then_some(path)
    }

    pub fn upgrade_path(&self) -> PathBuf {
        self.own(self.upgrade_sock.as_ref(), "upgrade.sock")
    }
}

/// The fault of a setting that does not exist.
fn unknown(name: &str, shown: &str) -> Diagnostic {
    let nearest = Settings::TABLE
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known.name, name), known.name))
        .min()
        .filter(|(distance, known)| *distance <= 2.max(known.len() / 3));
    let fault = Diagnostic::error("unknown-setting", name, format!("there is no setting `{shown}`"));
    if let Some((_, instead)) = KONGS.iter().find(|(known, _)| name.starts_with(known)) {
        return fault.help(*instead);
    }
    match nearest {
        Some((_, known)) if shown.starts_with(VARIABLE_PREFIX) => {
            fault.help(format!("did you mean {VARIABLE_PREFIX}{}?", known.to_ascii_uppercase()))
        }
        Some((_, known)) => fault.help(format!("did you mean `{known}`?")),
        None => fault.help("docs/settings.md lists all of them"),
    }
}

/// `docs/settings.md`.
pub fn render_documentation() -> String {
    let mut out = String::from(
        "# Settings\n\n\
         Read once, when the process starts, from the file named by `--conf` (else `conf/portcullis.yaml`, else \
         `/etc/portcullis/portcullis.yaml`). Every setting can be overridden by an environment variable: `PORTCULLIS_` and the \
         name in capitals. Names are kong.conf's where Kong has the setting. A setting that does not exist is an error.\n\n\
         Times are numbers with `ms`, `s`, `m`, `h` or `d`; without a unit, seconds. Sizes are numbers of bytes, or with `k`, `m`, \
         `g`. Lists are separated by commas, or are YAML lists. Switches are `on` and `off`.\n\n\
         This file is made from the table in `src/runtime/settings/table.rs`; a test compares them.\n",
    );
    let mut section = "";
    for setting in Settings::TABLE {
        if setting.section != section {
            section = setting.section;
            out.push_str(&format!("\n## {section}\n\n| setting | values | default | |\n|---|---|---|---|\n"));
        }
        let default = if setting.default.is_empty() { String::new() } else { format!("`{}`", setting.default) };
        let text = setting.description.replace('|', "\\|");
        out.push_str(&format!("| `{}` | {} | {default} | {text} |\n", setting.name, setting.kind));
    }
    out
}

/// `conf/portcullis.yaml`: every setting, commented out, at its default.
pub fn render_file() -> String {
    let mut out = String::from(
        "# Settings of Portcullis. Every line is at its default; take the # away to change it.\n\
         # A variable PORTCULLIS_NAME wins over the line `name` here. docs/settings.md has the same as a table.\n",
    );
    let mut section = "";
    for setting in Settings::TABLE {
        if setting.section != section {
            section = setting.section;
            out.push_str(&format!("\n# ---- {section} ----\n"));
        }
        out.push('\n');
        for line in wrap(&format!("{} ({})", setting.description, setting.kind), 110) {
            out.push_str(&format!("# {line}\n"));
        }
        let quoted = setting.default.contains([':', '*', '#']) || setting.default.is_empty();
        let quote = if quoted { "\"" } else { "" };
        out.push_str(&format!("#{}: {quote}{}{quote}\n", setting.name, setting.default));
    }
    out
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last().map_or(0, String::len);
        if last > 0 && last + 1 + word.len() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests;
