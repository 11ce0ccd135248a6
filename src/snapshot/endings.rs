//! When certificates and credentials end.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::{Gauge, GaugeVec, Opts, proto::MetricFamily};
use uuid::Uuid;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Published;
use crate::entity::{Dataset, Kind};

/// Something that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub kind: Kind,
    pub id: Uuid,
    /// Server names of a certificate, the subject of an authority, the consumer of a credential.
    pub name: String,
    /// The field that has it.
    pub what: &'static str,
    /// Seconds since the UNIX epoch.
    pub at: i64,
}

/// Everything of a configuration that has an end.
pub fn endings(dataset: &Dataset) -> Vec<Ending> {
    let mut all = Vec::new();
    for certificate in &dataset.certificates {
        let own = dataset.snis.iter().filter(|sni| sni.certificate.id == certificate.id);
        let names: Vec<&str> = own.map(|sni| sni.name.as_str()).take(5).collect();
        let name = if names.is_empty() { certificate.id.to_string() } else { names.join(", ") };
        for (what, pem) in [("cert", Some(&certificate.cert)), ("cert_alt", certificate.cert_alt.as_ref())] {
            if let Some((at, _)) = pem.and_then(|pem| not_after(pem)) {
                all.push(Ending { kind: Kind::Certificate, id: certificate.id, name: name.clone(), what, at });
            }
        }
    }
    for authority in &dataset.ca_certificates {
        if let Some((at, name)) = not_after(&authority.cert) {
            all.push(Ending { kind: Kind::CaCertificate, id: authority.id, name, what: "cert", at });
        }
    }
    for credential in dataset.keyauth_credentials.iter() {
        if let Some(ttl) = credential.ttl {
            let consumer = dataset.consumers.get(&credential.consumer.id);
            let name = consumer.and_then(|consumer| consumer.username.as_deref().or(consumer.custom_id.as_deref()));
            let name = name.map_or_else(|| credential.id.to_string(), str::to_owned);
            let at = credential.created_at.saturating_add(ttl);
            all.push(Ending { kind: Kind::KeyAuthCredential, id: credential.id, name, what: "ttl", at });
        }
    }
    all
}

/// When the first certificate of a PEM text ends, and its subject.
fn not_after(pem: &str) -> Option<(i64, String)> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.trim_start().as_bytes()).ok()?;
    let (_, certificate) = X509Certificate::from_der(&pem.contents).ok()?;
    Some((certificate.validity().not_after.timestamp(), certificate.subject().to_string()))
}

/// What Prometheus is told about the configuration in service: which it is, and what of it ends when. Read at a scrape; what a
/// generation says is kept.
#[derive(Debug)]
pub struct Collected {
    published: Arc<Published>,
    fingerprint: Gauge,
    certificates: GaugeVec,
    credentials: GaugeVec,
    /// The generation that the gauges speak of, and until when they say what is next to end, in seconds since the UNIX epoch.
    read: Mutex<Option<(u64, i64)>>,
}

impl Collected {
    /// # Errors
    /// For a name that is no metric's.
    pub fn new(published: Arc<Published>) -> prometheus::Result<Self> {
        Ok(Self {
            published,
            fingerprint: Gauge::new(
                "portcullis_snapshot_fingerprint",
                "The configuration in service as a number: gateways that serve the same have the same",
            )?,
            certificates: GaugeVec::new(
                Opts::new("portcullis_certificate_expiry_timestamp_seconds", "When a configured certificate ends"),
                &["type", "name"],
            )?,
            credentials: GaugeVec::new(
                Opts::new(
                    "portcullis_credential_expiry_timestamp_seconds",
                    "When the credential ends that is the next to end, of those with an end",
                ),
                &["type"],
            )?,
            read: Mutex::default(),
        })
    }

    fn all(&self) -> [&dyn Collector; 3] {
        [&self.fingerprint, &self.certificates, &self.credentials]
    }

