mod kept;
mod told;

use std::sync::LazyLock;

use serde_json::{Value as Json, json};

use super::*;
use crate::auth::Directory;
use crate::auth::testing::{NOW, Sent, caller, directory, get, jwt_secret, shown};
use crate::jose::{Algorithm, SigningKey, hmac};

const BAD_JSON: &str = r#"401 {Bad token; invalid JSON} www-authenticate: Bearer error="invalid_token""#;

fn plugin(changes: Json) -> Jwt {
    let mut config = json!({
        "uri_param_names": ["jwt"], "cookie_names": [], "header_names": ["authorization"], "key_claim_name": "iss",
        "secret_is_base64": false, "claims_to_verify": null, "anonymous": null, "run_on_preflight": true,
        "maximum_expiration": 0, "realm": null,
    });
    for (name, value) in changes.as_object().unwrap() {
        config[name] = value.clone();
    }
    Jwt::compile(config.as_object().unwrap(), Lent::default()).unwrap()
}

static ES256: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::Es256).unwrap());
static RS256: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate(Algorithm::Rs256).unwrap());

static DIRECTORY: LazyLock<Directory> = LazyLock::new(|| {
    let es256 = ES256.public_pem().unwrap();
    let rs256 = RS256.public_pem().unwrap();
    let secret = |n, key, secret| jwt_secret(n, 1, key, Algorithm::Hs256, secret, None);
    let keyed = |n, key, algorithm, pem| jwt_secret(n, 1, key, algorithm, "x", pem);
    directory(
        [
            secret(1000, "k", "secret"),
            secret(1001, "key with space/slash", "secret"),
            secret(1002, "123", "secret"),
            secret(1003, "b64url", "YmluYXJ5__5zZWNyZXQhIQ"),
            secret(1004, "b64padded", "cGxhaW4tc2VjcmV0LTE="),
            secret(1005, "b64std", "YmluYXJ5//5zZWNyZXQh"),
            secret(1006, "b64empty", "=="),
            secret(1007, "empty", ""),
            keyed(1010, "es", Algorithm::Es256, Some(es256.as_str())),
            keyed(1011, "rs", Algorithm::Rs256, Some(rs256.as_str())),
            keyed(1012, "none", Algorithm::Es256, None),
            keyed(1013, "junk", Algorithm::Es256, Some("not a pem")),
            keyed(1014, "curve", Algorithm::Es384, Some(es256.as_str())),
            keyed(1015, "type", Algorithm::Rs256, Some(es256.as_str())),
            jwt_secret(1016, 2, "bob", Algorithm::Hs256, "secret", Some(rs256.as_str())),
            jwt_secret(1017, 77, "orphan", Algorithm::Hs256, "secret", None),
        ],
        [],
    )
});

fn result(config: Json, sent: Sent) -> String {
    let (state, outcome) = sent.through(&[&plugin(config)], &DIRECTORY);
    outcome.map_or_else(|rejection| shown(&rejection), |()| caller(&state))
}

/// What becomes of a token under the default configuration.
fn with(token: &str) -> String {
    result(json!({}), get().bearer(token))
}

fn hs256(secret: &[u8], header: Json, claims: &str) -> String {
    let key = SigningKey::from_secret(Algorithm::Hs256, secret).unwrap();
    key.sign_bytes(header.as_object().unwrap(), claims.as_bytes()).unwrap()
}

/// A token of key `k`.
fn signed(claims: &str) -> String {
    hs256(b"secret", json!({}), claims)
}

