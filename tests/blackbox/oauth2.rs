//! The oauth2 plugin where the recorded cases do not reach.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::http::{self, Answer, Endpoint};
use super::support::process::Process;

/// Two routes without a service: tokens issued there belong to no service.
const ROUTES: &str = r#"{
  "_format_version": "3.0",
  "routes": [
    {"name": "alone", "paths": ["/alone"], "plugins": [{"name": "oauth2", "config": {"enable_client_credentials": true}}]},
    {"name": "global", "paths": ["/global"],
     "plugins": [{"name": "oauth2", "config": {"enable_client_credentials": true, "global_credentials": true}}]}
  ],
  "consumers": [{"username": "jane", "oauth2_credentials": [{"name": "app", "client_id": "c", "client_secret": "s"}]}]
}"#;

fn issue(process: &Process, path: &str) -> Answer {
    let form = "grant_type=client_credentials&client_id=c&client_secret=s";
    let request = format!(
        "POST {path}/oauth2/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    http::exchange(&mut *Endpoint::tls(process.https).connect(), &request)
}

/// Otherwise its token would be taken for a global one wherever those are taken.
#[test]
fn a_route_without_a_service_issues_global_tokens_alone() {
    let process = Process::start(ROUTES);
    let refused = issue(&process, "/alone");
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(refused.body.contains("invalid_request") && !refused.body.contains("access_token"), "{refused:?}");
    let issued = issue(&process, "/global");
    assert_eq!(issued.status, 200, "{issued:?}");
    assert!(issued.body.contains("access_token"));
}

#[test]
fn an_issued_token_is_not_counted_as_a_refusal() {
    let denied = |process: &Process| {
        let metrics = http::get(Endpoint::plain(process.status), "/metrics", &[]).body;
        let mut lines = metrics.lines().filter(|line| line.starts_with("portcullis_auth_requests_total"));
        lines
            .any(|line| line.contains("plugin=\"oauth2\"") && line.contains("result=\"deny\"") && !line.ends_with(" 0"))
    };
    let process = Process::start(ROUTES);
    assert_eq!(issue(&process, "/global").status, 200);
    assert!(!denied(&process), "the answer with a token counts as a refusal");
    assert_eq!(issue(&process, "/alone").status, 400);
    assert!(denied(&process), "the refusal is not counted");
}

// What an attacker tries at the token endpoint, each beside a request that must still work.

const CALLBACK: &str = "https://app.test/cb";

const DOOR: &str = r#"{
  "_format_version": "3.0",
  "services": [{"name": "echo", "url": "http://127.0.0.1:1", "routes": [{"name": "api", "paths": ["/api"], "plugins": [
    {"name": "oauth2", "config": {"provision_key": "pk", "enable_authorization_code": true, "enable_client_credentials": true,
                                  "enable_implicit_grant": true}}]}]}],
  "consumers": [{"username": "jane", "oauth2_credentials": [
    {"name": "hashed", "client_id": "hashed", "client_secret": "right-secret", "hash_secret": true, "redirect_uris": ["https://app.test/cb"]},
    {"name": "plain", "client_id": "plain", "client_secret": "right-secret", "redirect_uris": ["https://app.test/cb", "https://app.test/two?x=1"]},
    {"name": "public", "client_id": "public", "client_type": "public", "redirect_uris": ["https://app.test/cb"]}
  ]}]
}"#;

fn post(endpoint: Endpoint, path: &str, form: &[(&str, &str)]) -> Answer {
    let form: Vec<String> = form
        .iter()
        .map(|(name, value)| {
            format!("{name}={}", percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC))
        })
        .collect();
    let form = form.join("&");
    let request = format!(
        "POST /api/oauth2/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    http::exchange(&mut *endpoint.connect(), &request)
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"))
}

