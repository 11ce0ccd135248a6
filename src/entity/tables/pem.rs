//! Certificates and keys in PEM, as far as a table checks them.

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use x509_parser::pem::{Pem, parse_x509_pem};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The first certificate of a text.
pub(super) fn certificate(text: &str) -> Result<Pem, String> {
    let (_, block) = parse_x509_pem(text.as_bytes()).map_err(|_| "no PEM block")?;
    if block.label != "CERTIFICATE" {
        return Err(format!("{} instead of a certificate", block.label));
    }
    match X509Certificate::from_der(&block.contents) {
        Ok(_) => Ok(block),
        Err(error) => Err(error.to_string()),
    }
}

fn private_key(text: &str) -> Result<std::sync::Arc<dyn rustls::sign::SigningKey>, String> {
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| error.to_string())?;
    any_supported_type(&key).map_err(|error| error.to_string())
}

pub(super) fn check_certificate(value: &Value) -> Result<(), String> {
    certificate(text(value)).map(drop).map_err(|error| format!("invalid certificate: {error}"))
}

pub(super) fn check_private_key(value: &Value) -> Result<(), String> {
    private_key(text(value)).map(drop).map_err(|error| format!("invalid key: {error}"))
}

/// Whether a key is the private half of a certificate's. Both were found to be readable.
pub(super) fn belong_together(cert: &str, key: &str) -> bool {
    let (Ok(block), Ok(key)) = (certificate(cert), private_key(key)) else { return false };
    let Ok(cert) = block.parse_x509() else { return false };
    key.public_key().is_some_and(|public| public.as_ref() == cert.public_key().raw)
}

/// Whether two certificates have keys of the same type.
pub(super) fn same_type(one: &str, other: &str) -> bool {
    let algorithm = |text: &str| {
        let block = certificate(text).ok()?;
        let cert = block.parse_x509().ok()?;
        Some(cert.public_key().algorithm.algorithm.to_id_string())
    };
    algorithm(one) == algorithm(other)
}

/// A key that tokens are verified with: a public key, or a private one of which the public half is used, as Kong accepts.
pub(super) fn check_verification_key(value: &Value) -> Result<(), String> {
    let text = text(value);
    let fine = match parse_x509_pem(text.as_bytes()) {
        Err(_) => false,
        Ok((_, block)) => match block.label.as_str() {
            "PUBLIC KEY" => SubjectPublicKeyInfo::from_der(&block.contents)
                .is_ok_and(|(rest, key)| rest.is_empty() && key.parsed().is_ok()),
            "RSA PUBLIC KEY" => x509_parser::public_key::RSAPublicKey::from_der(&block.contents).is_ok(),
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => private_key(text).is_ok(),
            _ => false,
        },
    };
    if fine { Ok(()) } else { Err("invalid key".to_owned()) }
}
