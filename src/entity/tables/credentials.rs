//! `jwt_secrets`, `keyauth_credentials`, `oauth2_credentials`, `oauth2_tokens`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::Value;

use super::pem;
use crate::schema::typedefs::{created_at, id, tags, ttl};
use crate::schema::{Auto, Cross, Def, Document, Field, Matcher, Table, array, boolean, foreign, integer, string, url};

const ALGORITHMS: &[&str] = &[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA",
];
/// Those for which Kong wants a key; for ES* it does not look, and a wrong key shows when the credential is used.
const WITH_KEY: &[&str] = &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"];

fn consumer() -> Def {
    foreign("consumers").required().on_delete_cascade()
}

fn generated() -> Def {
    string().auto(Auto::Token)
}

pub(super) fn jwt_secrets() -> Table {
    let with_key = |then_match| Cross::Conditional {
        if_field: "algorithm",
        if_match: Matcher::OneOf(WITH_KEY),
        then_field: "rsa_public_key",
        then_match,
        fault: None,
    };
    Table::new(
        "jwt_secrets",
        vec![
            Field::new("id", id()),
            Field::new("created_at", created_at()),
            Field::new("consumer", consumer()),
            Field::new("key", generated().unique()),
            Field::new("secret", generated()),
            Field::new("rsa_public_key", string()),
            Field::new("algorithm", string().default("HS256").one_of(ALGORITHMS)),
            Field::new("tags", tags()),
        ],
        vec![with_key(Matcher::Required), with_key(Matcher::Valid(pem::check_verification_key))],
    )
    .endpoint_key("key")
}

pub(super) fn keyauth_credentials() -> Table {
    Table::new(
        "keyauth_credentials",
        vec![
            Field::new("id", id()),
            Field::new("created_at", created_at()),
            Field::new("consumer", consumer()),
            Field::new("key", generated().unique()),
            Field::new("ttl", ttl()),
            Field::new("tags", tags()),
        ],
        Vec::new(),
    )
    .endpoint_key("key")
}

pub(super) fn oauth2_credentials() -> Table {
    Table::new(
        "oauth2_credentials",
        vec![
            Field::new("id", id()),
            Field::new("created_at", created_at()),
            Field::new("consumer", consumer()),
            Field::new("name", string().required()),
            Field::new("client_id", generated().unique()),
            Field::new("client_secret", generated().encrypted()),
            Field::new("hash_secret", boolean().required().default(false)),
            Field::new("redirect_uris", array(string().custom(url::check_redirect))),
            Field::new("tags", tags()),
            Field::new("client_type", string().required().default("confidential").one_of(&["confidential", "public"])),
        ],
        Vec::new(),
    )
    .endpoint_key("client_id")
    .patched_together(&["hash_secret", "client_secret"])
    .transformed_by(hash_secret)
}

pub(super) fn oauth2_tokens() -> Table {
    Table::new(
        "oauth2_tokens",
        vec![
            Field::new("id", id()),
            Field::new("created_at", created_at()),
            Field::new("service", foreign("services").on_delete_cascade()),
            Field::new("credential", foreign("oauth2_credentials").required().on_delete_cascade()),
            Field::new("token_type", string().required().default("bearer").one_of(&["bearer"])),
            Field::new("expires_in", integer().required()),
            Field::new("access_token", generated().unique()),
            Field::new("refresh_token", string().unique()),
            Field::new("authenticated_userid", string()),
            Field::new("scope", string()),
            Field::new("ttl", ttl()),
        ],
        Vec::new(),
    )
    .endpoint_key("access_token")
}

const HASHED: &str = "$pbkdf2-sha512$";
const ITERATIONS: std::num::NonZeroU32 = std::num::NonZeroU32::new(10_000).unwrap();

/// Whether a secret is a hash as [`hash_secret`] makes it: parameters, salt and 32 bytes.
fn is_hashed(secret: &str) -> bool {
    let Some(rest) = secret.strip_prefix(HASHED) else { return false };
    let mut parts = rest.split('$');
    let parameters = parts.next().is_some_and(|text| text.starts_with("i=") && text.ends_with(",l=32"));
    let bytes = |text: Option<&str>| text.and_then(|text| STANDARD_NO_PAD.decode(text).ok()).map(|bytes| bytes.len());
    let (salt, hash) = (bytes(parts.next()), bytes(parts.next()));
    parameters && salt.is_some() && hash == Some(32) && parts.next().is_none()
}

/// `hash_secret`: only a hash of the client's secret is kept, as Kong writes it (PHC string). What is one already stays.
fn hash_secret(document: &mut Document) {
    if document.get("hash_secret") != Some(&Value::Bool(true)) {
        return;
    }
    if let Some(Value::String(secret)) = document.get_mut("client_secret")
        && !is_hashed(secret)
    {
        let salt = crate::schema::salt();
        let mut hash = [0; 32];
        aws_lc_rs::pbkdf2::derive(
            aws_lc_rs::pbkdf2::PBKDF2_HMAC_SHA512,
            ITERATIONS,
            &salt,
            secret.as_bytes(),
            &mut hash,
        );
        *secret =
            format!("{HASHED}i={ITERATIONS},l=32${}${}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_are_those_of_the_verifier() {
        let known: Vec<_> = crate::jose::Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
        assert_eq!(ALGORITHMS, known);
    }
}
