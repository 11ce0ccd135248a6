//! Certificates by server name.
//!
//! Owns turning PEM into keys that rustls signs with, choosing among a configuration's certificates (Kong's `certificate` and
//! `sni`), and making a self-signed one. Which configuration is current, and what listens, is `runtime`'s business.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::diagnostic::Diagnostic;
use crate::entity::{self, Dataset};

/// Certificates that serve the same name: a client gets the first whose signature it can verify (an ECDSA and an RSA one, say).
pub type Alternatives = Arc<[Arc<CertifiedKey>]>;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("not a certificate chain in PEM: {0}")]
    Certificate(String),
    #[error("not a private key in PEM: {0}")]
    Key(String),
    #[error("the private key is not the certificate's")]
    Mismatch,
}

/// Reads a certificate chain and its key.
///
/// # Errors
/// When either cannot be read, or they do not belong together.
pub fn certified_key(chain: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, Unusable> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|fault| Unusable::Certificate(fault.to_string()))?;
    let Some(leaf) = chain.first() else { return Err(Unusable::Certificate("it is empty".into())) };
    x509_parser::parse_x509_certificate(leaf).map_err(|fault| Unusable::Certificate(fault.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|fault| Unusable::Key(fault.to_string()))?;
    let key =
        rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(|fault| Unusable::Key(fault.to_string()))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(Arc::new(certified)),
        Err(_) => Err(Unusable::Mismatch),
    }
}

/// A new self-signed certificate for `localhost`, as Kong makes one where none is given.
///
/// # Errors
/// When no key can be made.
pub fn self_signed() -> Result<Arc<CertifiedKey>, rcgen::Error> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    certified_key(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes())
        .map_err(|_| rcgen::Error::CouldNotParseKeyPair)
}

/// Of certificates for one name, the first that the client can verify; else the first.
pub fn choose(alternatives: &[Arc<CertifiedKey>], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
    let fits = |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(schemes).is_some();
    alternatives.iter().find(fits).or(alternatives.first()).cloned()
}

/// The certificates of a configuration.
#[derive(Debug, Default)]
pub struct Certificates {
    /// By lower-case server name: exact, `*.suffix`, `prefix.*`, and `*` for every other name.
    by_name: HashMap<Box<str>, Alternatives>,
}

impl Certificates {
    pub fn compile(dataset: &Dataset, diagnostics: &mut Vec<Diagnostic>) -> Self {
        let mut by_id = HashMap::new();
        for entity in &dataset.certificates {
            match alternatives(entity) {
                Ok(keys) => drop(by_id.insert(entity.id, keys)),
                Err(fault) => diagnostics.push(
                    Diagnostic::error(
                        "unusable-certificate",
                        format!("certificates.{}", entity.id),
                        format!("the certificate cannot be used: {fault}"),
                    )
                    .help("give the chain (leaf first) in `cert` and its private key in `key`, both PEM"),
                ),
            }
        }
        let by_name = dataset.snis.iter().filter_map(|sni| {
            let keys = by_id.get(&sni.certificate.id)?;
            Some((sni.name.to_ascii_lowercase().into_boxed_str(), keys.clone()))
        });
        Self { by_name: by_name.collect() }
    }

    /// The certificates for a server name: the exact name, else with its first label replaced by `*`, else with its last, else
    /// `*`. Without a name, `*`.
    pub fn find(&self, server_name: Option<&str>) -> Option<&Alternatives> {
        if self.by_name.is_empty() {
            return None;
        }
        let named = server_name.and_then(|name| {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let exact = self.by_name.get(name.as_str());
            let prefix = || name.split_once('.').and_then(|(_, rest)| self.by_name.get(format!("*.{rest}").as_str()));
            let suffix = || name.rsplit_once('.').and_then(|(rest, _)| self.by_name.get(format!("{rest}.*").as_str()));
            exact.or_else(prefix).or_else(suffix)
        });
        named.or_else(|| self.by_name.get("*"))
    }
}

