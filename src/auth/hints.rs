//! What is probably wrong with a token: guesses that every way of authenticating shares.
//!
//! For traces only: costly, and never part of a decision. A hint may name a credential or a route, since it is the operator who
//! reads it; it never repeats a secret or a token.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::trace::{Hint, HintCode, moment, shown, span};
use crate::jose::{Algorithm, KeyFault, VerificationKey, base64url};

const LOOSE: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
static LOOSE_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LOOSE);
static LOOSE_URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LOOSE);

/// Decodes whatever kind of base64 it is.
pub fn loose(segment: &[u8]) -> Option<Vec<u8>> {
    LOOSE_URL_SAFE.decode(segment).or_else(|_| LOOSE_STANDARD.decode(segment)).ok()
}

/// A token read as generously as possible: what it means to say, whatever is wrong with it.
#[derive(Debug, Default)]
pub struct Loose {
    pub header: Option<Map<String, Value>>,
    pub claims: Option<Map<String, Value>>,
    pub signature: Option<Vec<u8>>,
}

impl Loose {
    pub fn read(token: &[u8]) -> Self {
        let mut segments = token.trim_ascii().split(|byte| *byte == b'.').map(|segment| loose(segment.trim_ascii()));
        let mut object = || serde_json::from_slice(&segments.next().flatten()?).ok();
        let (header, claims) = (object(), object());
        Self { header, claims, signature: segments.next().flatten() }
    }

    /// The algorithm of the header, if it is one.
    pub fn algorithm(&self) -> Option<Algorithm> {
        Algorithm::from_name(self.header.as_ref()?.get("alg")?.as_str()?)
    }
}

/// Whether something looks like a JWS.
pub fn looks_like_a_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.bytes().filter(|&byte| byte == b'.').count() == 2
}

/// What a token would be without what people copy along with it: white space, quotes, the scheme.
pub fn cleaned(token: &str) -> (String, Option<Hint>) {
    let mut hint = None;
    let mut text = token.to_owned();
    loop {
        let before = text.len();
        let trimmed = text.trim_matches(|c: char| matches!(c, '"' | '\'' | '`' | '“' | '”'));
        if trimmed.len() < text.len() {
            hint.get_or_insert_with(|| Hint::new(HintCode::Quotes, "the token is quoted: leave the quotes out"));
            text = trimmed.to_owned();
        }
        if text.chars().any(char::is_whitespace) {
            let scheme = text.split_whitespace().next().unwrap_or_default();
            if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") {
                hint.get_or_insert_with(|| {
                    Hint::new(
                        HintCode::BearerTwice,
                        format!("`{scheme}` stands in front of the token twice: write it once"),
                    )
                });
                text = text.trim_start().get(scheme.len()..).unwrap_or_default().trim_start().to_owned();
            } else {
                hint.get_or_insert_with(|| {
                    Hint::new(
                        HintCode::Whitespace,
                        "there is white space in the token: a line break or space that was copied along",
                    )
                });
                text.retain(|c| !c.is_whitespace());
            }
        }
        if text.len() == before {
            return (text, hint);
        }
    }
}

/// What is probably wrong with a token that cannot be read.
pub fn malformed(token: &[u8]) -> Option<Hint> {
    let text = String::from_utf8_lossy(token);
    if let (_, Some(hint)) = cleaned(&text) {
        return Some(hint);
    }
    let dots = token.iter().filter(|&&byte| byte == b'.').count();
    let hint = |code, text: &str| Some(Hint::new(code, text));
    if token.iter().any(|byte| matches!(byte, b'+' | b'/')) {
        return hint(
            HintCode::StandardBase64,
            "the segments are in standard base64; a JWS takes the URL-safe alphabet (- and _ in place of + and /)",
        );
    }
    if token.contains(&b'=') {
        return hint(
            HintCode::Padding,
            "the segments are padded with `=`, which a JWS must not be (RFC 7515 section 2)",
        );
    }
    if token.contains(&b'%') {
        return hint(HintCode::Changed, "the token is percent-encoded once too often");
    }
    match dots {
        4 => hint(HintCode::Jwe, "five segments: an encrypted token (JWE), which cannot be verified here"),
        0 => hint(HintCode::Opaque, "no dots: an opaque token, not a JWT"),
        1 => hint(HintCode::Truncated, "one dot: the signature is missing; was the token cut off?"),
        2 if text.ends_with('.') => hint(HintCode::Truncated, "the signature is empty"),
        2 if text.len() % 4 == 1 || text.ends_with('…') || text.ends_with("...") => {
            hint(HintCode::Truncated, "the token seems to be cut off")
        }
        _ => None,
    }
}

/// `alg: none`.
pub fn alg_none() -> Hint {
    Hint::new(HintCode::AlgNone, "an unsigned token: whoever made it must sign it; such tokens are never accepted")
}

