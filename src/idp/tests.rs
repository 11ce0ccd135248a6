//! The provider over HTTP, as clients and gateways meet it.

use serde_json::{Value, json};

use super::*;
use crate::jose::{Jws, KeySet, Lookup};

struct There {
    idp: Idp,
    http: reqwest::Client,
}

fn people() -> People {
    People::from_yaml(
        "users:\n- name: john\n  password: doe\n  claims: {realm_access: {roles: [reader]}}\n\
         clients:\n- {id: gateway, secret: gateway-secret, audience: [api]}\n- {id: opaque, secret: s, opaque: true, lifetime: 1}\n\
         - id: public\n",
    )
    .unwrap()
}

impl There {
    fn start(options: Options) -> Self {
        crate::runtime::install_crypto_providers();
        let idp = Idp::start(Options { people: people(), ..options }).unwrap();
        Self { idp, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.idp.address())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.http.get(self.url(path)).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let answer = self.http.post(self.url(path)).form(form).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn misbehave(&self, faults: Value) -> u16 {
        self.http.post(self.url("/faults")).body(faults.to_string()).send().await.unwrap().status().as_u16()
    }

    async fn password(&self) -> String {
        let form = [("grant_type", "password"), ("username", "john"), ("password", "doe"), ("scope", "openid orders")];
        let (status, answer) = self.post("/token", &with(&form)).await;
        assert_eq!(status, 200, "{answer}");
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// Whether the published keys verify a token.
    async fn published(&self, token: &str) -> bool {
        let (status, keys) = self.get("/jwks").await;
        assert_eq!(status, 200);
        let set = KeySet::parse(keys.to_string().as_bytes()).unwrap();
        let mut scratch = Vec::new();
        let jws = Jws::parse(token.as_bytes(), &mut scratch).unwrap();
        match set.find(jws.header.get("kid").and_then(|kid| kid.as_str()), jws.algorithm) {
            Lookup::Key(key) => jws.verify(key),
            _ => false,
        }
    }
}

/// With the credentials of the client.
fn with<'a>(form: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [form, &[("client_id", "gateway"), ("client_secret", "gateway-secret")]].concat()
}

fn claims(token: &str) -> Value {
    let mut scratch = Vec::new();
    serde_json::to_value(&Jws::parse(token.as_bytes(), &mut scratch).unwrap().claims).unwrap()
}

#[tokio::test]
async fn tokens_say_who_and_verify_with_the_published_keys() {
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::Es512, Algorithm::EdDsa] {
        let there = There::start(Options { algorithm, ..Options::default() });
        let (_, document) = there.get("/.well-known/openid-configuration").await;
        assert_eq!(document["issuer"], json!(there.idp.issuer()));
        assert_eq!(document["jwks_uri"], json!(there.url("/jwks")));
        let token = there.password().await;
        assert!(there.published(&token).await, "{algorithm}");
        let said = claims(&token);
        assert_eq!(said["iss"], document["issuer"]);
        assert_eq!((&said["sub"], &said["client_id"]), (&json!("john"), &json!("gateway")));
        assert_eq!((&said["scope"], &said["aud"]), (&json!("openid orders"), &json!(["api"])));
        assert_eq!(said["realm_access"]["roles"], json!(["reader"]));
        assert_eq!(said["exp"].as_u64().unwrap() - said["iat"].as_u64().unwrap(), 300);
    }
}

#[tokio::test]
async fn wrong_credentials_get_nothing() {
    let there = There::start(Options::default());
    let user = |name, password| with(&[("grant_type", "password"), ("username", name), ("password", password)]);
    for (form, status, error) in [
        (user("john", "wrong"), 400, "invalid_grant"),
        (user("jane", "doe"), 400, "invalid_grant"),
        (user("john", ""), 400, "invalid_grant"),
        (with(&[("grant_type", "authorization_code")]), 400, "unsupported_grant_type"),
        (
            vec![("grant_type", "client_credentials"), ("client_id", "gateway"), ("client_secret", "x")],
            401,
            "invalid_client",
        ),
        (vec![("grant_type", "client_credentials"), ("client_id", "gateway")], 401, "invalid_client"),
        (vec![("grant_type", "client_credentials"), ("client_id", "public")], 400, "unauthorized_client"),
        (vec![("grant_type", "client_credentials")], 401, "invalid_client"),
    ] {
        let (got, answer) = there.post("/token", &form).await;
        assert_eq!((got, &answer["error"]), (status, &json!(error)), "{form:?}");
        assert!(answer.get("access_token").is_none());
    }
    let basic = there.http.post(there.url("/token")).basic_auth("gateway", Some("gateway-secret"));
    let answer = basic.form(&[("grant_type", "client_credentials")]).send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(claims(answer["access_token"].as_str().unwrap())["sub"], json!("gateway"));
}