fn own(endpoint: Endpoint, id: &str, secret: &str) -> Answer {
    post(endpoint, "token", &[("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)])
}

fn authorize(endpoint: Endpoint, more: &[(&str, &str)]) -> Answer {
    let mut form = vec![("response_type", "code"), ("provision_key", "pk"), ("authenticated_userid", "u")];
    form.extend(more);
    post(endpoint, "authorize", &form)
}

fn location(answer: &Answer) -> String {
    json(answer)["redirect_uri"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn code(endpoint: Endpoint, more: &[(&str, &str)]) -> String {
    let location = location(&authorize(endpoint, more));
    location.split_once("code=").unwrap_or_else(|| panic!("{location}")).1.to_owned()
}

fn redeem(endpoint: Endpoint, client: &str, code: &str, more: &[(&str, &str)]) -> Answer {
    let mut form = vec![("grant_type", "authorization_code"), ("client_id", client), ("code", code)];
    if client != "public" {
        form.push(("client_secret", "right-secret"));
    }
    form.extend(more);
    post(endpoint, "token", &form)
}

/// Whether the gateway takes a token: it then tries the service, which is not there.
/// Whether a token is let through, now and when it comes again and again.
fn works(process: &Process, token: &str) -> bool {
    let ask = |_| {
        let answer = http::get(Endpoint::plain(process.http), "/api", &[("Authorization", &format!("Bearer {token}"))]);
        assert!(matches!(answer.status, 401 | 502), "{answer:?}");
        answer.status == 502
    };
    let answers = [0, 1, 2].map(ask);
    assert!(answers.iter().all(|works| *works == answers[0]), "{token}: {answers:?}");
    answers[0]
}

fn token_of(answer: &Answer) -> String {
    json(answer)["access_token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// RFC 6749 section 2.3.1; nobody learns which clients exist.
#[test]
fn an_unknown_client_and_a_wrong_secret_are_told_the_same_in_the_same_time() {
    let process = Process::start(DOOR);
    let tls = Endpoint::tls(process.https);
    let mut times: Vec<(&str, Vec<Duration>)> = Vec::new();
    for (number, client) in ["nobody", "hashed", "plain"].into_iter().enumerate() {
        // Addresses of their own: failures are counted.
        let from = tls.from(10 + u8::try_from(number).unwrap());
        let mut took = Vec::new();
        for attempt in 0..15 {
            let start = Instant::now();
            let refused = own(from, client, &format!("wrong-{attempt}"));
            took.push(start.elapsed());
            assert_eq!(refused.status, 400, "{refused:?}");
            assert_eq!(
                json(&refused),
                json!({"error": "invalid_client", "error_description": "Invalid client authentication"})
            );
            let names: Vec<&str> = refused.headers.iter().map(|(name, _)| name.as_str()).collect();
            assert!(!names.iter().any(|name| name.eq_ignore_ascii_case("www-authenticate")), "{names:?}");
        }
        times.push((client, took));
    }
    let medians: Vec<(&str, Duration)> = times.into_iter().map(|(client, took)| (client, median(took))).collect();
    let (shortest, longest) = (medians.iter().map(|m| m.1).min().unwrap(), medians.iter().map(|m| m.1).max().unwrap());
    assert!(longest < shortest * 2, "{medians:?}");
    for client in ["hashed", "plain"] {
        assert_eq!(own(tls, client, "right-secret").status, 200);
    }
}

/// RFC 6749 section 2.3.1 has id and secret encoded; most clients, and Kong, do not.
#[test]
fn a_basic_header_is_read_both_ways() {
    use base64::Engine as _;
    let odd = DOOR.replace(
        "\"client_id\": \"plain\", \"client_secret\": \"right-secret\"",
        "\"client_id\": \"a b\", \"client_secret\": \"50%25-+x\"",
    );
    let process = Process::start(&odd);
    let form = "grant_type=client_credentials";
    let ask = |client: u8, credentials: &str| {
        let basic = base64::engine::general_purpose::STANDARD.encode(credentials);
        let request = format!(
            "POST /api/oauth2/token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {basic}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        http::exchange(&mut *Endpoint::tls(process.https).from(client).connect(), &request).status
    };
    for (credentials, status) in [
        ("a b:50%25-+x", 200),
        ("a+b:50%2525%2D%2Bx", 200),
        ("a%20b:50%2525%2D%2Bx", 200),
        ("a b:50%-+x", 401),
        ("a b:50%25- x", 401),
        ("hashed:right%2Dsecret", 200),
        ("hashed:right-secret", 200),
        ("hashed:right%252Dsecret", 401),
    ] {
        assert_eq!(ask(60, credentials), status, "{credentials}");
    }
}

#[test]
fn guessing_is_stopped_for_the_address_alone() {
    let process = Process::start(DOOR);
    let (guesser, other) = (Endpoint::tls(process.https).from(20), Endpoint::tls(process.https).from(21));
    let mut refusals = 0;
    let stopped = (0..80).map(|n| own(guesser, "plain", &format!("guess-{n}"))).find(|answer| {
        refusals += usize::from(answer.status == 400);
        answer.status == 429
    });
    let stopped = stopped.expect("80 guesses within a minute");
    assert!((50..=60).contains(&refusals), "{refusals}");
    assert_eq!(stopped.header("retry-after"), Some("60"));
    assert_eq!(own(guesser, "plain", "right-secret").status, 429, "the right one is not told from the others");
    assert_eq!(authorize(guesser, &[("client_id", "plain")]).status, 429);
    assert_eq!(own(other, "plain", "right-secret").status, 200);
    let metrics = http::get(Endpoint::plain(process.status), "/metrics", &[]).body;
    assert!(metrics.contains("portcullis_oauth2_refused_total{endpoint=\"token\",error=\"attempts\"}"), "{metrics}");
}

#[test]
fn guesses_at_once_are_stopped_as_well() {
    let process = Process::start(DOOR);
    let guesser = Endpoint::tls(process.https).from(30);
    let guesses: Vec<_> =
        (0..150).map(|n| std::thread::spawn(move || own(guesser, "hashed", &format!("guess-{n}")).status)).collect();
    let statuses: Vec<u16> = guesses.into_iter().map(|guess| guess.join().unwrap()).collect();
    let tried = statuses.iter().filter(|status| **status == 400).count();
    assert!(tried <= 62 && statuses.contains(&429), "{tried} secrets were tried");
    assert_eq!(own(Endpoint::tls(process.https), "hashed", "right-secret").status, 200);
}

#[test]
fn codes_and_provision_keys_are_not_guessed_either() {
    let process = Process::start(DOOR);
    let tls = Endpoint::tls(process.https);
    for (number, wrong) in [(40, "code"), (41, "refresh"), (42, "key")] {
        let guesser = tls.from(number);
        let statuses: Vec<u16> = (0..70)
            .map(|n| match wrong {
                "code" => redeem(guesser, "plain", &format!("c{n}"), &[]).status,
                "refresh" => {
                    let form =
                        [("grant_type", "refresh_token"), ("client_id", "plain"), ("client_secret", "right-secret")];
                    let guess = format!("r{n}");
                    post(guesser, "token", &[&form[..], &[("refresh_token", guess.as_str())]].concat()).status
                }
                _ => post(guesser, "authorize", &[("provision_key", &format!("k{n}")), ("client_id", "plain")]).status,
            })
            .collect();
        assert!(statuses.starts_with(&[400; 50]) && statuses.ends_with(&[429; 8]), "{wrong}: {statuses:?}");
    }
    assert_eq!(redeem(tls, "plain", &code(tls, &[("client_id", "plain")]), &[]).status, 200);
}

/// RFC 6749 section 4.1.2.
#[test]
fn a_code_presented_by_another_ends_what_it_gave_out() {
    for process in [Process::start(DOOR), Process::on_sqlite(DOOR)] {
        let tls = Endpoint::tls(process.https);
        let stolen = code(tls, &[("client_id", "plain")]);
        assert_eq!(redeem(tls, "hashed", &stolen, &[]).status, 400, "another client's code");
        let given = redeem(tls, "plain", &stolen, &[]);
        assert_eq!(given.status, 200, "a stranger's attempt takes nothing from its owner: {given:?}");
        let token = token_of(&given);
        // A token that came often is remembered, which must not outlive it.
        assert!(works(&process, &token));
        assert_eq!(redeem(tls, "plain", &stolen, &[]).status, 400);
        assert!(works(&process, &token), "its owner asked again at once: the answer was lost");
        let bystander = token_of(&own(tls, "plain", "right-secret"));
        assert_eq!(redeem(tls, "hashed", &stolen, &[]).status, 400);
        assert!(!works(&process, &token), "somebody else has the code");
        let refresh = json(&given)["refresh_token"].as_str().unwrap().to_owned();
        let form = [("grant_type", "refresh_token"), ("client_id", "plain"), ("client_secret", "right-secret")];
        assert_eq!(post(tls, "token", &[&form[..], &[("refresh_token", refresh.as_str())]].concat()).status, 400);
        assert!(works(&process, &bystander));
    }
}

/// RFC 9700 section 2.1.1.
#[test]
fn pkce_cannot_be_downgraded() {
    let process = Process::start(DOOR);
    let tls = Endpoint::tls(process.https);
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    // RFC 7636 appendix B.
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let protected =
        || code(tls, &[("client_id", "plain"), ("code_challenge", challenge), ("code_challenge_method", "S256")]);
    assert_eq!(redeem(tls, "plain", &protected(), &[("code_verifier", verifier)]).status, 200);
    let other = verifier.replace('d', "e");
    for (more, why) in [
        (vec![], "left out"),
        (vec![("code_verifier", "")], "empty"),
        (vec![("code_verifier", challenge)], "the challenge itself"),
        (vec![("code_verifier", other.as_str())], "another"),
    ] {
        assert_eq!(redeem(tls, "plain", &protected(), &more).status, 400, "{why}");
    }
    let bare = || code(tls, &[("client_id", "plain")]);
    assert_eq!(
        redeem(tls, "plain", &bare(), &[("code_verifier", verifier)]).status,
        400,
        "a verifier for a code without challenge"
    );
    assert_eq!(redeem(tls, "plain", &bare(), &[]).status, 200);
    let plain =
        authorize(tls, &[("client_id", "plain"), ("code_challenge", verifier), ("code_challenge_method", "plain")]);
    assert!(plain.status == 400 && location(&plain).contains("error=invalid_request"), "{plain:?}");
    let public = authorize(tls, &[("client_id", "public")]);
    assert!(public.status == 400 && location(&public).contains("error=invalid_request"), "{public:?}");
    let public = code(tls, &[("client_id", "public"), ("code_challenge", challenge)]);
    assert_eq!(redeem(tls, "public", &public, &[("code_verifier", verifier)]).status, 200);
}

/// RFC 9700 section 4.1.
#[test]
fn nothing_is_sent_to_an_address_that_is_not_registered() {
    let process = Process::start(DOOR);
    let tls = Endpoint::tls(process.https);
    let evil = [
        "https://app.test/cb/",
        "https://app.test/CB",
        "https://app.test/cb?x=1",
        "https://app.test/cb#f",
        "https://app.test/cb ",
        "https://app.test:443/cb",
        "http://app.test/cb",
        "https://app.test.evil/cb",
        "https://evil.test/cb",
        "https://app.test/cb/../evil",
        "https://app.test/%63b",
        "https://user@app.test/cb",
        "//app.test/cb",
        "https://app.test/two",
        "",
    ];
    for uri in evil {
        for response_type in ["code", "token"] {
            let refused =
                authorize(tls, &[("client_id", "plain"), ("redirect_uri", uri), ("response_type", response_type)]);
            assert_eq!(refused.status, 400, "{uri}");
            let location = location(&refused);
            assert!(location.starts_with(&format!("{CALLBACK}?error=invalid_request")), "{uri}: {location}");
            assert!(!location.contains("code=") && !location.contains("access_token"), "{uri}: {location}");
        }
        let refused = redeem(tls.from(50), "plain", &code(tls, &[("client_id", "plain")]), &[("redirect_uri", uri)]);
        assert_eq!(refused.status, 400, "{uri}");
    }
    let good = location(&authorize(tls, &[("client_id", "plain"), ("redirect_uri", "https://app.test/two?x=1")]));
    assert!(good.starts_with("https://app.test/two?code=") && good.ends_with("&x=1"), "{good}");
}

#[test]
fn nothing_that_was_handed_out_is_kept() {
    for process in [Process::start(DOOR), Process::on_sqlite(DOOR)] {
        let tls = Endpoint::tls(process.https);
        let waiting = code(tls, &[("client_id", "plain")]);
        let given = redeem(tls, "plain", &code(tls, &[("client_id", "plain")]), &[]);
        let refresh = json(&given)["refresh_token"].as_str().unwrap().to_owned();
        let kept = process.kept();
        let holds = |text: &str| kept.windows(text.len()).any(|window| window == text.as_bytes());
        let digest = portcullis::auth::oauth2::store::Digest::of(&token_of(&given)).to_text();
        assert!(holds(&digest), "its digest is looked for in the right place");
        for secret in [&token_of(&given), &refresh, &waiting] {
            assert!(!holds(secret));
        }
        let shown = http::get(Endpoint::plain(process.admin), "/oauth2/hashed", &[]).body;
        assert!(shown.contains("$pbkdf2-sha512$") && !shown.contains("right-secret"), "{shown}");
    }
}

/// Tokens of a declarative file: good as long as it says so, in the database once it is imported.
#[test]
fn tokens_are_declared() {
    let declared = r#"{
      "_format_version": "3.0", "_info": {"select_tags": ["tagged"]},
      "services": [{"name": "echo", "url": "http://127.0.0.1:1", "routes": [{"name": "api", "paths": ["/api"], "plugins": [
        {"name": "oauth2", "config": {"enable_client_credentials": true}}]}]}],
      "consumers": [{"username": "jane", "oauth2_credentials": [{"name": "app", "client_id": "app", "client_secret": "s",
        "oauth2_tokens": [{"access_token": "nested", "expires_in": 0, "service": "echo"}]}]}],
      "oauth2_tokens": [
        {"access_token": "top", "credential": "app", "service": "echo", "expires_in": 0, "scope": "email"},
        {"access_token": "old", "credential": "app", "service": "echo", "expires_in": 10, "created_at": 1000},
        {"access_token": "global", "credential": "app", "expires_in": 0}
      ]
    }"#;
    for (process, imported) in [(Process::start(declared), false), (Process::on_sqlite(declared), true)] {
        for (token, good) in [("nested", true), ("top", true), ("old", false), ("global", false), ("other", false)] {
            assert_eq!(works(&process, token), good, "{token}, imported: {imported}");
        }
        let admin = Endpoint::plain(process.admin);
        let listed = json(&http::get(admin, "/oauth2_tokens", &[]));
        assert_eq!(listed["data"].as_array().unwrap().len(), 4, "{listed}");
        let shown = json(&http::get(admin, "/oauth2_tokens/top", &[]));
        assert_eq!((&shown["scope"], &shown["access_token"]), (&json!("email"), &json!("top")), "{shown}");
        let remove =
            format!("DELETE /oauth2_tokens/{} HTTP/1.1\r\nHost: localhost\r\n\r\n", shown["id"].as_str().unwrap());
        let removed = http::exchange(&mut *admin.connect(), &remove);
        // One that the file declares is changed in the file.
        assert_eq!(removed.status, if imported { 204 } else { 405 }, "{removed:?}");
        assert_eq!(works(&process, "top"), !imported);
        assert!(works(&process, "nested"));
    }
}