    fn read(&self) {
        let snapshot = self.published.load();
        let mut read = self.read.lock();
        let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        if read.is_some_and(|(generation, until)| generation == snapshot.generation && now < until) {
            return;
        }
        self.fingerprint.set(number(&snapshot.origin.hash));
        self.certificates.reset();
        self.credentials.reset();
        let mut next: Option<i64> = None;
        for ending in endings(&snapshot.dataset) {
            if ending.kind == Kind::KeyAuthCredential {
                // One that ended already was meant to.
                next = if ending.at > now { Some(next.map_or(ending.at, |next| next.min(ending.at))) } else { next };
                continue;
            }
            let gauge = self.certificates.with_label_values(&[ending.kind.collection(), &ending.name]);
            let at = ending.at as f64;
            gauge.set(if gauge.get() > 0.0 { gauge.get().min(at) } else { at });
        }
        *read = Some((snapshot.generation, next.unwrap_or(i64::MAX)));
        if let Some(next) = next {
            self.credentials.with_label_values(&[Kind::KeyAuthCredential.collection()]).set(next as f64);
        }
    }
}

/// The first 48 bits of a hash in hex, which a float holds exactly; of a store's revision, the last.
fn number(hash: &str) -> f64 {
    let digits = match hash.trim_start_matches('0').len() {
        0..=12 => hash.get(hash.len().saturating_sub(12)..),
        _ => hash.get(..12),
    };
    digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0) as f64
}

impl Collector for Collected {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(|gauge| gauge.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        self.all().into_iter().flat_map(|gauge| gauge.collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Origin, Snapshot};

    #[test]
    fn gateways_with_the_same_configuration_have_the_same_number() {
        assert_eq!(number("0000000000000000000000000000002a"), 42.0);
        assert_eq!(
            number("d41d8cd98f00b204e9800998ecf8427e"),
            f64::from(0xd41d_u32) * 4_294_967_296.0 + f64::from(0x8cd9_8f00_u32)
        );
        assert_eq!(number(Origin::EMPTY_HASH), 0.0);
    }

    #[test]
    fn the_next_key_to_end_is_told() {
        let config = "_format_version: '3.0'\nconsumers: [{username: a, keyauth_credentials: [{key: k, ttl: 500}, {key: l, ttl: 300}, {key: m}]}]";
        let loaded = crate::declarative::load_text("kong.yml", config, &Default::default()).map_err(|_| ()).unwrap();
        let soonest =
            loaded.dataset.keyauth_credentials.iter().filter_map(|it| Some(it.created_at + it.ttl?)).min().unwrap();
        let published = Arc::new(Published::default());
        published.store(Snapshot { dataset: loaded.dataset, ..Snapshot::empty() });
        let families = Collected::new(published).unwrap().collect();
        let credentials = families.iter().find(|family| family.name().starts_with("portcullis_credential")).unwrap();
        assert_eq!(credentials.get_metric()[0].get_gauge().get_value(), soonest as f64);
    }

    #[test]
    fn one_that_has_ended_is_followed_by_the_next() {
        let config = "_format_version: '3.0'\nconsumers: [{username: a, keyauth_credentials: [{key: k, ttl: 2}, {key: l, ttl: 300}]}]";
        let loaded = crate::declarative::load_text("kong.yml", config, &Default::default()).map_err(|_| ()).unwrap();
        let last = loaded.dataset.keyauth_credentials.iter().filter_map(|it| Some(it.created_at + it.ttl?)).max();
        let published = Arc::new(Published::default());
        published.store(Snapshot { dataset: loaded.dataset, ..Snapshot::empty() });
        let collected = Collected::new(published).unwrap();
        let told = || {
            let families = collected.collect();
            let credentials = families.iter().find(|family| family.name().starts_with("portcullis_credential"));
            credentials.unwrap().get_metric()[0].get_gauge().get_value()
        };
        assert!(told() > 0.0);
        let started = std::time::Instant::now();
        while told() != last.unwrap() as f64 {
            assert!(started.elapsed() < std::time::Duration::from_secs(20), "{}", told());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}
