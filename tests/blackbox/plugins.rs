//! Several plugins on one route, and which of them run (contract 1.5 and 3.6), as clients and services see it.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use portcullis::entity::{Dataset, Kind};
use portcullis::gateway::testing::Setup;
use serde_json::{Value, json};

use super::streams::http2;
use super::support::echo::{Echo, Seen};
use super::support::gateway::{Gateway, consumer, dataset, plugin, put, token};
use super::support::http::{self, Answer};

/// Routes on an echo service, with alice, bob and a consumer for those without credentials.
fn configured(routes: &[Value]) -> (Echo, Dataset) {
    let echo = Echo::start();
    let routes: Vec<Value> = routes
        .iter()
        .map(|route| {
            let mut route = route.clone();
            route["service"] = json!(0);
            route
        })
        .collect();
    let mut dataset = dataset(&[json!({"port": echo.port})], &routes);
    consumer(&mut dataset, 1, "alice");
    consumer(&mut dataset, 2, "bob");
    put(&mut dataset, Kind::Consumer, json!({"id": NOBODY, "username": "no-body"}));
    (echo, dataset)
}

const NOBODY: &str = "00000000-0000-4000-8000-000300000099";

fn bearer(name: &str) -> String {
    format!("Authorization: Bearer {}\r\n", token(name))
}

fn key(name: &str) -> String {
    format!("apikey: key-of-{name}\r\n")
}

struct Asked {
    gateway: Gateway,
    echo: Echo,
}

impl Asked {
    fn get(&self, path: &str, headers: &str) -> (Answer, Option<Seen>) {
        self.ask("GET", path, headers)
    }

    fn ask(&self, method: &str, path: &str, headers: &str) -> (Answer, Option<Seen>) {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        (http::exchange(&mut *self.gateway.endpoint().connect(), &request), self.echo.take())
    }

    /// Who the service sees, or the challenge of a 401.
    #[track_caller]
    fn caller(&self, path: &str, headers: &str) -> String {
        let (answer, seen) = self.get(path, headers);
        match (answer.status, seen) {
            (200, Some(seen)) => {
                let one = |name: &str| seen.header(name).join(",");
                format!(
                    "{}|{}|{}",
                    one("x-consumer-username"),
                    one("x-credential-identifier"),
                    one("x-anonymous-consumer")
                )
            }
            (401, None) => answer.header("www-authenticate").unwrap_or("no challenge").to_owned(),
            other => panic!("{path} {headers:?}: {other:?}"),
        }
    }
}

/// Cases J42 to J45.
#[test]
fn several_ways_to_authenticate_are_and_unless_anonymous_makes_them_or() {
    let (echo, mut dataset) =
        configured(&[json!({"paths": ["/and"]}), json!({"paths": ["/or"]}), json!({"paths": ["/mixed"]})]);
    plugin(&mut dataset, Some(0), "jwt", json!({}));
    plugin(&mut dataset, Some(0), "key-auth", json!({}));
    plugin(&mut dataset, Some(1), "jwt", json!({"anonymous": "no-body"}));
    plugin(&mut dataset, Some(1), "key-auth", json!({"anonymous": NOBODY}));
    plugin(&mut dataset, Some(2), "jwt", json!({"anonymous": "no-body"}));
    plugin(&mut dataset, Some(2), "key-auth", json!({}));
    let asked = Asked { gateway: Gateway::start(dataset), echo };
    let (alice, bobs_key, bad) = (bearer("alice"), key("bob"), "Authorization: Bearer a.b.c\r\n");
    let both = format!("{alice}{bobs_key}");
    let alice_of_or = "alice|alice|";
    let nobody = "no-body||true";
    let id = asked.caller("/and", &both).split('|').nth(1).unwrap().to_owned();
    assert_eq!(id.len(), 36, "key-auth runs after jwt, and identifies by the credential's id");
    let bob = format!("bob|{id}|");
    for (path, headers, expected) in [
        ("/and", both.as_str(), bob.as_str()),
        ("/and", &alice, "Key"),
        ("/and", &bobs_key, "Bearer"),
        ("/and", "", "Bearer"),
        ("/or", &both, alice_of_or),
        ("/or", &alice, alice_of_or),
        ("/or", &bobs_key, &bob),
        ("/or", "", nobody),
        ("/or", bad, nobody),
        ("/or", "apikey: wrong\r\n", nobody),
        ("/or", &format!("{bad}{bobs_key}"), &bob),
        ("/mixed", &both, &bob),
        ("/mixed", &bobs_key, &bob),
        ("/mixed", &alice, "Key"),
        ("/mixed", "", "Key"),
    ] {
        assert_eq!(asked.caller(path, headers), expected, "{path} {headers}");
    }
}

