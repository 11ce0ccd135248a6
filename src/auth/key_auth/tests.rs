use serde_json::{Value, json};

use super::*;
use crate::auth::testing::{NOW, Sent, api_key, caller, directory, get, id, shown};

fn plugin(changes: Value) -> KeyAuth {
    let mut config = json!({
        "key_names": ["apikey"], "hide_credentials": false, "anonymous": null, "key_in_header": true, "key_in_query": true,
        "key_in_body": false, "run_on_preflight": true, "realm": null,
    });
    for (name, value) in changes.as_object().unwrap() {
        config[name] = value.clone();
    }
    KeyAuth::compile(config.as_object().unwrap()).unwrap()
}

fn sent_through(plugin: &KeyAuth, sent: &Sent) -> (State, Result<(), Box<Rejection>>) {
    let keys = [
        api_key(3000, 3, "secret-key", None),
        api_key(3001, 1, "ended", Some(100)),
        api_key(3002, 1, "lasting", Some(101)),
        api_key(3003, 77, "orphan", None),
    ];
    sent.through(&[plugin], &directory([], keys))
}

/// Who the request goes on as, or how it is refused.
fn result(changes: Value, sent: Sent) -> String {
    let (state, outcome) = sent_through(&plugin(changes), &sent);
    outcome.map_or_else(|rejection| shown(&rejection), |()| caller(&state))
}

const CAROL: &str = "carol/00000000-0000-4000-8000-000000000bb8";
const NO_KEY: &str = "401 ~No API key found in request www-authenticate: Key";
const UNKNOWN: &str = "401 ~Unauthorized www-authenticate: Key";
const DUPLICATE: &str = "401 ~Duplicate API key found www-authenticate: Key";

#[test]
fn a_key_in_header_or_query() {
    assert_eq!(id(3000).to_string(), CAROL.split_once('/').unwrap().1);
    let plain = || json!({});
    assert_eq!(result(plain(), get().header("apikey", "secret-key")), CAROL);
    assert_eq!(result(plain(), get().query("a=b&apikey=secret%2Dkey")), CAROL);
    assert_eq!(result(plain(), get()), NO_KEY);
    assert_eq!(result(plain(), get().header("apikey", "")), NO_KEY);
    assert_eq!(result(plain(), get().query("apikey=")), NO_KEY);
    assert_eq!(result(plain(), get().query("apikey")), NO_KEY);
    assert_eq!(result(plain(), get().header("apikey", "wrong")), UNKNOWN);
    assert_eq!(result(plain(), get().header("apikey", "Secret-key")), UNKNOWN);
    assert_eq!(result(plain(), get().header("apikey", "orphan")), UNKNOWN);
    assert_eq!(
        result(plain(), get().header("apikey", "secret-key").query("apikey=wrong")),
        CAROL,
        "the header is read first"
    );
    assert_eq!(result(plain(), get().header("apikey", "secret-key").header("apikey", "secret-key")), DUPLICATE);
    assert_eq!(result(plain(), get().query("apikey=secret-key&apikey=secret-key")), DUPLICATE);
    assert_eq!(result(json!({ "key_in_header": false }), get().header("apikey", "secret-key")), NO_KEY);
    assert_eq!(result(json!({ "key_in_query": false }), get().query("apikey=secret-key")), NO_KEY);
    assert_eq!(
        result(json!({ "key_names": ["x-key", "apikey"] }), get().query("x-key").header("apikey", "secret-key")),
        CAROL
    );
    assert_eq!(
        result(
            json!({ "key_names": ["X-Key", "apikey"] }),
            get().header("x-key", "wrong").header("apikey", "secret-key")
        ),
        UNKNOWN
    );
    assert_eq!(
        result(json!({ "realm": "r" }), get()),
        r#"401 ~No API key found in request www-authenticate: Key realm="r""#
    );
}

#[test]
fn a_key_in_the_body() {
    let on = || json!({ "key_in_body": true });
    let form = "application/x-www-form-urlencoded";
    assert_eq!(result(on(), get().body(form, "a=b&apikey=secret-key")), CAROL);
    assert_eq!(result(on(), get().body("application/json", r#"{"apikey":"secret-key"}"#)), CAROL);
    assert_eq!(result(on(), get().body("application/json", r#"{"apikey":["secret-key"]}"#)), DUPLICATE);
    assert_eq!(result(on(), get().body("application/json", r#"{"apikey":1}"#)), NO_KEY);
    assert_eq!(result(on(), get().body(form, "apikey=secret-key&apikey=x")), DUPLICATE);
    assert_eq!(result(json!({}), get().body(form, "apikey=secret-key")), NO_KEY);
    assert_eq!(result(on(), get()), NO_KEY);
    assert_eq!(result(on(), get().body("text/plain", "apikey=secret-key")), NO_KEY);
    let directory = directory([], []);
    let sent = get();
    assert_eq!(plugin(on()).wants(&sent.request(&directory)), Wants::SmallBody);
    assert_eq!(plugin(json!({})).wants(&sent.request(&directory)), Wants::Nothing);
}

#[test]
fn keys_end() {
    assert_eq!(result(json!({}), get().header("apikey", "ended")), UNKNOWN);
    assert!(result(json!({}), get().header("apikey", "lasting")).starts_with("alice/"));
    let mut later = get().header("apikey", "lasting");
    later.now = NOW + 1;
    assert_eq!(result(json!({}), later), UNKNOWN);
}

#[test]
fn credentials_can_be_hidden() {
    let hiding = plugin(json!({ "hide_credentials": true, "key_in_body": true }));
    let (state, _) = sent_through(&hiding, &get().header("apikey", "secret-key").query("a=%41&apikey=x&b"));
    assert_eq!(state.headers.remove, ["apikey"]);
    assert_eq!(state.query.as_deref(), Some("a=%41&b"));
    let (state, _) = sent_through(&hiding, &get().query("apikey=secret-key"));
    assert_eq!(state.query.as_deref(), Some(""));
    let (state, _) = sent_through(&hiding, &get().body("application/json", r#"{"apikey":"secret-key","n":1}"#));
    assert_eq!(state.body.as_deref(), Some(&br#"{"n":1}"#[..]));
    let (state, _) = sent_through(&plugin(json!({})), &get().header("apikey", "secret-key").query("apikey=x"));
    assert_eq!((state.headers.remove.len(), state.query), (0, None));
}

#[test]
fn preflight_and_anonymous() {
    let off = || json!({ "run_on_preflight": false });
    assert_eq!(result(off(), get().method(Method::OPTIONS)), "nobody");
    assert_eq!(result(off(), get()), NO_KEY);
    assert_eq!(result(json!({}), get().method(Method::OPTIONS)), NO_KEY);
    let anonymous = || json!({ "anonymous": "anonymous" });
    assert_eq!(result(anonymous(), get()), "anonymous:anonymous");
    assert_eq!(result(anonymous(), get().header("apikey", "wrong")), "anonymous:anonymous");
    assert_eq!(result(anonymous(), get().header("apikey", "secret-key")), CAROL);
    assert_eq!(result(json!({ "anonymous": "nobody" }), get()), "500 ~An unexpected error occurred");
}
