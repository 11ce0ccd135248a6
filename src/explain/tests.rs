use serde_json::{Value, json};

use super::*;
use crate::auth::trace::HintCode;
use crate::declarative;
use crate::jose::{Algorithm, SigningKey, base64url, hmac};
use crate::plugins::Registries;
use crate::snapshot::{Origin, Resources};
use crate::store::tokens::LocalTokens;
use crate::telemetry::Metrics;

const NOW: u64 = 1_795_315_766;

/// A configuration in service.
pub fn snapshot(config: &str) -> Arc<Snapshot> {
    let options = declarative::Options::default();
    let loaded = declarative::load_text("kong.yml", config, &options).map_err(|refused| refused.diagnostics).unwrap();
    let resources = Resources {
        registries: Registries::new(Arc::new(LocalTokens::in_memory())),
        upstreams: Arc::default(),
        metrics: Arc::new(Metrics::new(false)),
    };
    Arc::new(Snapshot::compile(loaded.dataset, Origin::none(), &resources).unwrap().0)
}

const CONFIG: &str = r#"
_format_version: "3.0"
services:
- name: s
  url: http://127.0.0.1:1
  routes:
  - name: a
    paths: [/a]
    plugins: [{name: jwt, config: {claims_to_verify: [exp, nbf]}}]
  - name: relaxed
    paths: [/relaxed]
    plugins: [{name: jwt}]
  - name: cookie
    paths: [/cookie]
    plugins: [{name: jwt, config: {header_names: [], uri_param_names: [], cookie_names: [session]}}]
  - name: key
    paths: [/key]
    plugins: [{name: key-auth}]
  - name: either
    paths: [/either]
    plugins: [{name: jwt, config: {anonymous: guest}}, {name: key-auth, config: {anonymous: guest}}]
  - name: open
    paths: [/open]
  - name: secure
    paths: [/secure]
    protocols: [https]
    plugins: [{name: jwt}]
  - name: closed
    paths: [/closed]
    plugins: [{name: jwt}, {name: request-termination, config: {status_code: 418, message: tea}}]
  - name: grants
    paths: [/grants]
    plugins: [{name: oauth2, config: {enable_client_credentials: true}}]
consumers:
- username: alice
  jwt_secrets: [{key: k, secret: a-secret-of-thirty-two-bytes-0001, algorithm: HS256}]
  keyauth_credentials: [{key: my-key}]
- username: guest
- username: bob
  jwt_secrets: [{key: k2, secret: a-secret-of-thirty-two-bytes-0002, algorithm: HS256}]
"#;

async fn ask(question: Value) -> Value {
    let snapshot = snapshot(CONFIG);
    let fingerprint = |_: &str| "fp".to_owned();
    let lent = Lent { snapshot, now: NOW, fingerprint: &fingerprint };
    let question = Question::from_json(question.as_object().unwrap()).unwrap();
    serde_json::to_value(explain(&question, &lent).await.unwrap()).unwrap()
}

fn token(secret: &[u8], claims: Value) -> String {
    let key = SigningKey::from_secret(Algorithm::Hs256, secret).unwrap();
    key.sign(&Default::default(), claims.as_object().unwrap()).unwrap()
}

fn good() -> String {
    token(b"a-secret-of-thirty-two-bytes-0001", json!({"iss": "k", "exp": NOW + 60, "nbf": NOW - 60}))
}

fn expired() -> String {
    token(b"a-secret-of-thirty-two-bytes-0001", json!({"iss": "k", "exp": NOW - 37, "nbf": NOW - 97}))
}

