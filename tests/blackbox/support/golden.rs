//! Replays recorded answers of a real Kong against a running gateway and compares.
//!
//! How answers are compared is [`super::recorded`]'s; what reached the service is compared here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::echo::{Echo, Seen};
use super::http::{self, Endpoint};
use super::recorded::{self, Bindings, conformance, pairs};

/// Where the gateway under test listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub proxy: u16,
    pub tls: u16,
    pub admin: u16,
    /// Where the recorded configuration's service is; the file says 19001.
    pub service: u16,
}

/// The ports that stand in the recorded cases.
const RECORDED: Ports = Ports { proxy: 18000, tls: 18443, admin: 18001, service: 19001 };

const VOLATILE_UPSTREAM: [&str; 7] =
    ["via", "connection", "x-kong-request-id", "x-forwarded-port", "keep-alive", "content-length", "transfer-encoding"];

/// A recorded configuration with its service moved to the port of the echo service.
pub fn configuration(name: &str, ports: Ports) -> String {
    conformance(name).replace(&format!(":{}", RECORDED.service), &format!(":{}", ports.service))
}

/// Replays a file; returns how many cases passed and a line for each that did not.
pub fn replay(cases: &str, ports: Ports, echo: &Echo, admin: bool) -> (usize, Vec<String>) {
    let differences = recorded::differences();
    let mut bindings = Bindings::default();
    let (mut passed, mut failed, mut last) = (0, Vec::new(), None::<f64>);
    for line in conformance(cases).lines().filter(|line| !line.is_empty()) {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["name"].as_str().unwrap();
        let difference = differences.get(name);
        if difference.is_some_and(|rule| rule.get("skip").is_some()) {
            continue;
        }
        // Cases whose outcome hangs on time passing were recorded with pauses.
        if let (Some(then), Some(now), true) = (last, case["time"].as_f64(), case.get("scheme").is_some())
            && now - then > 0.5
        {
            std::thread::sleep(std::time::Duration::from_secs_f64((now - then).min(3.0)));
        }
        last = case["time"].as_f64().or(last);
        let endpoint = match case["scheme"].as_str() {
            _ if admin => Endpoint::plain(ports.admin),
            Some("https") => Endpoint::tls(ports.tls),
            _ => Endpoint::plain(ports.proxy),
        };
        echo.clear();
        let request = bindings.rewrite(&case["request"]);
        let rebound = request != case["request"];
        let answer = http::send(endpoint, &request, rebound);
        let seen = echo.take();
        let found = match difference {
            Some(rule) => recorded::compare_answer(&case, &answer, Some(rule), &mut bindings)
                .or_else(|| compare_difference(rule, seen.as_ref())),
            None => recorded::compare_answer(&case, &answer, None, &mut bindings)
                .or_else(|| compare_seen(&case, seen.as_ref(), &mut bindings)),
        };
        match found {
            None => passed += 1,
            Some(found) => failed.push(format!("{name}: {found}")),
        }
    }
    (passed, failed)
}

/// Panics with every difference.
pub fn assert_all(result: (usize, Vec<String>), at_least: usize) {
    let (passed, failed) = result;
    assert!(failed.is_empty(), "{passed} passed, {} failed\n{}", failed.len(), failed.join("\n"));
    assert!(passed >= at_least, "only {passed} cases ran");
}

/// Whether what reached the service is right where Portcullis means to differ.
fn compare_difference(rule: &Value, seen: Option<&Seen>) -> Option<String> {
    if rule["forwarded"] == Value::Bool(false) && seen.is_some() {
        return Some("was forwarded".into());
    }
    if let (Some(stripped), Some(seen)) = (rule.get("stripped"), seen) {
        let all = stripped == &Value::Bool(true);
        let left: Vec<&String> =
            seen.headers.iter().map(|(k, _)| k).filter(|k| is_identity(k) && (all || k.contains('_'))).collect();
        return (!left.is_empty()).then(|| format!("identity headers reached the service: {left:?}"));
    }
    if let (Some(value), Some(seen)) = (rule["absent"].as_str(), seen) {
        let left: Vec<&String> = seen.headers.iter().filter(|(_, v)| v == value).map(|(k, _)| k).collect();
        return (!left.is_empty()).then(|| format!("a client's identity headers reached the service: {left:?}"));
    }
    None
}

fn compare_seen(case: &Value, seen: Option<&Seen>, bind: &mut Bindings) -> Option<String> {
    let expected = case.get("upstream_saw")?;
    match (expected.is_null(), seen) {
        (true, None) => None,
        (true, Some(_)) => Some("was forwarded".into()),
        (false, None) => Some("was not forwarded".into()),
        (false, Some(seen)) => compare_forwarded(expected, seen, bind),
    }
}

fn compare_forwarded(expected: &Value, seen: &Seen, bind: &mut Bindings) -> Option<String> {
    if bind.rewrite_text(expected["uri"].as_str().unwrap()) != seen.uri {
        return Some(format!("service saw {:?}, wanted {}", seen.uri, expected["uri"]));
    }
    if bind.rewrite_text(expected["body"].as_str().unwrap_or("")) != seen.body {
        return Some(format!("service got the body {:?}, wanted {}", seen.body, expected["body"]));
    }
    let (wanted, there) = (forwarded(&pairs(&expected["headers"])), forwarded(&seen.headers));
    let extra = there.keys().filter(|name| is_identity(name));
    for name in wanted.keys().chain(extra).collect::<BTreeSet<_>>() {
        let as_json = |values: Option<&Vec<String>>| values.map_or(Value::Null, |v| serde_json::json!(v));
        if bind.differ(&as_json(wanted.get(name)), &as_json(there.get(name)), "").is_some() {
            return Some(format!("service's header {name}: wanted {:?}, got {:?}", wanted.get(name), there.get(name)));
        }
    }
    None
}

fn forwarded(headers: &[(String, String)]) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let name = name.to_lowercase();
        let local_host = name == "host" && value.starts_with("127.0.0.1:");
        if !VOLATILE_UPSTREAM.contains(&name.as_str()) && !local_host {
            out.entry(name).or_default().push(value.clone());
        }
    }
    out
}

fn is_identity(name: &str) -> bool {
    let name = name.to_lowercase().replace('_', "-");
    ["x-consumer", "x-credential", "x-anonymous", "x-authenticated"].iter().any(|prefix| name.starts_with(prefix))
}