#[tokio::test]
async fn a_new_key_signs_and_old_ones_stay_as_long_as_they_should() {
    let there = There::start(Options { keep: 1, ..Options::default() });
    let first = there.password().await;
    there.post("/rotate", &[]).await;
    let second = there.password().await;
    assert!(there.published(&first).await && there.published(&second).await);
    there.post("/rotate", &[]).await;
    let third = there.password().await;
    assert!(!there.published(&first).await && there.published(&second).await && there.published(&third).await);

    let there = There::start(Options { keep: 0, ahead: true, ..Options::default() });
    let (_, before) = there.get("/jwks").await;
    there.idp.rotate().unwrap();
    let token = there.password().await;
    assert!(
        before.to_string().contains(
            Jws::parse(token.as_bytes(), &mut Vec::new()).unwrap().header.get("kid").unwrap().as_str().unwrap()
        ),
        "the next key was published before it signed"
    );

    let there = There::start(Options { rotate_every: Some(Duration::from_millis(20)), keep: 0, ..Options::default() });
    let token = there.password().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!there.published(&token).await);
}

#[tokio::test]
async fn opaque_tokens_are_introspected_until_they_end() {
    let there = There::start(Options::default());
    let form = [("grant_type", "client_credentials"), ("client_id", "opaque"), ("client_secret", "s")];
    let token = there.post("/token", &form).await.1["access_token"].as_str().unwrap().to_owned();
    assert!(!token.contains('.'));
    let ask = |token: String| {
        let there = &there;
        async move { there.post("/introspect", &with(&[("token", &token)])).await }
    };
    let (_, told) = ask(token.clone()).await;
    assert_eq!((&told["active"], &told["sub"]), (&json!(true), &json!("opaque")));
    assert_eq!(there.post("/introspect", &[("token", &token)]).await.0, 401, "only clients are told");
    assert_eq!(ask("nonsense".into()).await.1, json!({ "active": false }));
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(ask(token).await.1, json!({ "active": false }), "expired");

    let token = there.password().await;
    let info = there.http.get(there.url("/userinfo")).bearer_auth(&token).send().await.unwrap();
    assert_eq!(info.json::<Value>().await.unwrap()["preferred_username"], json!("john"));
    assert_eq!(ask(token.clone()).await.1["active"], json!(true));
    there.post("/revoke", &with(&[("token", &token)])).await;
    assert_eq!(ask(token.clone()).await.1, json!({ "active": false }));
    assert_eq!(there.http.get(there.url("/userinfo")).bearer_auth(&token).send().await.unwrap().status().as_u16(), 401);
}

#[tokio::test]
async fn faults_come_and_go() {
    let there = There::start(Options::default());
    assert_eq!(there.misbehave(json!({ "status": 500, "only": ["jwks"] })).await, 200);
    assert_eq!(there.get("/jwks").await.0, 500);
    assert_eq!(there.get("/.well-known/openid-configuration").await.0, 200);
    assert_eq!(there.misbehave(json!({ "delay": 300 })).await, 200);
    let start = std::time::Instant::now();
    assert_eq!(there.get("/jwks").await.0, 200);
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(there.misbehave(json!({ "wrong_kid": true })).await, 200);
    let token = there.password().await;
    assert!(!there.published(&token).await);
    assert_eq!(there.misbehave(json!({ "extra_keys": 1000 })).await, 200);
    assert_eq!(there.get("/jwks").await.1["keys"].as_array().unwrap().len(), 1001);
    for wrong in [json!({ "status": 99 }), json!({ "only": ["nothing"] }), json!({ "dealy": 1 }), json!(1)] {
        assert_eq!(there.misbehave(wrong).await, 400);
    }
    there.http.delete(there.url("/faults")).send().await.unwrap();
    assert_eq!(there.get("/faults").await.1, serde_json::to_value(Faults::default()).unwrap());
    assert!(there.published(&there.password().await).await);
    assert_eq!(there.idp.count("jwks"), 5);
    assert_eq!(there.get("/counts").await.1["jwks"], json!(5));
    let page = there.http.post(there.url("/rotate")).header("origin", "https://evil.example");
    assert_eq!(page.send().await.unwrap().status().as_u16(), 403);
}

#[tokio::test]
async fn it_serves_this_machine_only() {
    for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
        let options = Options { listen: address.parse().unwrap(), ..Options::default() };
        assert!(matches!(Idp::start(options), Err(Refused::NotLoopback(_))), "{address}");
    }
    let options = Options { algorithm: Algorithm::Hs256, ..Options::default() };
    assert!(matches!(Idp::start(options), Err(Refused::Algorithm("HS256"))));
    let first = Idp::start(Options::default()).unwrap();
    let again = Options { listen: first.address(), ..Options::default() };
    assert!(matches!(Idp::start(again), Err(Refused::Listen(..))));
}