fn codes(answer: &Value) -> Vec<&str> {
    answer["hints"].as_array().unwrap().iter().map(|hint| hint["code"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_good_token_passes() {
    for question in [
        json!({"token": good(), "route": "a"}),
        json!({"token": good(), "url": "/a/b?x=1"}),
        json!({"url": "/a", "headers": {"Authorization": format!("Bearer {}", good())}}),
        json!({"token": format!("Bearer {}", good()), "route": "a"}),
        json!({"token": good(), "route": "cookie"}),
        json!({"token": "my-key", "url": "http://h/key"}),
    ] {
        let answer = ask(question.clone()).await;
        assert_eq!(answer["outcome"], "allowed", "{question} {answer:#}");
        assert_eq!(answer["principal"]["consumer"]["username"], "alice");
        assert_eq!(answer["status"], Value::Null);
        assert!(answer["hints"].as_array().unwrap().is_empty(), "{answer:#}");
        assert_eq!(answer["upstream_headers"][1], json!(["X-Consumer-Username", "alice"]));
    }
}

#[tokio::test]
async fn a_refusal_says_where_why_and_how_far() {
    let answer = ask(json!({"token": expired(), "route": "a"})).await;
    assert_eq!(
        (&answer["outcome"], &answer["reason"], &answer["status"]),
        (&json!("refused"), &json!("expired"), &json!(401))
    );
    let failed = &answer["steps"][answer["failed"].as_u64().unwrap() as usize];
    assert_eq!(
        (&failed["check"], &failed["reason"], &failed["plugin"]),
        (&json!("claims"), &json!("expired"), &json!("jwt"))
    );
    assert!(answer["summary"].as_str().unwrap().contains("expired 37 s ago; leeway is 0 s"), "{answer:#}");
    assert_eq!(answer["answer"]["body"], r#"{"exp":"token expired"}"#);
    let exp = answer["token"]["times"].as_array().unwrap().iter().find(|time| time["claim"] == "exp").unwrap();
    assert_eq!((&exp["from_now"], &exp["checked"], &exp["ok"]), (&json!(-37.0), &json!(true), &json!(false)));
    assert_eq!(answer["token"]["leeway"], 0.0);
    assert_eq!(
        answer["passes_on"].as_array().unwrap().iter().map(|route| &route["name"]).collect::<Vec<_>>()[..2],
        ["relaxed", "cookie"]
    );
    assert!(codes(&answer).contains(&"other_route"));
    let text = answer.to_string();
    assert!(!text.contains(expired().rsplit('.').next().unwrap()), "the signature is not repeated");
    assert!(!text.contains("a-secret"), "no secret");
}

#[tokio::test]
async fn what_was_copied_along_is_left_out_and_tried_again() {
    for (token, code) in [
        (format!("\"{}\"", good()), "quotes"),
        (format!("{}\n", good()), "whitespace"),
        (format!("Bearer Bearer {}", good()), "bearer_twice"),
    ] {
        let answer = ask(json!({"token": token, "route": "a"})).await;
        if answer["outcome"] == "allowed" {
            // A line's end is cut off by every server.
            assert_eq!(code, "whitespace");
            continue;
        }
        assert_eq!(codes(&answer)[0], code, "{answer:#}");
        assert!(answer["hints"][0]["text"].as_str().unwrap().ends_with("without that it passes"));
    }
    let quoted = ask(json!({"token": format!("\"{}\"", expired()), "route": "a"})).await;
    assert!(quoted["hints"][0]["text"].as_str().unwrap().ends_with("refused all the same (expired)"), "{quoted:#}");
}

#[tokio::test]
async fn standard_base64_is_recognised_by_its_signature() {
    let input =
        [r#"{"alg":"HS256","typ":"JWT","x":"??>>??"}"#, &json!({"iss": "k", "exp": NOW + 60, "n": "ÿÿÿ"}).to_string()]
            .map(|part| {
                use base64::Engine as _;
                base64::engine::general_purpose::STANDARD.encode(part)
            })
            .join(".");
    assert!(input.contains('/') || input.contains('+'));
    let signature = hmac::sign(Algorithm::Hs256, b"a-secret-of-thirty-two-bytes-0001", input.as_bytes()).unwrap();
    let answer = ask(json!({"token": format!("{input}.{}", base64url::encode(signature)), "route": "a"})).await;
    assert_eq!(answer["reason"], "bad_base64");
    assert!(answer["hints"][0]["text"].as_str().unwrap().starts_with("the signature is good if"), "{answer:#}");
}

#[tokio::test]
async fn other_places_and_routes_are_told() {
    let answer = ask(json!({"token": good(), "route": "a", "in": "query:token"})).await;
    assert_eq!(answer["reason"], "no_token");
    assert!(codes(&answer).contains(&"other_source"), "{answer:#}");
    let texts: Vec<&str> =
        answer["hints"].as_array().unwrap().iter().map(|hint| hint["text"].as_str().unwrap()).collect();
    assert!(texts.iter().any(|text| text.contains("Authorization: Bearer")), "{texts:?}");

    let answer = ask(json!({"url": "/secure", "token": good()})).await;
    assert_eq!((&answer["reason"], &answer["failed"]), (&json!("https_required"), &json!(1)), "{answer:#}");
    assert_eq!(ask(json!({"route": "secure", "token": good()})).await["outcome"], "allowed");

    let answer = ask(json!({"url": "/nowhere", "token": good()})).await;
    assert_eq!(
        (&answer["outcome"], &answer["reason"], &answer["status"]),
        (&json!("no_route"), &json!("no_route"), &json!(404))
    );
    assert_eq!(ask(json!({"route": "open"})).await["summary"], "passes: nothing here asks who is calling");
    let answer = ask(json!({"route": "closed", "token": good()})).await;
    assert_eq!(
        (&answer["outcome"], &answer["reason"], &answer["status"]),
        (&json!("answered"), &json!("terminated"), &json!(418))
    );
    assert_eq!(
        ask(json!({"url": "/grants/oauth2/token", "method": "POST", "scheme": "https"})).await["outcome"],
        "answered"
    );
}

#[tokio::test]
async fn several_plugins_are_shown_one_after_the_other() {
    let answer = ask(json!({"route": "either", "token": expired(), "at": NOW})).await;
    assert_eq!(
        (&answer["outcome"], &answer["principal"]["consumer"]["username"]),
        (&json!("allowed"), &json!("alice"))
    );
    let answer = ask(json!({"route": "either", "token": "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"})).await;
    assert_eq!(answer["outcome"], "anonymous");
    assert_eq!(answer["reason"], "no_token", "of the plugin that ran last, as in the access log");
    let outcomes: Vec<&Value> = answer["plugins"].as_array().unwrap().iter().map(|plugin| &plugin["outcome"]).collect();
    assert_eq!(outcomes, ["anonymous", "anonymous"]);
}

#[tokio::test]
async fn a_question_must_be_one() {
    for question in [
        json!({}),
        json!({"token": "x"}),
        json!({"url": "nonsense"}),
        json!({"url": "/", "in": "x"}),
        json!({"url": "/", "method": "a b"}),
    ] {
        let question = Question::from_json(question.as_object().unwrap()).unwrap();
        let fingerprint = |_: &str| String::new();
        let lent = Lent { snapshot: snapshot(CONFIG), now: NOW, fingerprint: &fingerprint };
        assert!(matches!(explain(&question, &lent).await, Err(Fault::Question(_))), "{question:?}");
    }
    let secret = json!({"tokn": "secret"});
    let fault = Question::from_json(secret.as_object().unwrap()).unwrap_err();
    assert!(fault.to_string().contains("tokn") && !fault.to_string().contains("secret"));
    assert!(Question::from_json(json!({"token": 1}).as_object().unwrap()).is_err());
}

#[test]
fn what_applies_to_a_url() {
    let snapshot = snapshot(CONFIG);
    let of = |url: &str| {
        let question = Question { url: Some(url.into()), ..Question::default() };
        serde_json::to_value(effective(&question, &snapshot).unwrap()).unwrap()
    };
    let a = of("/a");
    assert_eq!((&a["plugins"][0]["name"], &a["plugins"][0]["scope"]), (&json!("jwt"), &json!("route")));
    assert_eq!(
        (&a["who"]["consumers_total"], &a["who"]["any_consumer"], &a["who"]["open"]),
        (&json!(2), &json!(true), &json!(false))
    );
    assert!(a["warnings"].as_array().unwrap().iter().any(|warning| warning["code"] == "any-consumer"), "{a:#}");
    assert_eq!(of("/open")["who"]["mode"], "none");
    assert_eq!((&of("/either")["who"]["mode"], &of("/either")["who"]["open"]), (&json!("any"), &json!(true)));
    assert_eq!(of("/none")["route"], Value::Null);
}

#[test]
fn every_hint_is_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/explain.md");
    let documented = std::fs::read_to_string(path).unwrap();
    for code in HintCode::ALL {
        let row = format!("| `{}` |", code.label());
        assert!(documented.contains(&row), "{} is not in docs/explain.md", code.label());
    }
    let (_, table) = documented.split_once("## Hints").unwrap();
    assert_eq!(table.matches("\n| `").count(), HintCode::ALL.len());
}
