//! What is probably wrong with a token that the plugin refuses. For traces only: costly, and never part of a decision.

use super::CredentialKey;
use crate::auth::Directory;
use crate::auth::directory::JwtCredential;
use crate::auth::hints::{self, Loose};
use crate::auth::trace::{Hint, HintCode, shown};
use crate::jose::{Jws, Value, hmac};

/// How many credentials are tried to find the one a signature was made with: HMAC, and public keys.
const TRIED_SECRETS: usize = 20_000;
const TRIED_KEYS: usize = 500;

/// What the header says, for people.
pub(super) fn header(jws: &Jws<'_>) -> String {
    let mut text = format!("alg {}", jws.algorithm);
    for name in ["typ", "kid"] {
        if let Some(value) = jws.header.str(name) {
            text += &format!(", {name} `{}`", shown(value));
        }
    }
    text
}

/// The token lacks the claim that names its credential.
pub(super) fn key_claim(claim: &str, jws: &Jws<'_>, directory: &Directory) -> Hint {
    if let Some(hint) = elsewhere(claim, jws, directory) {
        return hint;
    }
    let members = || jws.claims.iter().chain(jws.header.iter()).map(|(name, _)| name);
    if let Some(name) = members().find(|name| *name != claim && name.trim().eq_ignore_ascii_case(claim)) {
        let text = format!("the token has `{}`; names of claims are compared letter by letter", shown(name));
        return Hint::new(HintCode::KeyClaimCase, text);
    }
    let names = hints::listed(jws.claims.iter().map(|(name, _)| name));
    Hint::new(HintCode::ClaimMissing, format!("key_claim_name is `{claim}`; the token's claims are {names}"))
}

/// A member of claims or header that names a credential, where key_claim_name is another.
fn elsewhere(claim: &str, jws: &Jws<'_>, directory: &Directory) -> Option<Hint> {
    let known =
        |value: &Value<'_>| value.as_str().is_some_and(|key| !key.is_empty() && directory.jwt.get(key).is_some());
    let places = [("claims", &*jws.claims), ("header", &*jws.header)];
    places.into_iter().find_map(|(place, members)| {
        let (name, value) = members.iter().find(|(_, value)| known(value))?;
        let key = shown(value.as_str().unwrap_or_default());
        let text = if name == claim {
            format!("`{claim}` in the {place} names the credential `{key}`, but the one in the claims comes first")
        } else {
            format!(
                "`{}` in the {place} names the credential `{key}`: set key_claim_name to `{}`",
                shown(name),
                shown(name)
            )
        };
        Some(Hint::new(HintCode::KeyClaimPlace, text))
    })
}

/// No credential has that key: one whose key nearly is it, or the one that the token was signed with.
pub(super) fn credential(key: &str, claim: &str, jws: &Jws<'_>, directory: &Directory) -> Option<Hint> {
    if let Some(hint) = elsewhere(claim, jws, directory) {
        return Some(hint);
    }
    let near = directory.jwt.iter().find_map(|there| Some((there, hints::near(key, &there.entity.key)?)));
    if let Some((near, why)) = near {
        let text = format!(
            "there is a credential with the key `{}`: {why}, and keys are compared byte by byte",
            shown(&near.entity.key)
        );
        return Some(Hint::new(HintCode::CredentialNear, text));
    }
    signer(jws, directory, None).map(|found| {
        let text = format!(
            "the signature is that of the credential `{}`: the token should name it in `{claim}`",
            shown(&found.entity.key)
        );
        Hint::new(HintCode::OtherKey, text)
    })
}

/// The credential that a signature was made with.
fn signer<'d>(jws: &Jws<'_>, directory: &'d Directory, not: Option<&JwtCredential>) -> Option<&'d JwtCredential> {
    let (mut secrets, mut keys) = (TRIED_SECRETS, TRIED_KEYS);
    directory
        .jwt
        .iter()
        .filter(|there| {
            there.entity.algorithm == jws.algorithm && not.is_none_or(|not| not.entity.id != there.entity.id)
        })
        .find(|there| match &there.key {
            Ok(CredentialKey::Secret) if secrets > 0 => {
                secrets -= 1;
                hmac::verify(jws.algorithm, there.entity.secret.as_bytes(), jws.signing_input, jws.signature)
            }
            Ok(CredentialKey::Public(key)) if keys > 0 => {
                keys -= 1;
                key.verify(jws.signing_input, jws.signature)
            }
            _ => false,
        })
        .map(|there| &**there)
}

/// The token's algorithm is not the credential's.
pub(super) fn algorithm(credential: &JwtCredential, jws: &Jws<'_>, directory: &Directory) -> Hint {
    let (token, own) = (jws.algorithm, credential.entity.algorithm);
    let public = credential.entity.rsa_public_key.as_deref();
    if token.is_hmac()
        && let Some(pem) = public
        && [pem, pem.trim()].iter().any(|pem| hmac::verify(token, pem.as_bytes(), jws.signing_input, jws.signature))
    {
        return Hint::new(
            HintCode::HsWithPublicKey,
            "it was made with the public key as HMAC secret: an attack, or a client that mixes algorithms up",
        );
    }
    if let Some(other) = signer(jws, directory, Some(credential)) {
        let text = format!(
            "the signature is that of the credential `{}`, whose algorithm is {token}",
            shown(&other.entity.key)
        );
        return Hint::new(HintCode::OtherKey, text);
    }
    let text = format!("sign with {own}, or set the credential's `algorithm` to {token} (its key has to fit)");
    Hint::new(HintCode::AlgMismatch, text)
}