fn alternatives(entity: &entity::Certificate) -> Result<Alternatives, Unusable> {
    let mut keys = vec![certified_key(entity.cert.as_bytes(), entity.key.as_bytes())?];
    if let (Some(cert), Some(key)) = (&entity.cert_alt, &entity.key_alt) {
        keys.push(certified_key(cert.as_bytes(), key.as_bytes())?);
    }
    Ok(keys.into())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::entity::{Ref, Sni};

    fn pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn certificate(cert: String, key: String) -> entity::Certificate {
        entity::Certificate {
            id: Uuid::new_v4(),
            created_at: 0,
            updated_at: 0,
            cert,
            key,
            cert_alt: None,
            key_alt: None,
            tags: None,
        }
    }

    fn sni(name: &str, certificate: Uuid) -> Arc<Sni> {
        Arc::new(Sni {
            id: Uuid::new_v4(),
            created_at: 0,
            updated_at: 0,
            name: name.into(),
            certificate: Ref { id: certificate },
            tags: None,
        })
    }

    #[test]
    fn the_most_specific_name_wins() {
        let mut dataset = Dataset::default();
        let mut ids = Vec::new();
        for name in ["api.example.com", "*.example.com", "api.*", "*"] {
            let (cert, key) = pair("x");
            let entity = certificate(cert, key);
            dataset.snis.push(sni(name, entity.id));
            ids.push((name, entity.cert.clone()));
            dataset.certificates.push(Arc::new(entity));
        }
        let mut diagnostics = Vec::new();
        let certificates = Certificates::compile(&dataset, &mut diagnostics);
        assert_eq!(diagnostics, []);
        let found = |name: Option<&str>| {
            let leaf = certificates.find(name)?.first()?.cert.first()?.clone();
            let is = |cert: &str| CertificateDer::from_pem_slice(cert.as_bytes()).is_ok_and(|der| der == leaf);
            ids.iter().find(|(_, cert)| is(cert)).map(|(name, _)| *name)
        };
        for (asked, expected) in [
            (Some("api.example.com"), "api.example.com"),
            (Some("API.Example.Com."), "api.example.com"),
            (Some("www.example.com"), "*.example.com"),
            (Some("a.b.example.com"), "*"),
            (Some("api.net"), "api.*"),
            (Some("localhost"), "*"),
            (None, "*"),
        ] {
            assert_eq!(found(asked), Some(expected), "{asked:?}");
        }
        assert!(Certificates::default().find(Some("x")).is_none());
    }

    #[test]
    fn certificates_that_cannot_be_used_are_said() {
        let ((cert, key), (_, other)) = (pair("x"), pair("y"));
        for (cert, key, fault) in [
            (cert.clone(), other, "not the certificate's"),
            (String::new(), key.clone(), "empty"),
            ("no".into(), key, "empty"),
            (cert, "no".into(), "not a private key"),
        ] {
            let mut dataset = Dataset::default();
            dataset.certificates.push(Arc::new(certificate(cert, key)));
            let mut diagnostics = Vec::new();
            Certificates::compile(&dataset, &mut diagnostics);
            assert!(diagnostics[0].message.contains(fault), "{}", diagnostics[0].message);
            assert!(diagnostics[0].is_error());
        }
    }

    #[test]
    fn a_client_gets_a_certificate_it_can_verify() {
        let one = |algorithm| {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let cert = rcgen::CertificateParams::new(["x".to_owned()]).unwrap().self_signed(&key).unwrap();
            certified_key(cert.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
        };
        let both = [one(&rcgen::PKCS_ECDSA_P256_SHA256), one(&rcgen::PKCS_ED25519)];
        let chosen = choose(&both, &[SignatureScheme::ED25519]).unwrap();
        assert!(Arc::ptr_eq(&chosen, &both[1]));
        let first = choose(&both, &[SignatureScheme::RSA_PSS_SHA256]).unwrap();
        assert!(Arc::ptr_eq(&first, &both[0]));
        assert!(self_signed().is_ok());
    }
}
