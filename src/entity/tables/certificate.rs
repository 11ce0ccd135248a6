//! `certificates`, `snis`, `ca_certificates`.

use std::fmt::Write as _;

use serde_json::Value;

use super::pem;
use crate::schema::typedefs::{created_at, id, tags, updated_at, wildcard_host};
use crate::schema::{Cross, Document, Field, Now, Table, foreign, string};

pub(super) fn certificates() -> Table {
    let cert = || string().referenceable().custom(pem::check_certificate);
    let key = || string().referenceable().encrypted().custom(pem::check_private_key);
    Table::new(
        "certificates",
        vec![
            Field::new("id", id()),
            Field::new("created_at", created_at()),
            Field::new("updated_at", updated_at()),
            Field::new("cert", cert().required()),
            Field::new("key", key().required()),
            Field::new("cert_alt", cert()),
            Field::new("key_alt", key()),
            Field::new("tags", tags()),
        ],
        vec![
            Cross::AllOrNone(&["cert_alt", "key_alt"]),
            Cross::Custom {
                fields: &["cert", "key"],
                check: |document, _| pair(document, "cert", "key", "certificate does not match key"),
            },
            Cross::Custom {
                fields: &["cert_alt", "key_alt"],
                check: |document, _| {
                    pair(document, "cert_alt", "key_alt", "alternative certificate does not match key")
                },
            },
            Cross::Custom { fields: &["cert", "cert_alt"], check: |document, _| different_types(document) },
        ],
    )
}

fn member<'a>(document: &'a Document, name: &str) -> Option<&'a str> {
    document.get(name).and_then(Value::as_str)
}

fn pair(document: &Document, cert: &str, key: &str, words: &str) -> Result<(), String> {
    match (member(document, cert), member(document, key)) {
        (Some(cert), Some(key)) if !pem::belong_together(cert, key) => Err(words.to_owned()),
        _ => Ok(()),
    }
}

fn different_types(document: &Document) -> Result<(), String> {
    match (member(document, "cert"), member(document, "cert_alt")) {
        (Some(cert), Some(alternative)) if pem::same_type(cert, alternative) => {
            Err("certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), the provided certificates \
                 were both of the same type"
                .to_owned())
        }
        _ => Ok(()),
    }
}

pub(super) fn snis() -> Table {
    Table::new(
        "snis",
        vec![
            Field::new("id", id()),
            Field::new("created_at", created_at()),
            Field::new("updated_at", updated_at()),
            Field::new("name", wildcard_host().required().unique()),
            Field::new("certificate", foreign("certificates").required().on_delete_cascade()),
            Field::new("tags", tags()),
        ],
        Vec::new(),
    )
    .endpoint_key("name")
}

pub(super) fn ca_certificates() -> Table {
    Table::new(
        "ca_certificates",
        vec![
            Field::new("id", id()),
            Field::new("created_at", created_at()),
            Field::new("updated_at", updated_at()),
            Field::new("cert", string().required().custom(pem::check_certificate)),
            Field::new("cert_digest", string().unique()),
            Field::new("tags", tags()),
        ],
        vec![Cross::Custom { fields: &["cert"], check: check_authority }],
    )
    .cache_key(&["cert_digest"])
    .derive(digest)
}

fn check_authority(document: &Document, now: Now) -> Result<(), String> {
    let Some(text) = member(document, "cert") else { return Ok(()) };
    if text.matches("-----BEGIN CERTIFICATE-----").count() > 1 {
        return Err("please submit only one certificate at a time".to_owned());
    }
    let block = pem::certificate(text)?;
    let cert = block.parse_x509().map_err(|error| error.to_string())?;
    if cert.validity().not_after.timestamp() < now.seconds() {
        return Err("certificate expired, \"Not After\" time is in the past".to_owned());
    }
    if !cert.is_ca() {
        return Err(
            "certificate does not appear to be a CA because it is missing the \"CA\" basic constraint".to_owned()
        );
    }
    Ok(())
}

/// SHA-256 of the certificate, in hexadecimal.
fn digest(document: &mut Document) {
    let Some(block) = member(document, "cert").and_then(|text| pem::certificate(text).ok()) else { return };
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &block.contents);
    let mut hex = String::with_capacity(64);
    for byte in digest.as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    document.insert("cert_digest".to_owned(), Value::String(hex));
}