/// A key that cannot be used.
pub fn key(fault: &KeyFault) -> Hint {
    let code = match fault {
        KeyFault::Certificate | KeyFault::CertificateRequest => HintCode::PemCertificate,
        KeyFault::PrivateKey => HintCode::PemPrivateKey,
        _ => HintCode::KeyUnusable,
    };
    let text = match fault {
        KeyFault::Certificate => {
            "the PEM is a certificate: put the public key in its place, `openssl x509 -in cert.pem -pubkey -noout`".into()
        }
        KeyFault::PrivateKey => {
            "the PEM is a private key: put the public key in its place, `openssl pkey -in key.pem -pubout`, and make a new pair, since this one was given away".into()
        }
        fault => format!("the configured key does not do: {fault}"),
    };
    Hint::new(code, text)
}

/// Whether the number of a time claim makes sense in milliseconds only.
pub fn is_milliseconds(at: f64, now: u64) -> bool {
    at > now as f64 * 100.0
}

/// What a time claim that was refused suggests.
pub fn time(claim: &str, at: Option<f64>, leeway: f64, now: u64) -> Hint {
    let Some(at) = at else {
        return Hint::new(
            HintCode::ClaimMissing,
            format!("this route needs `{claim}` as a number of seconds since 1970; the token has none"),
        );
    };
    if is_milliseconds(at, now) {
        return Hint::new(
            HintCode::Milliseconds,
            format!("`{claim}` is in milliseconds; claims are seconds since 1970"),
        );
    }
    let distance = (at - now as f64).abs();
    if claim == "exp" {
        let near = if distance <= 300.0 && leeway < distance {
            format!("; leeway is {leeway} s: are the clocks right, and does the client renew its token in time?")
        } else {
            "; get a new one".into()
        };
        return Hint::new(HintCode::Expired, format!("the token expired {} ago{near}", span(distance)));
    }
    let hours = (distance / 3600.0).round();
    let zone = if distance >= 1800.0 && (distance - hours * 3600.0).abs() < 120.0 && hours <= 14.0 {
        "; that is whole hours: was a local time taken for UTC?"
    } else {
        "; do the clocks of issuer and gateway agree?"
    };
    Hint::new(HintCode::NotYetValid, format!("`{claim}` lies {} ahead; leeway is {leeway} s{zone}", span(distance)))
}

/// A time claim, for people.
pub fn described(claim: &str, at: f64, now: u64) -> String {
    format!("{claim} {}", moment(at, now))
}

/// Two texts that people take for the same: what differs.
pub fn near(there: &str, wanted: &str) -> Option<&'static str> {
    if there == wanted {
        return None;
    }
    if there.trim_end_matches('/') == wanted.trim_end_matches('/') {
        return Some("only the slash at the end differs");
    }
    if there.trim() == wanted.trim() {
        return Some("only white space differs");
    }
    if there.eq_ignore_ascii_case(wanted) {
        return Some("only upper and lower case differ");
    }
    let bare = |text: &str| text.split_once("://").map(|(_, rest)| rest.trim_end_matches('/').to_ascii_lowercase());
    if bare(there).is_some() && bare(there) == bare(wanted) {
        return Some("only the scheme differs");
    }
    None
}

/// The words of a list that people read with one glance.
pub fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.into_iter().take(12).map(|word| format!("`{}`", shown(word))).collect();
    if words.is_empty() { "none".into() } else { words.join(", ") }
}

/// An ECDSA signature in the ASN.1 form that OpenSSL makes, as the `r || s` of JWS.
pub fn fixed_of_der(signature: &[u8], coordinate: usize) -> Option<Vec<u8>> {
    fn integer(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
        let [0x02, length, rest @ ..] = bytes else { return None };
        rest.split_at_checked(usize::from(*length))
    }
    let body = match signature {
        [0x30, 0x81, length, rest @ ..] | [0x30, length, rest @ ..] if usize::from(*length) == rest.len() => rest,
        _ => return None,
    };
    let (r, rest) = integer(body)?;
    let (s, rest) = integer(rest)?;
    let mut fixed = vec![0; coordinate * 2];
    for (index, number) in [r, s].into_iter().enumerate() {
        let start = number.iter().take_while(|byte| **byte == 0).count();
        let number = number.get(start..)?;
        let end = (index + 1) * coordinate;
        fixed.get_mut(end.checked_sub(number.len())?..end)?.copy_from_slice(number);
    }
    rest.is_empty().then_some(fixed)
}

/// What could be wrong with a signature that a public key does not verify.
pub fn public_signature(key: &VerificationKey, signing_input: &[u8], signature: &[u8]) -> Option<Hint> {
    let coordinate = match key.algorithm() {
        Algorithm::Es256 => 32,
        Algorithm::Es384 => 48,
        Algorithm::Es512 => 66,
        _ => return None,
    };
    let fixed = fixed_of_der(signature, coordinate)?;
    key.verify(signing_input, &fixed).then(|| {
        Hint::new(
            HintCode::DerSignature,
            "the signature is good but in ASN.1 (DER); JWS takes r and s one after the other (RFC 7518 section 3.4)",
        )
    })
}

