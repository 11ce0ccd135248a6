//! What `/metrics` shows is what `docs/metrics.md` says, and each of it has a value that a request or a reload has made.

use std::collections::BTreeSet;
use std::io::{BufReader, Write};

use rustix::process::Signal;

use crate::support::{Place, configuration, connect, eventually, get, read_answer};

/// The names in the documentation, those that need a database or an identity provider left out.
fn documented() -> BTreeSet<String> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap();
    let common = text.split("## Where there").next().unwrap();
    let name = regex::Regex::new("`((?:portcullis|kong|process)_[a-z0-9_]+)`").unwrap();
    name.captures_iter(common).map(|found| found[1].to_owned()).filter(|name| name != "kong_latency_metrics").collect()
}

#[test]
fn every_metric_is_documented_and_counts() {
    let place = Place::new(&[("PLUGINS", "bundled")]);
    let text = configuration("one", place.service)
        + r#"- name: guarded
  url: http://127.0.0.1:1
  routes:
  - name: guarded
    paths: [/guarded]
    plugins:
    - name: jwt
consumers:
- username: alice
  jwt_secrets:
  - {key: alice, secret: a-secret-that-is-long-enough-for-hs256}
"#;
    place.configure(&text);
    let gateway = place.start();
    let key = jsonwebtoken::EncodingKey::from_secret(b"a-secret-that-is-long-enough-for-hs256");
    let token =
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &serde_json::json!({"iss": "alice"}), &key).unwrap();
    for (header, status) in [(String::new(), 401), (format!("Authorization: Bearer {token}\r\n"), 502)] {
        let mut stream = connect(gateway.proxy());
        write!(stream, "GET /guarded HTTP/1.1\r\nHost: a\r\n{header}Connection: close\r\n\r\n").unwrap();
        assert_eq!(read_answer(&mut BufReader::new(stream)).unwrap().status, status);
    }
    assert_eq!(get(gateway.proxy(), "/echo").0, 200);
    assert_eq!(get(gateway.proxy(), "/nowhere").0, 404);
    place.configure("_format_version: \"3.0\"\nno: thing\n");
    gateway.signal(Signal::HUP);
    let failures = "portcullis_config_reload_total{result=\"failure\"} ";
    eventually("the broken file is counted", || gateway.metric(failures) == Some(1.0));
    place.configure(&text);
    gateway.signal(Signal::HUP);
    let successes = "portcullis_config_reload_total{result=\"success\"} ";
    eventually("the good file is counted", || gateway.metric(successes) == Some(2.0));

    let shown = gateway.metrics();
    let names: BTreeSet<String> =
        shown.lines().filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned())).collect();
    assert_eq!(names, documented());
    let value =
        |series: &str| gateway.metric(&format!("{series} ")).unwrap_or_else(|| panic!("no {series} in\n{shown}"));
    for (series, expected) in [
        (r#"portcullis_auth_requests_total{plugin="jwt",route="guarded",result="deny",reason="no_token"}"#, 1.0),
        (r#"portcullis_auth_requests_total{plugin="jwt",route="guarded",result="allow",reason=""}"#, 1.0),
        (r#"portcullis_verify_duration_seconds_count{algorithm="HS256",cache="miss",result="valid"}"#, 1.0),
        ("portcullis_gateway_duration_seconds_count", 4.0),
        (r#"portcullis_unmatched_requests_total{code="404"}"#, 1.0),
        ("portcullis_connections_accepted_total", 4.0),
        ("portcullis_snapshot_generation", 2.0),
        (r#"portcullis_snapshot_entities{type="jwt_secrets"}"#, 1.0),
        ("portcullis_config_last_reload_successful", 1.0),
        ("portcullis_config_reload_duration_seconds_count", 3.0),
        (
            r#"kong_http_requests_total{service="guarded",route="guarded",code="401",source="kong",workspace="default",consumer=""}"#,
            1.0,
        ),
        (
            r#"kong_http_requests_total{service="guarded",route="guarded",code="502",source="kong",workspace="default",consumer=""}"#,
            1.0,
        ),
        (
            r#"kong_http_requests_total{service="echo",route="echo",code="200",source="service",workspace="default",consumer=""}"#,
            1.0,
        ),
        (r#"kong_request_latency_ms_count{service="echo",route="echo",workspace="default"}"#, 1.0),
        (r#"kong_upstream_latency_ms_count{service="echo",route="echo",workspace="default"}"#, 1.0),
        (r#"kong_kong_latency_ms_count{service="guarded",route="guarded",workspace="default"}"#, 2.0),
    ] {
        assert_eq!(value(series), expected, "{series}");
    }
    for series in ["portcullis_snapshot_loaded_timestamp_seconds", "process_resident_memory_bytes", "process_open_fds"]
    {
        assert!(value(series) > 0.0, "{series}");
    }
    let egress =
        shown.lines().find(|line| line.starts_with("kong_bandwidth_bytes{service=\"echo\"") && line.contains("egress"));
    assert!(egress.unwrap().rsplit(' ').next().unwrap().parse::<f64>().unwrap() > 0.0);
    assert!(shown.contains(concat!("portcullis_build_info{version=\"", env!("CARGO_PKG_VERSION"))));
}
