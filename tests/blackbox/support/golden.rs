//! Replays recorded answers of a real Kong against a running gateway and compares.
//!
//! A case is one JSON object a line: the request byte for byte, the answer, and what reached the service. Values that a server
//! generates (ids, tokens, keys, times) are bound at first sight and substituted in later requests. `differences.json` names the
//! cases where Portcullis means to differ, and what is right instead (docs/differences.md).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde_json::Value;

use super::echo::{Echo, Seen};
use super::http::{self, Answer, Endpoint};

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

const COMPARED: [&str; 7] =
    ["content-type", "www-authenticate", "location", "cache-control", "pragma", "allow", "x-upstream"];
const VOLATILE_UPSTREAM: [&str; 7] =
    ["via", "connection", "x-kong-request-id", "x-forwarded-port", "keep-alive", "content-length", "transfer-encoding"];

/// Reads a conformance file of this project.
pub fn conformance(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A recorded configuration with its service moved to the port of the echo service.
pub fn configuration(name: &str, ports: Ports) -> String {
    conformance(name).replace(&format!(":{}", RECORDED.service), &format!(":{}", ports.service))
}

/// Replays a file; returns how many cases passed and a line for each that did not.
pub fn replay(cases: &str, ports: Ports, echo: &Echo, admin: bool) -> (usize, Vec<String>) {
    let differences: HashMap<String, Value> = serde_json::from_str(&conformance("differences.json")).unwrap();
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
        match compare(&case, &answer, seen.as_ref(), &mut bindings, difference) {
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

fn compare(
    case: &Value,
    got: &Answer,
    seen: Option<&Seen>,
    bind: &mut Bindings,
    difference: Option<&Value>,
) -> Option<String> {
    let want = &case["response"];
    if let Some(rule) = difference {
        let allowed: Vec<u64> = rule["status"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
        if !allowed.contains(&u64::from(got.status)) {
            return Some(format!("status {}, right would be {allowed:?} ({})", got.status, rule["why"]));
        }
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
        return None;
    }
    if u64::from(got.status) != want["status"].as_u64().unwrap() {
        return Some(format!("status {} wanted, got {}: {:.160}", want["status"], got.status, got.body));
    }
    let wanted_body = want["body"].as_str().unwrap_or("");
    let found = match (serde_json::from_str::<Value>(wanted_body), serde_json::from_str::<Value>(&got.body)) {
        (Ok(want), Ok(got)) => bind.differ(&want, &got, "body"),
        (Ok(_), Err(_)) => Some(format!("body is no JSON: {:.120}", got.body)),
        _ => (squeeze(wanted_body) != squeeze(&got.body))
            .then(|| format!("body: wanted {wanted_body:.120}, got {:.120}", got.body)),
    };
    if found.is_some() {
        return found;
    }
    let pick = |headers: &[(String, String)]| -> BTreeMap<String, String> {
        headers
            .iter()
            .map(|(k, v)| (k.to_lowercase(), v.clone()))
            .filter(|(k, _)| COMPARED.contains(&k.as_str()))
            .collect()
    };
    let (wanted, there) = (pick(&pairs(&want["headers"])), pick(&got.headers));
    for name in wanted.keys().chain(there.keys()).collect::<BTreeSet<_>>() {
        if name == "content-type" && wanted_body.is_empty() {
            continue;
        }
        let (w, g) = (wanted.get(name).cloned().unwrap_or_default(), there.get(name).cloned().unwrap_or_default());
        if normal(name, &w) != normal(name, &g)
            && let Some(found) = bind.differ_text(&w, &g, &format!("header {name}"))
        {
            return Some(found);
        }
    }
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

fn pairs(headers: &Value) -> Vec<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    headers.as_array().into_iter().flatten().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

/// White space and request ids out.
fn squeeze(text: &str) -> String {
    let ids = regex::Regex::new(r"request_id: \w+|\s+").unwrap();
    ids.replace_all(text, "").into_owned()
}

/// RFC 9110 puts commas between challenge parameters; Kong 3.9 has spaces, its next version commas.
fn normal(name: &str, value: &str) -> String {
    match name {
        "content-type" => value.split_whitespace().collect::<String>().to_lowercase(),
        _ => value.replace(", ", " "),
    }
}

/// Generated values: what Kong's run had -> what this run has.
#[derive(Clone, Default)]
struct Bindings {
    values: BTreeMap<String, String>,
}

impl Bindings {
    fn rewrite_text(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new))
    }

    fn rewrite(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.rewrite_text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.rewrite(item)).collect(),
            Value::Object(members) => members.iter().map(|(k, v)| (k.clone(), self.rewrite(v))).collect(),
            other => other.clone(),
        }
    }

    /// `None`, or where and how they differ.
    fn differ(&mut self, want: &Value, got: &Value, key: &str) -> Option<String> {
        let member = key.rsplit('.').next().unwrap_or(key);
        if member == "description" {
            return None;
        }
        match (want, got) {
            (Value::Object(want), Value::Object(got)) => {
                let names: BTreeSet<&String> = want.keys().chain(got.keys()).collect();
                names.into_iter().filter(|n| *n != "description" && *n != "request_id").find_map(|name| {
                    match (want.get(name), got.get(name)) {
                        (Some(want), Some(got)) => self.differ(want, got, &format!("{key}.{name}")),
                        (Some(_), None) => Some(format!("{key}.{name} missing")),
                        (_, got) => Some(format!("{key}.{name} unexpected: {got:?}")),
                    }
                })
            }
            (Value::Array(want), Value::Array(got)) if want.len() != got.len() => {
                Some(format!("{key}: {} items wanted, {} there", want.len(), got.len()))
            }
            (Value::Array(want), Value::Array(got)) if key == "body.data" => self.differ_as_set(want, got, key),
            (Value::Array(want), Value::Array(got)) => {
                want.iter().zip(got).enumerate().find_map(|(i, (w, g))| self.differ(w, g, &format!("{key}[{i}]")))
            }
            (Value::Number(_), Value::Number(_)) if member == "created_at" || member == "updated_at" => None,
            (Value::String(want), Value::String(got)) => self.differ_string(want, got, key),
            (Value::Number(w), Value::Number(g)) if w.as_f64() == g.as_f64() => None,
            _ if want == got => None,
            _ => Some(format!("{key}: wanted {want:.120}, got {got:.120}")),
        }
    }

    fn differ_string(&mut self, want: &str, got: &str, key: &str) -> Option<String> {
        if want == got || self.values.get(want).is_some_and(|there| there == got) || self.rewrite_text(want) == got {
            return None;
        }
        if is_generated(want) && is_generated(got) && !self.values.contains_key(want) {
            self.values.insert(want.to_owned(), got.to_owned());
            return None;
        }
        self.differ_text(want, got, key)
    }

    /// A page of entities: its order follows generated ids, so any order is right.
    fn differ_as_set(&mut self, want: &[Value], got: &[Value], key: &str) -> Option<String> {
        let mut left: Vec<&Value> = got.iter().collect();
        for (i, item) in want.iter().enumerate() {
            let found = left.iter().position(|candidate| {
                let kept = self.clone();
                let same = self.differ(item, candidate, &format!("{key}[{i}]")).is_none();
                if !same {
                    *self = kept;
                }
                same
            });
            match found {
                Some(place) => drop(left.remove(place)),
                None => return Some(format!("{key}: nothing like {:.160}", item.to_string())),
            }
        }
        None
    }

    /// Strings that carry generated parts: a URL with a code, an error naming an id.
    fn differ_text(&mut self, want: &str, got: &str, key: &str) -> Option<String> {
        let parts = regex::Regex::new("[0-9a-f]{8}-[0-9a-f-]{27}|[A-Za-z0-9]{32,64}").unwrap();
        let fixed = |text: &str| parts.replace_all(text, "\u{0}").into_owned();
        let same = fixed(want) == fixed(got)
            && parts.find_iter(want).zip(parts.find_iter(got)).all(|(w, g)| {
                self.values.entry(w.as_str().to_owned()).or_insert_with(|| g.as_str().to_owned()) == g.as_str()
            });
        (!same).then(|| format!("{key}: wanted {want:.160?}, got {got:.160?}"))
    }
}

fn is_generated(text: &str) -> bool {
    let shapes = r"^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[A-Za-z0-9]{32}|[0-9a-f]{32,64}|\$[a-z0-9-]+\$.+)$";
    regex::Regex::new(shapes).unwrap().is_match(text)
}
