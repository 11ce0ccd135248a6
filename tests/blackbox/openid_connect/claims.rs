//! What a service gets to see: no credential that is to be hidden, no header that a client made up.

use serde_json::json;

use super::support::{Guarded, bearer};
use crate::blackbox::support::http;
use crate::blackbox::support::idp::Idp;

/// From all four places; and the rest of each goes on as it was.
#[test]
fn hidden_credentials_do_not_reach_the_service() {
    let idp = Idp::start();
    let config = |hide: bool| {
        let more = json!({"hide_credentials": hide, "upstream_access_token_header": null,
            "bearer_token_param_type": ["header", "query", "body", "cookie"], "bearer_token_cookie_name": "tok"});
        bearer(&idp, more)
    };
    let guarded = Guarded::start(&[config(true), config(false)]);
    let token = idp.token(json!({}));
    let form = format!("a=1&access_token={token}&b=%20");
    for (route, hidden) in [(0, true), (1, false)] {
        for request in [
            format!("GET /{route}/?x=%41 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"),
            format!("GET /{route}/?x=%41&access_token={token}&y HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("GET /{route}/?x=%41 HTTP/1.1\r\nHost: a\r\nCookie: a=1; tok={token}; b=2\r\n\r\n"),
            format!(
                "POST /{route}/?x=%41 HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 Content-Length: {}\r\n\r\n{form}",
                form.len()
            ),
        ] {
            let answer = http::exchange(&mut *guarded.gateway.endpoint().connect(), &request);
            assert_eq!(answer.status, 200, "{request}");
            let seen = guarded.echo.take().unwrap();
            assert_eq!(format!("{seen:?}").contains(&token), !hidden, "{request}\n{seen:?}");
            assert!(seen.uri.starts_with(&format!("/{route}/?x=%41")), "{}", seen.uri);
            if request.contains("Cookie") {
                let kept = if hidden { "a=1; b=2".to_owned() } else { format!("a=1; tok={token}; b=2") };
                assert_eq!(seen.header("cookie"), [kept]);
            }
            if request.starts_with("POST") {
                assert_eq!(seen.body, if hidden { "a=1&b=%20".to_owned() } else { form.clone() });
            }
        }
    }
}

/// Headers that carry claims are as good as identity headers: nobody else may set them, in no spelling.
#[test]
fn headers_of_claims_come_from_claims_alone() {
    let idp = Idp::start();
    let more = json!({"upstream_headers_claims": ["email", "realm_access.roles"],
        "upstream_headers_names": ["X-Email", "X-Roles"], "downstream_headers_claims": ["email"],
        "downstream_headers_names": ["X-Told"]});
    let guarded = Guarded::one(&idp, more);
    let request = |token: &str| {
        format!(
            "GET /0/ HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nX-Email: evil\r\nX_Email: evil\r\n\
             x-email: evil\r\nX_ROLES: evil\r\nX-Other: kept\r\nConnection: keep-alive, X-Email\r\n\r\n"
        )
    };
    let with = idp.token(json!({"email": "alice@example.com", "realm_access": {"roles": "admin"}}));
    let answer = http::exchange(&mut *guarded.gateway.endpoint().connect(), &request(&with));
    assert_eq!((answer.status, answer.header("x-told")), (200, Some("alice@example.com")));
    let seen = guarded.echo.take().unwrap();
    assert_eq!((seen.header("x-email"), seen.header("x-roles")), (vec!["alice@example.com"], vec!["admin"]));
    assert!(!format!("{seen:?}").contains("evil"), "{seen:?}");
    assert_eq!(seen.header("x-other"), ["kept"]);

    let without = idp.token(json!({}));
    let answer = http::exchange(&mut *guarded.gateway.endpoint().connect(), &request(&without));
    assert_eq!((answer.status, answer.header("x-told")), (200, None));
    let seen = guarded.echo.take().unwrap();
    assert!(!format!("{seen:?}").contains("evil"), "{seen:?}");
    assert_eq!(seen.header("x-other"), ["kept"], "control: other headers go on");

    // Behind more lines than are looked at for credentials (Kong's 100).
    let lines: String = (0..150).map(|n| format!("X-{n}: v\r\n")).collect();
    let long = request(&without).replace("X-Email: evil", &format!("{lines}X-Email: evil"));
    assert_eq!(http::exchange(&mut *guarded.gateway.endpoint().connect(), &long).status, 200);
    let seen = guarded.echo.take().unwrap();
    assert!(!format!("{seen:?}").contains("evil"), "{seen:?}");
    assert_eq!(
        (seen.header("x-149"), seen.header("x-other")),
        (vec!["v"], vec!["kept"]),
        "control: other headers go on"
    );
}
