//! The types of settings, and how each is written.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::gateway::{ErrorType, RealIp, ResponseTokens};
use crate::plugins;
use crate::runtime::listen::{self, Listen};
use crate::telemetry::logging;
use crate::telemetry::output::Target;
use crate::upstream::Families;

/// A type of setting.
pub trait Value: Sized {
    /// What values look like, for people.
    const KIND: &'static str;

    /// # Errors
    /// What is wrong with the text, for people.
    fn parse(text: &str) -> Result<Self, String>;
}

/// A number that the program picks when it is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auto {
    Auto,
    Given(usize),
}

impl Auto {
    pub fn or_else(self, pick: impl FnOnce() -> usize) -> usize {
        match self {
            Self::Auto => pick(),
            Self::Given(number) => number,
        }
    }
}

/// Where entities live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// In declarative files where those are named, else in an SQLite database of the process's own.
    Auto,
    /// DB-less: in declarative files.
    Off,
    /// A URL of a store: `sqlite:…`, `postgres:…`.
    Url(String),
}

/// TLS versions that are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SslProtocols {
    pub tls12: bool,
    pub tls13: bool,
}

/// What services' and identity providers' certificates are verified against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedCertificates {
    pub system: bool,
    pub files: Vec<PathBuf>,
}

/// The plugins that may be configured; `None` = every one there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugins(pub Option<Vec<&'static str>>);

impl Value for Plugins {
    const KIND: &'static str = "`bundled`, `off`, or list of names";

    fn parse(text: &str) -> Result<Self, String> {
        let bundled = || plugins::tables::bundled();
        let mut names = Vec::new();
        for item in items(text).filter(|item| *item != "off") {
            if item == "bundled" {
                return Ok(Self(None));
            }
            let known = bundled().find(|name| *name == item);
            let there = || bundled().collect::<Vec<_>>().join(", ");
            names.push(known.ok_or_else(|| format!("there is no plugin `{item}`; there are {}", there()))?);
        }
        Ok(Self(Some(names)))
    }
}

/// The kinds of addresses that are used of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsOrder(pub Families);

impl Value for DnsOrder {
    const KIND: &'static str = "list of `A`, `AAAA`";

    fn parse(text: &str) -> Result<Self, String> {
        let kinds: Vec<String> = items(text).map(str::to_ascii_uppercase).collect();
        let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
        match kinds.as_slice() {
            ["A", "AAAA"] => Ok(Self(Families::Ipv4First)),
            ["AAAA", "A"] => Ok(Self(Families::Ipv6First)),
            ["A"] => Ok(Self(Families::Ipv4)),
            ["AAAA"] => Ok(Self(Families::Ipv6)),
            _ => Err(format!("`{text}` is not an order of A and AAAA; SRV records are not looked up")),
        }
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

impl Value for bool {
    const KIND: &'static str = "`on`, `off`";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "on" | "true" | "yes" => Ok(true),
            "off" | "false" | "no" => Ok(false),
            _ => Err(format!("`{text}` is neither on nor off")),
        }
    }
}

impl Value for u64 {
    const KIND: &'static str = "number";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("`{text}` is not a whole number"))
    }
}

impl Value for f64 {
    const KIND: &'static str = "0 to 1";

    fn parse(text: &str) -> Result<Self, String> {
        let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
        share.ok_or_else(|| format!("`{text}` is not between 0 and 1"))
    }
}

impl Value for Auto {
    const KIND: &'static str = "number, `auto`";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => text.parse().map(Self::Given).map_err(|_| format!("`{text}` is neither a number nor auto")),
        }
    }
}

/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl Value for Size {
    const KIND: &'static str = "size";

    fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let (digits, shift) = match lower.strip_suffix(['k', 'm', 'g']) {
            Some(digits) if lower.ends_with('k') => (digits, 10),
            Some(digits) if lower.ends_with('m') => (digits, 20),
            Some(digits) => (digits, 30),
            None => (lower.as_str(), 0),
        };
        let bytes = digits.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        bytes.map(Self).ok_or_else(|| format!("`{text}` is not a size; write 512, 64k, 10m or 1g"))
    }
}

impl Value for Duration {
    const KIND: &'static str = "time";

    fn parse(text: &str) -> Result<Self, String> {
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(split);
        let milliseconds = match unit.trim() {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => 0,
        };
        digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(milliseconds))
            .filter(|_| milliseconds > 0)
            .map(Duration::from_millis)
            .ok_or_else(|| format!("`{text}` is not a time; write 500ms, 10s, 5m or 1h"))
    }
}

impl Value for PathBuf {
    const KIND: &'static str = "path";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("a path is needed".into()) } else { Ok(text.into()) }
    }
}

impl Value for Option<PathBuf> {
    const KIND: &'static str = "path";

    fn parse(text: &str) -> Result<Self, String> {
        Ok((!text.is_empty()).then(|| text.into()))
    }
}

impl Value for Vec<PathBuf> {
    const KIND: &'static str = "list of paths";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(items(text).map(PathBuf::from).collect())
    }
}

impl Value for Option<String> {
    const KIND: &'static str = "text";

