//! What a refusal tells: its reason, what the log is given, and a trace with its hint.

use super::*;
use crate::auth::trace::Verdict;

#[test]
fn a_refusal_has_its_reason_and_what_the_log_needs() {
    let refuse = |token: &str| {
        let (state, outcome) =
            get().bearer(token).through(&[&plugin(json!({ "claims_to_verify": ["exp"] }))], &DIRECTORY);
        (outcome.unwrap_err().reason, state.issuer, state.key_id)
    };
    let (reason, issuer, kid) = refuse(&hs256(b"other", json!({ "kid": "7" }), r#"{"iss":"k"}"#));
    assert_eq!((reason, issuer.as_deref(), kid.as_deref()), (Reason::SignatureInvalid, Some("k"), Some("7")));
    assert_eq!(refuse(&signed(&format!(r#"{{"iss":"{}"}}"#, "x".repeat(300)))).1, None, "too long for a log");
    for (token, reason) in [
        ("abc".to_owned(), Reason::Malformed),
        ("e30=.e30.".to_owned(), Reason::BadBase64),
        (signed("{"), Reason::BadJson),
        (signed("[]"), Reason::BadJson),
        (headed(r#"{"alg":"x"}"#, "{}"), Reason::AlgNotAllowed),
        (headed(r#"{"alg":"NONE"}"#, "{}"), Reason::AlgNone),
        (headed(r#"{"alg":"HS256","crit":["x"]}"#, "{}"), Reason::CritUnsupported),
        (signed("{}"), Reason::KeyClaimMissing),
        (signed(r#"{"iss":""}"#), Reason::KeyClaimInvalid),
        (signed(r#"{"iss":"nope"}"#), Reason::CredentialUnknown),
        (signed(r#"{"iss":"es"}"#), Reason::AlgKeyMismatch),
        (signed(r#"{"iss":"k"}"#), Reason::ClaimType),
        (signed(r#"{"iss":"k","exp":1}"#), Reason::Expired),
    ] {
        assert_eq!(refuse(&token).0, reason, "{token}");
    }
}

/// The last step and its hint.
fn explained(config: Json, sent: Sent) -> (Check, Verdict, String) {
    let request = sent.request(&DIRECTORY);
    let mut steps: Vec<Step> = Vec::new();
    let outcome = plugin(config).explain(&request, &mut State::default(), &mut steps);
    assert!(outcome.is_ok() || steps.iter().any(|step| step.verdict == Verdict::Failed));
    let last = steps.pop().unwrap();
    (last.check, last.verdict, last.hint.map(|hint| hint.text).unwrap_or_default())
}

#[test]
fn a_trace_names_the_check_and_what_comes_close() {
    let plain = || json!({});
    assert_eq!(explained(plain(), get().bearer(&good())).0, Check::Consumer);
    let hint = |config: Json, sent: Sent, check: Check, part: &str| {
        let (there, verdict, hint) = explained(config, sent);
        assert_eq!((there, verdict), (check, Verdict::Failed));
        assert!(hint.contains(part), "{hint}");
    };
    hint(plain(), get().header("authorization", &good()), Check::Sources, "bare token");
    hint(plain(), get().header("authorization", &format!("BEARER {}", good())), Check::Sources, "must be written");
    hint(plain(), get().header("authorization", "Basic x"), Check::Sources, "another scheme");
    hint(json!({ "header_names": ["x"] }), get().bearer(&good()), Check::Sources, "header_names");
    hint(plain(), get().query(&format!("token={}", good())), Check::Sources, "`token`");
    hint(plain(), get().bearer(&good()).query("jwt=x"), Check::Sources, "exclude");
    hint(plain(), get().bearer("a.b.c.d.e"), Check::Structure, "JWE");
    hint(plain(), get().bearer("opaque"), Check::Structure, "opaque");
    hint(plain(), get().bearer(&format!("{}=", good())), Check::Structure, "padded");
    hint(
        plain(),
        get().bearer(&signed(r#"{"sub":"x","client":"k"}"#)),
        Check::KeyClaim,
        "`client` in the claims names the credential `k`",
    );
    hint(plain(), get().bearer(&signed(r#"{"iss":"K"}"#)), Check::Credential, "`k`");
    hint(
        plain(),
        get().bearer(&hs256(b"plain-secret-1", json!({}), r#"{"iss":"b64padded"}"#)),
        Check::Signature,
        "to true",
    );
    hint(
        json!({ "secret_is_base64": true }),
        get().bearer(&hs256(b"YmluYXJ5__5zZWNyZXQhIQ", json!({}), r#"{"iss":"b64url"}"#)),
        Check::Signature,
        "to false",
    );
    hint(
        json!({ "claims_to_verify": ["nbf"] }),
        get().bearer(&signed(&format!(r#"{{"iss":"k","nbf":{NOW}000}}"#))),
        Check::Claims,
        "milliseconds",
    );
    let (check, verdict, _) = explained(json!({ "anonymous": "anonymous" }), get());
    assert_eq!((check, verdict), (Check::Anonymous, Verdict::Noted));
}