/// A secret as bytes of whatever base64 it is in.
pub fn decoded_secrets(secret: &str) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    let secret = secret.trim();
    [
        ("base64url", base64url::decode_lenient(secret)),
        ("standard base64", LOOSE_STANDARD.decode(secret).ok()),
        ("hexadecimal", from_hex(secret)),
    ]
    .into_iter()
    .filter_map(|(kind, bytes)| Some((kind, bytes.filter(|bytes| !bytes.is_empty())?)))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len() / 2).map(|at| u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::SigningKey;

    fn code(token: &str) -> &'static str {
        malformed(token.as_bytes()).map_or("", |hint| hint.code.label())
    }

    #[test]
    fn what_was_copied_along_is_found() {
        let clean = |token: &str| {
            let (text, hint) = cleaned(token);
            (text, hint.map_or("", |hint| hint.code.label()))
        };
        for (token, code) in [
            ("a.b.c", ""),
            ("\"a.b.c\"", "quotes"),
            (" a.b.c", "whitespace"),
            ("a.b\n.c", "whitespace"),
            ("Bearer a.b.c", "bearer_twice"),
            ("'Bearer a.b.c'", "quotes"),
        ] {
            assert_eq!(clean(token), ("a.b.c".to_owned(), code), "{token}");
        }
    }

    #[test]
    fn unreadable_tokens_are_told_apart() {
        for (token, wanted) in [
            ("eyJ.b+c.d", "standard_base64"),
            ("eyJ.bc=.d", "padding"),
            ("eyJ%2E", "changed"),
            ("a.b.c.d.e", "jwe"),
            ("opaque", "opaque"),
            ("a.b", "truncated"),
            ("a.b.", "truncated"),
            ("aa.b.ccc", ""),
        ] {
            assert_eq!(code(token), wanted, "{token}");
        }
    }

    #[test]
    fn times_say_how_far() {
        let told = |claim, at, leeway| {
            let hint = time(claim, at, leeway, 1_000_000);
            (hint.code.label(), hint.text)
        };
        let (code, text) = told("exp", Some(999_963.0), 0.0);
        assert_eq!(code, "expired");
        assert!(text.starts_with("the token expired 37 s ago; leeway is 0 s"), "{text}");
        assert!(told("exp", Some(1.0), 0.0).1.ends_with("get a new one"));
        assert_eq!(told("nbf", Some(1_000_000_000.0), 0.0).0, "milliseconds");
        assert!(told("nbf", Some(1_007_200.0), 0.0).1.contains("local time"));
        assert_eq!(told("exp", None, 0.0).0, "claim_missing");
    }

    #[test]
    fn a_signature_in_der_is_recognised() {
        let signer = SigningKey::generate(Algorithm::Es256).unwrap();
        let token = signer.sign(&Map::new(), &Map::new()).unwrap();
        let (input, signature) = token.rsplit_once('.').unwrap();
        let fixed = base64url::decode(signature).unwrap();
        let integer = |number: &[u8]| {
            let number = &number[number.iter().take_while(|byte| **byte == 0).count()..];
            let sign: &[u8] = if number[0] >= 0x80 { &[0] } else { &[] };
            let body = [sign, number].concat();
            [&[2, body.len() as u8][..], &body].concat()
        };
        let body = [integer(&fixed[..32]), integer(&fixed[32..])].concat();
        let der = [&[0x30, body.len() as u8][..], &body].concat();
        assert_eq!(fixed_of_der(&der, 32), Some(fixed));
        let key = VerificationKey::from_pem(Algorithm::Es256, &signer.public_pem().unwrap()).unwrap();
        assert_eq!(public_signature(&key, input.as_bytes(), &der).unwrap().code, HintCode::DerSignature);
        assert!(public_signature(&key, input.as_bytes(), &[0x30, 1, 0]).is_none());
        assert!(fixed_of_der(&[0x30, 4, 2, 1, 1], 32).is_none());
    }

    #[test]
    fn a_configured_key_that_is_none_is_named() {
        let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        let private = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
        for (pem, code) in [
            (certificate, HintCode::PemCertificate),
            (private, HintCode::PemPrivateKey),
            ("-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n", HintCode::KeyUnusable),
            ("nonsense", HintCode::KeyUnusable),
        ] {
            let fault = VerificationKey::from_pem(Algorithm::Rs256, pem).unwrap_err();
            assert_eq!(key(&fault).code, code, "{pem}");
        }
    }

    #[test]
    fn near_texts() {
        assert_eq!(near("https://a/", "https://a"), Some("only the slash at the end differs"));
        assert_eq!(near("http://a", "https://A/"), Some("only the scheme differs"));
        assert_eq!(near("Read", "read"), Some("only upper and lower case differ"));
        assert_eq!(near("a", "b"), None);
    }
}
