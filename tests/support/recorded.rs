//! Recorded answers of a real Kong, and how an answer of ours is compared with one.
//!
//! A case is one JSON object a line: the request byte for byte, the answer, and what reached the service. JSON is compared as JSON.
//! Values that a server generates (ids, tokens, keys, times) are bound at first sight and substituted in later requests.
//! `differences.json` names the cases where Portcullis means to differ, and what is right instead (docs/differences.md).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::answer::Answer;

/// Response headers that are compared.
const COMPARED: [&str; 7] =
    ["content-type", "www-authenticate", "location", "cache-control", "pragma", "allow", "x-upstream"];

static GENERATED: LazyLock<Regex> = LazyLock::new(|| {
    let shapes = r"^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[A-Za-z0-9]{32}|[0-9a-f]{32,64}|\$[a-z0-9-]+\$.+)$";
    Regex::new(shapes).unwrap()
});
static PARTS: LazyLock<Regex> = LazyLock::new(|| Regex::new("[0-9a-f]{8}-[0-9a-f-]{27}|[A-Za-z0-9]{32,64}").unwrap());
static VOLATILE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"request_id: \w+|\s+").unwrap());

/// Reads a conformance file of this project.
pub fn conformance(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Where we mean to differ, by the name of the case.
pub fn differences() -> HashMap<String, Value> {
    serde_json::from_str(&conformance("differences.json")).unwrap()
}

/// `None`, or where and how an answer differs from the recorded one; `difference` says what is right where we mean to differ.
pub fn compare_answer(case: &Value, got: &Answer, difference: Option<&Value>, bind: &mut Bindings) -> Option<String> {
    let want = &case["response"];
    if let Some(rule) = difference {
        let allowed: Vec<u64> = rule["status"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
        if !allowed.contains(&u64::from(got.status)) {
            return Some(format!("status {}, right would be {allowed:?} ({})", got.status, rule["why"]));
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
    None
}

pub fn pairs(headers: &Value) -> Vec<(String, String)> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    headers.as_array().into_iter().flatten().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

/// White space and request ids out.
fn squeeze(text: &str) -> String {
    VOLATILE.replace_all(text, "").into_owned()
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
pub struct Bindings {
    values: BTreeMap<String, String>,
}

impl Bindings {
    pub fn rewrite_text(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, (old, new)| text.replace(old, new))
    }

    pub fn rewrite(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.rewrite_text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.rewrite(item)).collect(),
            Value::Object(members) => members.iter().map(|(k, v)| (k.clone(), self.rewrite(v))).collect(),
            other => other.clone(),
        }
    }

    /// `None`, or where and how they differ.
    pub fn differ(&mut self, want: &Value, got: &Value, key: &str) -> Option<String> {
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
        let fixed = |text: &str| PARTS.replace_all(text, "\u{0}").into_owned();
        let same = fixed(want) == fixed(got)
            && PARTS.find_iter(want).zip(PARTS.find_iter(got)).all(|(w, g)| {
                self.values.entry(w.as_str().to_owned()).or_insert_with(|| g.as_str().to_owned()) == g.as_str()
            });
        (!same).then(|| format!("{key}: wanted {want:.160?}, got {got:.160?}"))
    }
}

fn is_generated(text: &str) -> bool {
    GENERATED.is_match(text)
}
