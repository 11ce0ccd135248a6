//! When certificates and credentials end.

use uuid::Uuid;
use x509_parser::prelude::{FromDer, X509Certificate};

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