/// What the signature would verify with.
pub(super) fn signature(
    credential: &JwtCredential,
    token: &[u8],
    jws: &Jws<'_>,
    secret_is_base64: bool,
    directory: &Directory,
) -> Option<Hint> {
    if let Ok(CredentialKey::Public(key)) = &credential.key
        && let Some(hint) = hints::public_signature(key, jws.signing_input, jws.signature)
    {
        return Some(hint);
    }
    if jws.algorithm.is_hmac()
        && let Some(hint) = secret(credential, jws, secret_is_base64)
    {
        return Some(hint);
    }
    if let Some(other) = signer(jws, directory, Some(credential)) {
        let text = format!("the signature is that of another credential, `{}`", shown(&other.entity.key));
        return Some(Hint::new(HintCode::OtherKey, text));
    }
    if jws.signature.is_empty() {
        return Some(Hint::new(HintCode::Truncated, "the signature is empty"));
    }
    hints::malformed(token)
}

fn secret(credential: &JwtCredential, jws: &Jws<'_>, secret_is_base64: bool) -> Option<Hint> {
    let verifies = |secret: &[u8]| hmac::verify(jws.algorithm, secret, jws.signing_input, jws.signature);
    let secret = &credential.entity.secret;
    if secret_is_base64 && verifies(secret.as_bytes()) {
        let text = "it verifies with the secret as it is stored: set secret_is_base64 to false";
        return Some(Hint::new(HintCode::SecretPlain, text));
    }
    for (kind, decoded) in hints::decoded_secrets(secret) {
        if verifies(&decoded) {
            let text = match kind {
                "base64url" => {
                    "it verifies with the secret decoded from base64url: set secret_is_base64 to true".into()
                }
                kind => format!(
                    "it verifies with the secret decoded from {kind}: store it in base64url and set secret_is_base64 to true"
                ),
            };
            return Some(Hint::new(HintCode::SecretBase64, text));
        }
    }
    if secret.trim() != secret.as_ref() && verifies(secret.trim().as_bytes()) {
        let text = "it verifies without the white space around the stored secret";
        return Some(Hint::new(HintCode::SecretWhitespace, text));
    }
    if ["\n", "\r\n"].iter().any(|end| verifies(format!("{secret}{end}").as_bytes())) {
        let text = "it verifies with a line break behind the secret: the signer read it from a file that ends with one";
        return Some(Hint::new(HintCode::SecretWhitespace, text));
    }
    let public = credential.entity.rsa_public_key.as_ref().filter(|pem| verifies(pem.as_bytes()));
    public.map(|_| {
        Hint::new(
            HintCode::HsWithPublicKey,
            "it was made with the public key as HMAC secret: an attack, or a client that mixes algorithms up",
        )
    })
}

/// A token that cannot be read: what it would be if it were read more generously.
pub(super) fn malformed(token: &[u8], claim: &str, secret_is_base64: bool, directory: &Directory) -> Option<Hint> {
    let hint = hints::malformed(token);
    let code = hint.as_ref().map(|hint| hint.code);
    if !matches!(code, Some(HintCode::StandardBase64 | HintCode::Padding))
        || !good(token, claim, secret_is_base64, directory)
    {
        return hint;
    }
    let text = "the signature is good if the segments are read as standard base64 (with + and /, padded with =): make the token with base64url without padding (RFC 7515 section 2)";
    Some(Hint::new(HintCode::StandardBase64, text))
}

/// Whether the signature over the segments as they were sent is that of the credential that the token names.
fn good(token: &[u8], claim: &str, secret_is_base64: bool, directory: &Directory) -> bool {
    let read = Loose::read(token);
    let named = |members: &Option<serde_json::Map<String, serde_json::Value>>| {
        members.as_ref()?.get(claim)?.as_str().map(str::to_owned)
    };
    let Some(key) = named(&read.claims).or_else(|| named(&read.header)) else { return false };
    let (Some(credential), Some(signature)) = (directory.jwt.get(key.as_str()), &read.signature) else { return false };
    let Some(end) = memchr::memrchr(b'.', token) else { return false };
    let input = token.get(..end).unwrap_or_default();
    if read.algorithm() != Some(credential.entity.algorithm) {
        return false;
    }
    match &credential.key {
        Ok(CredentialKey::Public(key)) => key.verify(input, signature),
        Ok(CredentialKey::Secret) => {
            let plain = credential.entity.secret.as_bytes().to_vec();
            let secret = match secret_is_base64 {
                true => crate::jose::base64url::decode_lenient(&plain).unwrap_or_default(),
                false => plain,
            };
            hmac::verify(credential.entity.algorithm, &secret, input, signature)
        }
        Err(_) => false,
    }
}