/// Case J41.
#[test]
fn an_anonymous_consumer_that_does_not_exist_is_a_500_for_who_needs_it() {
    let (echo, mut dataset) = configured(&[json!({"paths": ["/"]})]);
    plugin(&mut dataset, Some(0), "jwt", json!({"anonymous": "nobody-there"}));
    let asked = Asked { gateway: Gateway::start(dataset), echo };
    let (answer, seen) = asked.get("/", "");
    assert_eq!((answer.status, seen.is_none()), (500, true));
    let said: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(Some(said["request_id"].as_str().unwrap()), answer.header("x-kong-request-id"));
    assert_eq!(asked.caller("/", &bearer("alice")), "alice|alice|");
}

/// Contract 3.6: request-termination on the anonymous consumer turns "let in as nobody" into a refusal.
#[test]
fn a_consumers_own_plugin_runs_for_it_alone() {
    let (echo, mut dataset) = configured(&[json!({"paths": ["/"]})]);
    plugin(&mut dataset, Some(0), "jwt", json!({"anonymous": "no-body"}));
    let terminate = json!({"status_code": 401, "message": "come with a token", "echo": false});
    put(
        &mut dataset,
        Kind::Plugin,
        json!({"name": "request-termination", "consumer": {"id": NOBODY}, "config": terminate}),
    );
    let asked = Asked { gateway: Gateway::start(dataset), echo };
    let (answer, seen) = asked.get("/", "");
    assert_eq!((answer.status, answer.body.as_str()), (401, r#"{"message":"come with a token"}"#));
    assert!(seen.is_none());
    assert_eq!(asked.caller("/", &bearer("alice")), "alice|alice|");
}

/// Case R50: of each name one instance runs, the most specific.
#[test]
fn the_most_specific_instance_runs() {
    let (echo, mut dataset) = configured(&[json!({"paths": ["/route"]}), json!({"paths": ["/service"]})]);
    put(&mut dataset, Kind::Route, json!({"name": "alone", "paths": ["/global"]}));
    let service = dataset.services[0].id;
    let terminate = |message: &str| json!({"status_code": 200, "message": message});
    plugin(&mut dataset, None, "request-termination", terminate("global"));
    put(
        &mut dataset,
        Kind::Plugin,
        json!({"name": "request-termination", "service": {"id": service}, "config": terminate("service")}),
    );
    plugin(&mut dataset, Some(0), "request-termination", terminate("route"));
    let asked = Asked { gateway: Gateway::start(dataset), echo };
    for path in ["/route", "/service", "/global"] {
        let expected = format!("{{\"message\":\"{}\"}}", &path[1..]);
        assert_eq!(asked.get(path, "").0.body, expected, "{path}");
    }
}

/// A plugin's `protocols`: it runs for these, and is as if absent for others.
#[test]
fn plugins_run_for_their_protocols_alone() {
    let (echo, mut dataset) = configured(&[json!({"paths": ["/https"]}), json!({"paths": ["/both"]})]);
    let of = |route: usize, protocols: &[&str]| {
        json!({
            "name": "jwt", "protocols": protocols, "config": {},
            "route": {"id": format!("00000000-0000-4000-8000-0002{route:08}")},
        })
    };
    put(&mut dataset, Kind::Plugin, of(0, &["https"]));
    put(&mut dataset, Kind::Plugin, of(1, &["http", "https"]));
    let asked = Asked { gateway: Gateway::start(dataset), echo };
    assert_eq!(asked.get("/https", "").0.status, 200, "this request came without TLS");
    assert_eq!(asked.get("/both", "").0.status, 401);
    // What a client says of itself does not choose which plugins run.
    for header in ["X-Forwarded-Proto: https\r\n", "Content-Type: application/grpc\r\n"] {
        assert_eq!(asked.get("/both", header).0.status, 401, "{header}");
        assert_eq!(asked.get("/https", header).0.status, 200, "{header}");
    }
}

/// Cases J08 and J09; SECURITY 1c: nothing but the method is looked at, and identity headers end here all the same.
#[test]
fn preflight_requests_pass_where_the_plugin_says_so() {
    let (echo, mut dataset) = configured(&[json!({"paths": ["/open"]}), json!({"paths": ["/held"]})]);
    plugin(&mut dataset, Some(0), "jwt", json!({"run_on_preflight": false}));
    plugin(&mut dataset, Some(1), "jwt", json!({}));
    let asked = Asked { gateway: Gateway::start(dataset), echo };
    let (answer, seen) = asked.ask("OPTIONS", "/open", "X-Consumer-ID: 1\r\nX_Consumer_Username: root\r\n");
    assert_eq!(answer.status, 200);
    let seen = seen.unwrap();
    assert!(seen.headers.iter().all(|(name, _)| !name.to_lowercase().replace('_', "-").starts_with("x-consumer")));
    assert_eq!(asked.ask("OPTIONS", "/held", "").0.status, 401);
    for (method, headers) in [
        ("options", ""),
        ("GET", "X-HTTP-Method-Override: OPTIONS\r\n"),
        ("POST", "X-HTTP-Method: OPTIONS\r\nAccess-Control-Request-Method: GET\r\nOrigin: http://a\r\n"),
    ] {
        assert_eq!(asked.ask(method, "/open", headers).0.status, 401, "{method} {headers}");
    }
}

/// Case J46: a gRPC client gets a status it can read, and may authenticate by metadata.
#[test]
fn grpc_clients_are_told_in_their_terms() {
    let (echo, mut dataset) = configured(&[json!({"paths": ["/"], "strip_path": false})]);
    plugin(&mut dataset, Some(0), "jwt", json!({}));
    let gateway = Gateway::with(dataset, Setup { h2c: true, ..Setup::default() });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let call = |token: Option<String>| {
        let mut request = ::http::Request::builder()
            .version(::http::Version::HTTP_2)
            .method("POST")
            .uri(format!("http://localhost:{}/pkg.Svc/Do", gateway.port()))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(token) = token {
            request = request.header("authorization", format!("bearer {token}"));
        }
        runtime.block_on(http2(gateway.port(), request.body(()).unwrap(), Some(Bytes::from_static(&[0; 5]))))
    };
    let (parts, body) = call(None);
    assert_eq!((parts.headers["grpc-status"].as_bytes(), body.len()), (&b"16"[..], 0));
    assert_eq!(parts.headers["grpc-message"], "Unauthorized");
    assert!(echo.take().is_none());
    let (parts, _) = call(Some(token("alice")));
    assert_eq!(parts.status, 200);
    assert_eq!(echo.take().unwrap().header("x-consumer-username"), ["alice"]);
}

/// Cases J26, J27, J12: tokens in the query, decoded, repeated, and beside others.
#[test]
fn tokens_in_several_places() {
    let (echo, mut dataset) = configured(&[json!({"paths": ["/"]})]);
    let config = json!({"uri_param_names": ["jwt", "token"], "cookie_names": ["session"], "claims_to_verify": null});
    plugin(&mut dataset, Some(0), "jwt", config);
    let asked = Asked { gateway: Gateway::start(dataset), echo };
    let (alice, bob) = (token("alice"), token("bob"));
    let encoded = alice.replace('.', "%2E");
    let status = |path: &str, headers: &str| asked.get(path, headers).0;
    for (path, headers) in [
        (format!("/?jwt={alice}"), String::new()),
        (format!("/?token={encoded}&jwt="), String::new()),
        (format!("/?jwt={alice}&jwt={alice}"), bearer("alice")),
        (format!("/?token={alice}"), format!("Cookie: a=b; session={alice}\r\n")),
        ("/".into(), format!("Cookie: a=b\r\nCookie: session={alice}\r\n")),
    ] {
        assert_eq!(status(&path, &headers).status, 200, "{path} {headers}");
    }
    for (path, headers) in [
        (format!("/?jwt={alice}&token={bob}"), String::new()),
        (format!("/?jwt={alice}"), bearer("bob")),
        (format!("/?jwt={alice}"), "Authorization: Bearer x\r\n".to_owned()),
        ("/".into(), format!("Cookie: session={bob}\r\n{}", bearer("alice"))),
        (format!("/?jwt&jwt={alice}"), String::new()),
    ] {
        let answer = status(&path, &headers);
        assert_eq!((answer.status, answer.body.as_str()), (401, r#"{"message":"Multiple tokens provided"}"#), "{path}");
        assert_eq!(answer.header("www-authenticate"), Some(r#"Bearer error="invalid_token""#));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    }
}

/// Claims whose numbers are none, or are beyond what a number of seconds can be (SECURITY 1b).
#[test]
fn times_of_every_shape() {
    let (echo, mut dataset) = configured(&[json!({"paths": ["/both"]}), json!({"paths": ["/max"]})]);
    plugin(&mut dataset, Some(0), "jwt", json!({"claims_to_verify": ["exp", "nbf"]}));
    plugin(&mut dataset, Some(1), "jwt", json!({"claims_to_verify": ["exp"], "maximum_expiration": 300}));
    let asked = Asked { gateway: Gateway::start(dataset), echo };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let signed = |claims: &str| {
        use base64::Engine;
        let base64 = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let text = format!("{}.{}", base64.encode(r#"{"alg":"HS256"}"#), base64.encode(claims));
        let key = jsonwebtoken::EncodingKey::from_secret(b"secret-of-alice-that-is-long-enough");
        let signature = jsonwebtoken::crypto::sign(text.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
        format!("Authorization: Bearer {text}.{signature}\r\n")
    };
    let claims = |exp: &str, nbf: &str| signed(&format!(r#"{{"iss":"alice","exp":{exp},"nbf":{nbf}}}"#));
    let (later, soon) = ((now + 600).to_string(), (now + 60).to_string());
    for (exp, nbf, expected) in [
        (later.as_str(), "0", None),
        (&format!("{later}.5"), "-1", None),
        ("1e300", "1.5", None),
        (&format!("\"{later}\""), "0", Some(r#"{"exp":"must be a number"}"#)),
        ("null", "0", Some(r#"{"exp":"must be a number"}"#)),
        ("[1]", "0", Some(r#"{"exp":"must be a number"}"#)),
        ("true", "false", Some(r#"{"exp":"must be a number","nbf":"must be a number"}"#)),
        ("-1", "0", Some(r#"{"exp":"token expired"}"#)),
        ("0", "0", Some(r#"{"exp":"token expired"}"#)),
        (&now.to_string(), "0", Some(r#"{"exp":"token expired"}"#)),
        ("-1e300", "0", Some(r#"{"exp":"token expired"}"#)),
        (&later, "1e300", Some(r#"{"nbf":"token not valid yet"}"#)),
        (&later, "18446744073709551616", Some(r#"{"nbf":"token not valid yet"}"#)),
        ("1e400", "0", Some(r#"{"message":"Bad token; invalid JSON"}"#)),
    ] {
        let (answer, seen) = asked.get("/both", &claims(exp, nbf));
        match expected {
            None => assert_eq!((answer.status, seen.is_some()), (200, true), "{exp} {nbf}: {}", answer.body),
            Some(body) => {
                let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
                assert_eq!((answer.status, json(&answer.body), seen.is_none()), (401, json(body), true), "{exp} {nbf}");
            }
        }
    }
    for (exp, status) in [(soon.as_str(), 200), (&later, 401), ("18446744073709551616", 401), ("1e300", 401)] {
        let (answer, _) = asked.get("/max", &claims(exp, "0"));
        assert_eq!(answer.status, status, "{exp}: {}", answer.body);
    }
}