fn good() -> String {
    signed(r#"{"iss":"k"}"#)
}

/// A token with a header of its own, signed with `k`'s secret.
fn headed(header: &str, claims: &str) -> String {
    let input = [header, claims].map(base64url::encode).join(".");
    let signature = hmac::sign(Algorithm::Hs256, b"secret", input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(signature))
}

fn refused(message: &str) -> String {
    format!(r#"401 {{{message}}} www-authenticate: Bearer error="invalid_token""#)
}

fn refused_claims(body: &str) -> String {
    format!(r#"401 {body} www-authenticate: Bearer error="invalid_token""#)
}

#[test]
fn a_good_token_passes_and_its_consumer_is_known() {
    assert_eq!(with(&good()), "alice/k");
    assert_eq!(with(&hs256(b"secret", json!({}), r#"{"iss":"bob"}"#)), "-/bob");
    let (state, _) = get().bearer(&good()).through(&[&plugin(json!({}))], &DIRECTORY);
    let verification = state.verification.unwrap();
    assert_eq!(
        (verification.algorithm, verification.valid, verification.cached),
        (Some(Algorithm::Hs256), true, false)
    );
    assert_eq!(state.token.as_deref(), Some(good().as_str()));
    assert_eq!((state.issuer, state.key_id), (None, None));
}

/// What a token says is remembered; whether that is good enough is asked each time.
#[test]
fn a_token_that_came_often_is_checked_like_a_new_one() {
    let plugin = plugin(json!({ "claims_to_verify": ["exp"] }));
    let sent = get().bearer(&signed(&format!(r#"{{"iss":"k","exp":{}}}"#, NOW + 10)));
    let outcome = |directory: &Directory, now: u64| {
        let mut state = State::default();
        let request = Request { now, ..sent.request(directory) };
        let outcome = plugin.explain(&request, &mut state, &mut NoTrace);
        let cached = state.verification.is_some_and(|verification| verification.cached);
        (outcome.map_or_else(|rejection| shown(&rejection), |()| caller(&state)), cached)
    };
    for round in 0..4 {
        assert_eq!(outcome(&DIRECTORY, NOW), ("alice/k".into(), round > 0));
    }
    let expired = refused_claims(r#"{"exp":"token expired"}"#);
    assert_eq!(outcome(&DIRECTORY, NOW + 10), (expired, true));

    let secret = |n, consumer, key, secret| jwt_secret(n, consumer, key, Algorithm::Hs256, secret, None);
    let gone = directory([secret(1000, 1, "other", "secret")], []);
    assert_eq!(outcome(&gone, NOW).0, refused("No credentials found for given 'iss'"));
    let changed = directory([secret(1000, 1, "k", "another secret")], []);
    assert_eq!(outcome(&changed, NOW), (refused("Invalid signature"), false));
    let (algorithm, pem) = (Algorithm::Es256, ES256.public_pem().unwrap());
    let replaced = directory([jwt_secret(1000, 1, "k", algorithm, "secret", Some(pem.as_str()))], []);
    assert_eq!(outcome(&replaced, NOW).0, refused("Invalid algorithm"));
    let anothers = directory([secret(1000, 2, "k", "secret")], []);
    assert_eq!(outcome(&anothers, NOW), ("-/k".into(), true));
    assert_eq!(outcome(&DIRECTORY, NOW), ("alice/k".into(), true));
}

#[test]
fn no_token() {
    assert_eq!(result(json!({}), get()), "401 {Unauthorized} www-authenticate: Bearer");
    assert_eq!(
        result(json!({ "realm": "test-jwt" }), get()),
        r#"401 {Unauthorized} www-authenticate: Bearer realm="test-jwt""#
    );
    for value in
        ["Basic Zm9v", &good(), &format!("BEARER {}", good()), &format!("JWT {}", good()), "Bearer ", "Bearer: x"]
    {
        assert_eq!(
            result(json!({}), get().header("authorization", value)),
            "401 {Unauthorized} www-authenticate: Bearer",
            "{value}"
        );
    }
    assert_eq!(
        result(json!({}), get().header("x-jwt", &format!("Bearer {}", good()))),
        "401 {Unauthorized} www-authenticate: Bearer"
    );
}

#[test]
fn preflight() {
    let options = || get().method(Method::OPTIONS);
    assert_eq!(result(json!({}), options()), "401 {Unauthorized} www-authenticate: Bearer");
    assert_eq!(result(json!({}), options().bearer(&good())), "alice/k");
    assert_eq!(result(json!({ "run_on_preflight": false }), options()), "nobody");
    assert_eq!(result(json!({ "run_on_preflight": false }), options().bearer("abc")), "nobody");
    assert_eq!(result(json!({ "run_on_preflight": false }), get()), "401 {Unauthorized} www-authenticate: Bearer");
}

#[test]
fn all_sources_are_read() {
    let token = good();
    let anywhere = || json!({ "uri_param_names": ["jwt", "token"], "cookie_names": ["silly", "crumble"], "header_names": ["authorization", "X-JWT"] });
    assert_eq!(result(json!({}), get().query(&format!("a=1&jwt={token}&b=2"))), "alice/k");
    assert_eq!(result(json!({}), get().query(&format!("jwt={}", token.replace('.', "%2E")))), "alice/k");
    assert_eq!(
        result(json!({ "uri_param_names": [] }), get().query(&format!("jwt={token}"))),
        "401 {Unauthorized} www-authenticate: Bearer"
    );
    assert_eq!(result(anywhere(), get().query(&format!("token={token}"))), "alice/k");
    assert_eq!(result(anywhere(), get().header("cookie", &format!("a=b; crumble={token}"))), "alice/k");
    assert_eq!(result(anywhere(), get().header("cookie", "crumble=no-way-this-works")), BAD_JSON);
    assert_eq!(result(anywhere(), get().header("cookie", &format!("silly=Bearer {token}"))), BAD_JSON);
    assert_eq!(result(anywhere(), get().header("cookie", "silly=")), "401 {Unauthorized} www-authenticate: Bearer");
    assert_eq!(result(anywhere(), get().header("x-jwt", &format!("Bearer {token}"))), "alice/k");
    assert_eq!(result(anywhere(), get().header("x-jwt", &token)), "401 {Unauthorized} www-authenticate: Bearer");
    assert_eq!(
        result(anywhere(), get().header("x-jwt", &format!("Bearer {token}")).header("x-jwt", "Bearer abc")),
        "alice/k",
        "only the first line of another header counts"
    );
    for value in [
        format!("bearer {token}"),
        format!("   Bearer   {token}  "),
        format!("xBearer {token}"),
        format!("Digest x, Bearer {token}"),
    ] {
        assert_eq!(result(json!({}), get().header("authorization", &value)), "alice/k", "{value}");
    }
    assert_eq!(result(json!({}), get().header("authorization", &format!("Bearer \"{token}\""))), BAD_JSON);
    assert_eq!(
        result(json!({}), get().header("authorization", &format!("Bearer {token}, Bearer {token}"))),
        refused("Bad token; invalid signature")
    );
}

#[test]
fn distinct_tokens_are_counted() {
    let token = good();
    let several = refused("Multiple tokens provided");
    let both = |query: &str| get().query(query).bearer(&token);
    assert_eq!(result(json!({}), both(&format!("jwt={token}"))), "alice/k");
    assert_eq!(result(json!({}), both(&format!("jwt={token}&jwt={token}"))), "alice/k");
    assert_eq!(result(json!({}), both("jwt=")), "alice/k");
    assert_eq!(result(json!({}), both("jwt=abc")), several);
    assert_eq!(result(json!({}), both("jwt")), several);
    assert_eq!(result(json!({}), get().query("jwt=a&jwt=b")), several);
    assert_eq!(result(json!({}), get().query("jwt")), refused("Unrecognizable token"));
    assert_eq!(result(json!({}), get().query("jwt&jwt")), refused("Unrecognizable token"));
    assert_eq!(
        result(json!({ "realm": "example" }), both("jwt=abc")),
        r#"401 {Multiple tokens provided} www-authenticate: Bearer realm="example", error="invalid_token""#
    );
}

/// One line counts in HTTP; which one of two is meant, a proxy before us may see otherwise.
#[test]
fn two_authorization_lines_are_refused() {
    let token = good();
    for first in [format!("Bearer {token}"), "Basic Zm9v".to_owned(), "Bearer abc".to_owned()] {
        let sent = get().header("authorization", &first).bearer(&token);
        assert_eq!(result(json!({}), sent), refused("Multiple tokens provided"), "{first}");
    }
    let elsewhere =
        get().header("authorization", "a").header("authorization", "b").header("x-jwt", &format!("Bearer {token}"));
    assert_eq!(
        result(json!({ "header_names": ["x-jwt"] }), elsewhere),
        "alice/k",
        "the header is not this plugin's business"
    );
}

#[test]
fn malformed_tokens() {
    let token = good();
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    for bad in [
        "abc",
        header,
        &format!("{header}.{claims}"),
        "..",
        &format!(".{claims}.{signature}"),
        &format!("!!!.{claims}.{signature}"),
        &format!("{header}.!!!.{signature}"),
        &format!("{header}..{signature}"),
        &format!("{header}=.{claims}.{signature}"),
        &format!("{header}.{claims}=.{signature}"),
    ] {
        assert_eq!(with(bad), BAD_JSON, "{bad}");
    }
    for bad in [
        r#"{"iss":"k"}x"#,
        r#"{"iss":"k",}"#,
        r#"{"iss":"k","iss":"k"}"#,
        r#"{"iss":"k","a":NaN}"#,
        r#"{"iss":"k","exp":0x7f}"#,
        "",
    ] {
        assert_eq!(with(&signed(bad)), BAD_JSON, "{bad}");
    }
    assert_eq!(
        with(&hs256(b"secret", json!({}), &format!(r#"{{"iss":"k","a":{}}}"#, "[".repeat(40) + &"]".repeat(40)))),
        BAD_JSON
    );
    for rest in [".", ".x.y", "=", "!"] {
        assert_eq!(with(&format!("{token}{rest}")), refused("Bad token; invalid signature"), "{rest}");
    }
    for payload in ["5", "null", "true", "false"] {
        assert_eq!(with(&signed(payload)), refused("Bad token; invalid claims"), "{payload}");
    }
    for payload in [r#"["iss"]"#, r#""iss""#] {
        assert_eq!(with(&signed(payload)), refused("No mandatory 'iss' in claims"), "{payload}");
    }
    assert_eq!(with(&signed(r#"{"iss":"\u006b","a":99999999999999999999}"#)), "alice/k");
}

#[test]
fn the_header_is_checked() {
    let claims = r#"{"iss":"k"}"#;
    assert_eq!(with(&headed(r#"{"alg":"HS256"}"#, claims)), "alice/k");
    for header in [
        "{}",
        r#"{"alg":5}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"XX256"}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":null}"#,
        "[]",
        r#"{"alg":"none"}"#,
    ] {
        assert_eq!(with(&headed(header, claims)), refused("Bad token; invalid alg"), "{header}");
        assert_eq!(
            with(&headed(header, r#"{"iss":"nope"}"#)),
            refused("Bad token; invalid alg"),
            "before the credential: {header}"
        );
    }
    let unsigned = headed(r#"{"alg":"none"}"#, claims);
    assert_eq!(with(&unsigned[..=unsigned.rfind('.').unwrap()]), refused("Bad token; invalid alg"));
    for header in [r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, r#"{"alg":"HS256","b64":false}"#] {
        assert_eq!(with(&headed(header, claims)), refused("Bad token; invalid crit"), "{header}");
    }
    for header in [
        r#"{"alg":"HS256","typ":"at+jwt"}"#,
        r#"{"alg":"HS256","zip":"DEF","jku":"http://127.0.0.1/"}"#,
        r#"{"alg":"HS256","typ":5}"#,
    ] {
        assert_eq!(with(&headed(header, claims)), "alice/k", "{header}");
    }
    assert_eq!(with(&headed(r#"{"alg":"HS256","alg":"HS256"}"#, claims)), BAD_JSON);
    for header in ["null", "5", "true"] {
        assert_eq!(with(&headed(header, claims)), BAD_JSON, "{header}");
    }
}

#[test]
fn the_key_claim() {
    assert_eq!(with(&signed(r#"{"sub":"x"}"#)), refused("No mandatory 'iss' in claims"));
    assert_eq!(with(&signed(r#"{"iss":false}"#)), refused("No mandatory 'iss' in claims"));
    for value in ["\"\"", "null", "123", "123.0", "true", "{}", "[\"k\"]"] {
        assert_eq!(with(&signed(&format!(r#"{{"iss":{value}}}"#))), refused("Invalid 'iss' in claims"), "{value}");
    }
    for value in ["nope", "K", "k ", "k\\u0000", "123456"] {
        assert_eq!(
            with(&signed(&format!(r#"{{"iss":"{value}"}}"#))),
            refused("No credentials found for given 'iss'"),
            "{value}"
        );
    }
    assert_eq!(with(&signed(r#"{"iss":"key with space/slash"}"#)), "alice/key with space/slash");
    let named = |claims: &str| hs256(b"secret", json!({ "iss": "k" }), claims);
    assert_eq!(with(&named("{}")), "alice/k", "the header stands in");
    assert_eq!(with(&named(r#"{"iss":false}"#)), "alice/k");
    assert_eq!(with(&named(r#"{"iss":""}"#)), refused("Invalid 'iss' in claims"), "the claim wins");
    assert_eq!(with(&named(r#"{"iss":null}"#)), refused("Invalid 'iss' in claims"));
    let kid = |header: Json, claims: &str| {
        result(json!({ "key_claim_name": "kid" }), get().bearer(&hs256(b"secret", header, claims)))
    };
    assert_eq!(kid(json!({ "kid": "k" }), "{}"), "alice/k");
    assert_eq!(kid(json!({}), r#"{"kid":"k"}"#), "alice/k");
    assert_eq!(kid(json!({}), r#"{"kid":""}"#), refused("Invalid 'kid' in claims"));
    let dotted = result(json!({ "key_claim_name": "a.b" }), get().bearer(&signed(r#"{"a.b":"k"}"#)));
    assert_eq!(dotted, "alice/k", "a name, not a path");
}

#[test]
fn the_credential_binds_algorithm_and_key() {
    let hs512 = SigningKey::from_secret(Algorithm::Hs512, b"secret").unwrap();
    let with_iss =
        |key: &SigningKey, iss: &str| key.sign(&Map::new(), json!({ "iss": iss }).as_object().unwrap()).unwrap();
    assert_eq!(with(&with_iss(&hs512, "k")), refused("Invalid algorithm"));
    assert_eq!(
        with(&with_iss(&hs512, "nope")),
        refused("No credentials found for given 'iss'"),
        "before the algorithm"
    );
    assert_eq!(with(&with_iss(&ES256, "es")), "alice/es");
    assert_eq!(with(&with_iss(&RS256, "rs")), "alice/rs");
    assert_eq!(with(&with_iss(&RS256, "es")), refused("Invalid algorithm"));
    let other = SigningKey::generate(Algorithm::Es256).unwrap();
    assert_eq!(with(&with_iss(&other, "es")), refused("Invalid signature"));
    assert_eq!(with(&with_iss(&other, "none")), refused("Invalid key/secret"));
    assert_eq!(with(&with_iss(&other, "junk")), refused("Invalid key/secret"));
    assert_eq!(with(&with_iss(&RS256, "type")), refused("Invalid signature"));
    let es384 = SigningKey::generate(Algorithm::Es384).unwrap();
    assert_eq!(with(&with_iss(&es384, "curve")), refused("Invalid signature"));
    // The public key as an HMAC secret, under the RSA credential and under an HMAC one that happens to hold it.
    let confused = SigningKey::from_secret(Algorithm::Hs256, RS256.public_pem().unwrap().as_bytes()).unwrap();
    assert_eq!(with(&with_iss(&confused, "rs")), refused("Invalid algorithm"));
    assert_eq!(with(&with_iss(&confused, "bob")), refused("Invalid signature"));
}

#[test]
fn signatures() {
    let wrong = |token: String| assert_eq!(with(&token), refused("Invalid signature"), "{token}");
    wrong(hs256(b"other", json!({}), r#"{"iss":"k"}"#));
    let token = good();
    let (input, signature) = token.rsplit_once('.').unwrap();
    wrong(format!("{input}."));
    wrong(format!("{input}.{}", &signature[..signature.len() - 3]));
    let bytes = base64url::decode(signature).unwrap();
    wrong(format!("{input}.{}", base64url::encode([bytes.as_slice(), &[0]].concat())));
    wrong(format!("{input}.{}", base64url::encode([0; 32])));
    let last = *signature.as_bytes().last().unwrap() as char;
    let neighbour = char::from_u32(last as u32 + 1).unwrap();
    let varied = format!("{}{neighbour}", &token[..token.len() - 1]);
    assert!(with(&varied).starts_with("401"), "unused bits set: {varied}");
}

#[test]
fn secrets_in_base64url() {
    let b64 = |token: &str| result(json!({ "secret_is_base64": true }), get().bearer(token));
    let of = |secret: &[u8], iss: &str| hs256(secret, json!({}), &format!(r#"{{"iss":"{iss}"}}"#));
    assert_eq!(b64(&of(b"binary\xff\xfesecret!!", "b64url")), "alice/b64url");
    assert_eq!(b64(&of(b"plain-secret-1", "b64padded")), "alice/b64padded");
    assert_eq!(b64(&of(b"YmluYXJ5__5zZWNyZXQhIQ", "b64url")), refused("Invalid signature"));
    assert_eq!(with(&of(b"YmluYXJ5__5zZWNyZXQhIQ", "b64url")), "alice/b64url");
    assert_eq!(b64(&of(b"binary\xff\xfesecret!", "b64std")), refused("Invalid key/secret"));
    assert_eq!(b64(&of(b"x", "b64empty")), refused("Invalid key/secret"));
    let rs = RS256.sign(&Map::new(), json!({ "iss": "rs" }).as_object().unwrap()).unwrap();
    assert_eq!(b64(&rs), "alice/rs", "PEM is never decoded");
    assert_eq!(with(&of(b"x", "empty")), refused("Invalid key/secret"), "an empty secret is no secret");
}

#[test]
fn exp_and_nbf() {
    let check =
        |claims: Json, payload: String| result(json!({ "claims_to_verify": claims }), get().bearer(&signed(&payload)));
    let exp = |value: &str| check(json!(["exp"]), format!(r#"{{"iss":"k","exp":{value}}}"#));
    let nbf = |value: &str| check(json!(["nbf"]), format!(r#"{{"iss":"k","nbf":{value}}}"#));
    for value in [&(NOW + 1).to_string(), &format!("{NOW}.5"), "1e300", "99999999999999999999", "18446744073709551616"]
    {
        assert_eq!(exp(value), "alice/k", "{value}");
    }
    for value in [&NOW.to_string(), &(NOW - 1).to_string(), "0", "-1", "-1e300", "-9223372036854775809"] {
        assert_eq!(exp(value), refused_claims(r#"{"exp":"token expired"}"#), "{value}");
    }
    for value in ["\"1895319366\"", "null", "true", "[1895315776]", "{}"] {
        assert_eq!(exp(value), refused_claims(r#"{"exp":"must be a number"}"#), "{value}");
        assert_eq!(nbf(value), refused_claims(r#"{"nbf":"must be a number"}"#), "{value}");
    }
    assert_eq!(exp("1e400"), BAD_JSON);
    for value in [&NOW.to_string(), "0", "-5"] {
        assert_eq!(nbf(value), "alice/k", "{value}");
    }
    for value in [&(NOW + 1).to_string(), &format!("{NOW}.5"), "1e300"] {
        assert_eq!(nbf(value), refused_claims(r#"{"nbf":"token not valid yet"}"#), "{value}");
    }
    let none = || r#"{"iss":"k"}"#.to_owned();
    assert_eq!(
        check(json!(null), r#"{"iss":"k","exp":1}"#.into()),
        "alice/k",
        "nothing is checked that is not asked for"
    );
    assert_eq!(
        check(json!(["exp"]), r#"{"iss":"k","EXP":99999999999}"#.into()),
        refused_claims(r#"{"exp":"must be a number"}"#)
    );
    assert_eq!(
        check(json!(["exp", "nbf"]), none()),
        refused_claims(r#"{"nbf":"must be a number","exp":"must be a number"}"#)
    );
    assert_eq!(
        check(json!(["nbf", "exp"]), none()),
        refused_claims(r#"{"exp":"must be a number","nbf":"must be a number"}"#)
    );
    assert_eq!(
        check(json!(["exp", "nbf"]), format!(r#"{{"iss":"k","exp":"1","nbf":{}}}"#, NOW + 9)),
        refused_claims(r#"{"nbf":"token not valid yet","exp":"must be a number"}"#)
    );
    assert_eq!(check(json!(["exp", "nbf"]), format!(r#"{{"iss":"k","exp":{},"nbf":{NOW}}}"#, NOW + 1)), "alice/k");
    let in_header = hs256(b"secret", json!({ "exp": NOW + 9 }), &none());
    assert_eq!(
        result(json!({ "claims_to_verify": ["exp"] }), get().bearer(&in_header)),
        refused_claims(r#"{"exp":"must be a number"}"#)
    );
}

#[test]
fn maximum_expiration() {
    let exp = |exp: u64| {
        result(
            json!({ "claims_to_verify": ["exp"], "maximum_expiration": 300 }),
            get().bearer(&signed(&format!(r#"{{"iss":"k","exp":{exp}}}"#))),
        )
    };
    assert_eq!(exp(NOW + 200), "alice/k");
    assert_eq!(exp(NOW + 300), "alice/k");
    assert_eq!(exp(NOW + 301), refused_claims(r#"{"exp":"exceeds maximum allowed expiration"}"#));
    assert_eq!(exp(u64::MAX), refused_claims(r#"{"exp":"exceeds maximum allowed expiration"}"#));
    assert_eq!(exp(NOW - 1), refused_claims(r#"{"exp":"token expired"}"#));
}

#[test]
fn a_credential_without_its_consumer() {
    assert_eq!(with(&signed(r#"{"iss":"orphan"}"#)), "401 {Could not find consumer for 'iss=orphan'}");
}

#[test]
fn tokens_have_a_greatest_length() {
    let long = signed(&format!(r#"{{"iss":"k","a":"{}"}}"#, "x".repeat(13 * 1024)));
    assert!(long.len() > 16 * 1024);
    assert_eq!(with(&long), refused("Bad token; too large"));
    assert_eq!(with(&signed(&format!(r#"{{"iss":"k","a":"{}"}}"#, "x".repeat(11 * 1024)))), "alice/k");
    let mut short = plugin(json!({}));
    short.lent.token_limit = good().len() - 1;
    assert!(get().bearer(&good()).through(&[&short], &DIRECTORY).1.is_err());
}

#[test]
fn a_verified_signature_is_remembered_but_claims_are_checked_again() {
    let plugin = plugin(json!({ "claims_to_verify": ["exp"] }));
    let token = ES256.sign(&Map::new(), json!({ "iss": "es", "exp": NOW + 10 }).as_object().unwrap()).unwrap();
    let cached = |sent: Sent| {
        let (state, outcome) = sent.through(&[&plugin], &DIRECTORY);
        (state.verification.unwrap().cached, outcome.is_ok())
    };
    assert_eq!(cached(get().bearer(&token)), (false, true));
    assert_eq!(cached(get().bearer(&token)), (true, true));
    let mut later = get().bearer(&token);
    later.now = NOW + 10;
    assert_eq!(cached(later), (true, false), "expired");
}

#[test]
fn a_realm_must_fit_a_header() {
    let config = |realm: &str| json!({ "key_claim_name": "iss", "realm": realm });
    assert!(Jwt::compile(config("my \"realm").as_object().unwrap(), Lent::default()).is_ok());
    assert!(Jwt::compile(config("a\nb").as_object().unwrap(), Lent::default()).is_err());
    assert!(Jwt::compile(&Map::new(), Lent::default()).is_err(), "a configuration that passed no table");
}