    fn parse(text: &str) -> Result<Self, String> {
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }
}

impl Value for RealIp {
    const KIND: &'static str = "header name, `proxy_protocol`";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "proxy_protocol" => Ok(Self::ProxyProtocol),
            _ => text.parse().map(Self::Header).map_err(|_| format!("`{text}` is not the name of a header")),
        }
    }
}

impl Value for ErrorType {
    const KIND: &'static str = "media type";

    fn parse(text: &str) -> Result<Self, String> {
        let known = "text/plain, application/json, application/xml and text/html";
        Self::from_media_type(text).ok_or_else(|| format!("`{text}` is not supported; there are {known}"))
    }
}

impl Value for ResponseTokens {
    const KIND: &'static str = "list, `off`";

    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(items(text)).map_err(|item| format!("`{item}` is not a header that is added to responses"))
    }
}

impl Value for Vec<String> {
    const KIND: &'static str = "list";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(items(text).map(str::to_owned).collect())
    }
}

/// A secret: not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("******")
    }
}

impl Value for Option<Secret> {
    const KIND: &'static str = "text";

    fn parse(text: &str) -> Result<Self, String> {
        Ok((!text.is_empty()).then(|| Secret(text.to_owned())))
    }
}

/// Headers added to requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamHeaders {
    pub request_id: bool,
}

impl Value for UpstreamHeaders {
    const KIND: &'static str = "list, `off`";

    fn parse(text: &str) -> Result<Self, String> {
        let mut headers = Self { request_id: false };
        for item in items(text) {
            match item.to_ascii_lowercase().as_str() {
                "off" => headers.request_id = false,
                "x-kong-request-id" => headers.request_id = true,
                _ => return Err(format!("`{item}` is not a header that is added to requests")),
            }
        }
        Ok(headers)
    }
}

impl Value for Vec<IpNet> {
    const KIND: &'static str = "list of addresses and CIDR blocks";

    fn parse(text: &str) -> Result<Self, String> {
        items(text)
            .map(|item| {
                let block = item.parse().or_else(|_| item.parse().map(|address: std::net::IpAddr| address.into()));
                block.map_err(|_| format!("`{item}` is neither an address nor a CIDR block"))
            })
            .collect()
    }
}

impl Value for Vec<Listen> {
    const KIND: &'static str = "listen list, `off`";

    fn parse(text: &str) -> Result<Self, String> {
        listen::parse(text)
    }
}

impl Value for Vec<(u16, u16)> {
    const KIND: &'static str = "list of `outside:inside` ports";

    fn parse(text: &str) -> Result<Self, String> {
        let pair = |item: &str| {
            let (outside, inside) = item.split_once(':')?;
            Some((outside.trim().parse().ok()?, inside.trim().parse().ok()?))
        };
        items(text).map(|item| pair(item).ok_or_else(|| format!("`{item}` is not a pair like 443:8443"))).collect()
    }
}

impl Value for Database {
    const KIND: &'static str = "`auto`, `off`, `sqlite:PATH`, `postgres://…`";

    fn parse(text: &str) -> Result<Self, String> {
        let url = ["sqlite:", "postgres:", "postgresql:"].iter().any(|scheme| text.starts_with(scheme));
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            _ if url => Ok(Self::Url(text.to_owned())),
            // The text may hold a password: it is not repeated.
            _ => Err("a database is auto, off, sqlite:PATH or postgres://…".into()),
        }
    }
}

impl Value for SslProtocols {
    const KIND: &'static str = "`TLSv1.2`, `TLSv1.3`, or both";

    fn parse(text: &str) -> Result<Self, String> {
        let mut protocols = Self { tls12: false, tls13: false };
        for item in text.split([',', ' ']).filter(|item| !item.is_empty()) {
            match item {
                "TLSv1.2" => protocols.tls12 = true,
                "TLSv1.3" => protocols.tls13 = true,
                _ => return Err(format!("`{item}` is not supported; there are TLSv1.2 and TLSv1.3")),
            }
        }
        if protocols.tls12 || protocols.tls13 { Ok(protocols) } else { Err("no protocol is left".into()) }
    }
}

impl Value for TrustedCertificates {
    const KIND: &'static str = "`system`, PEM files";

    fn parse(text: &str) -> Result<Self, String> {
        let files: Vec<_> = items(text).filter(|item| *item != "system").map(PathBuf::from).collect();
        let system = items(text).any(|item| item == "system");
        if system || !files.is_empty() { Ok(Self { system, files }) } else { Err("it names nothing".to_owned()) }
    }
}

impl Value for Target {
    const KIND: &'static str = "path, `stdout`, `stderr`, `off`";

    fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(target) => Ok(target),
            Err(never) => match never {},
        }
    }
}

impl Value for logging::Level {
    const KIND: &'static str = "`debug`, `info`, `notice`, `warn`, `error`, `crit`";

    fn parse(text: &str) -> Result<Self, String> {
        Self::from_name(text).ok_or_else(|| format!("`{text}` is not a log level"))
    }
}

impl Value for logging::Format {
    const KIND: &'static str = "`text`, `json`";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("`{text}` is neither text nor json")),
        }
    }
}
