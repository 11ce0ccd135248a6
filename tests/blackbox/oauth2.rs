//! The oauth2 plugin where the recorded cases do not reach.

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
