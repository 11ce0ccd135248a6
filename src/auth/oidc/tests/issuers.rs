//! Whose keys verify what.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::testing::*;
use crate::auth::testing::get;

#[tokio::test]
async fn a_document_of_another_issuer_is_none() {
    let idp = Idp::start().await;
    let document = json!({ "issuer": "https://other.example", "jwks_uri": format!("{}/jwks", idp.issuer) });
    idp.answers("/.well-known/openid-configuration", 200, &document.to_string());
    let good = get().bearer(&idp.token(json!({})));
    assert_eq!(told(&idp.plugin(json!({})), &good).await, "401 jwks_unavailable");
    let both = json!({ "issuers_allowed": ["https://other.example", idp.issuer] });
    assert_eq!(told(&idp.plugin(both), &good).await, "401 jwks_unavailable", "each is asked for its own");
    let another_name = json!({ "issuers_allowed": ["https://other.example"] });
    let theirs = get().bearer(&idp.token(json!({ "iss": "https://other.example" })));
    assert_eq!(told(&idp.plugin(another_name.clone()), &theirs).await, "ok");
    assert_eq!(told(&idp.plugin(another_name), &good).await, "401 issuer_unknown");
    let pseudo = json!({ "using_pseudo_issuer": true, "extra_jwks_uris": [format!("{}/jwks", idp.issuer)] });
    assert_eq!(told(&idp.plugin(pseudo), &good).await, "ok");
}

/// A key id is its issuer's own: which keys may verify a token, its `iss` says and nothing else.
#[tokio::test]
async fn issuers_that_share_a_kid_are_not_mixed_up() {
    let (one, two) = (Idp::start().await, Idp::start().await);
    let both = json!({ "issuers_allowed": [one.issuer, two.issuer, "an-alias"] });
    let with_extra = json!({ "issuers_allowed": [one.issuer, two.issuer, "an-alias"],
        "extra_jwks_uris": [format!("{}/jwks", two.issuer)] });
    for config in [both, with_extra] {
        let plugin = one.plugin(config.clone());
        let by = |idp: &Idp, iss: &str| get().bearer(&idp.token(json!({ "iss": iss })));
        for (idp, issuer, expected) in [
            (&one, &*one.issuer, "ok"),
            (&two, &two.issuer, "ok"),
            (&one, &two.issuer, "401 signature_invalid"),
            (&two, &one.issuer, "401 signature_invalid"),
            (&one, "an-alias", "ok"),
            (&two, "an-alias", "401 signature_invalid"),
            (&two, "https://elsewhere.example", "401 issuer_unknown"),
        ] {
            assert_eq!(told(&plugin, &by(idp, issuer)).await, expected, "{issuer} {config}");
        }
    }
    let alone = one.plugin(json!({}));
    assert_eq!(told(&alone, &get().bearer(&two.token(json!({})))).await, "401 issuer_unknown");
}

#[tokio::test]
async fn extra_keys_are_those_of_issuers_without_a_document() {
    let idp = Idp::start().await;
    let other = new_key();
    idp.answers("/more", 200, &json!({ "keys": [ed_jwk(&other, "more")] }).to_string());
    let more = format!("{}/more", idp.issuer);
    let by_other = |iss: &str| get().bearer(&idp.token_by(&other, json!({ "kid": "more" }), json!({ "iss": iss })));
    // Beside the only issuer's own.
    let plugin = idp.plugin(json!({ "extra_jwks_uris": [more] }));
    assert_eq!(told(&plugin, &by_other(&idp.issuer)).await, "ok");
    assert_eq!(told(&plugin, &get().bearer(&idp.token(json!({})))).await, "ok");
    // Of another one, which cannot be asked, and then not of the first.
    let silent = format!("{}/silent", idp.issuer);
    let plugin = idp.plugin(json!({ "extra_jwks_uris": [more], "issuers_allowed": [idp.issuer, silent] }));
    assert_eq!(told(&plugin, &by_other(&silent)).await, "ok");
    assert_eq!(told(&plugin, &by_other(&idp.issuer)).await, "401 kid_unknown");
    assert_eq!(told(&plugin, &get().bearer(&idp.token(json!({ "iss": silent })))).await, "401 kid_unknown");
}

#[tokio::test]
async fn keys_may_stand_in_the_configuration() {
    let idp = Idp::start().await;
    idp.stop();
    let good = get().bearer(&idp.token(json!({})));
    let keys = |keys: &[Value]| json!({ "using_pseudo_issuer": true, "jwks": { "keys": keys } });
    let plugin = idp.plugin(keys(&[ed_jwk(&idp.key, "one")]));
    assert_eq!(told(&plugin, &good).await, "ok");
    let forged = get().bearer(&idp.token_by(&new_key(), json!({ "kid": "one" }), json!({})));
    assert_eq!(told(&plugin, &forged).await, "401 signature_invalid");
    let unknown = get().bearer(&idp.token_by(&idp.key, json!({ "kid": "two" }), json!({})));
    assert_eq!(told(&plugin, &unknown).await, "401 kid_unknown");
    let faults = |keys_: &[Value]| match idp.try_plugin(keys(keys_), &Arc::default()) {
        Ok(_) => String::new(),
        Err(faults) => format!("{} {}", faults[0].path, faults[0].message),
    };
    let one = ed_jwk(&idp.key, "one");
    assert!(
        faults(&[json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "s" })]).starts_with("jwks.keys[1] a symmetric key")
    );
    assert!(faults(&[one.clone(), one]).starts_with("jwks.keys[2]"));
    assert!(faults(&[]).starts_with("jwks has no keys"));
}
