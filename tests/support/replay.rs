//! Recorded cases and how an answer is compared with them: JSON as JSON, generated values (ids, tokens, times) bound where they
//! appear first and put into later requests in place of the recorded ones.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

/// Response headers that are compared.
const COMPARED: [&str; 6] = ["content-type", "www-authenticate", "location", "cache-control", "pragma", "allow"];

static GENERATED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[A-Za-z0-9]{32}|[0-9a-f]{32,64}|\$[a-z0-9-]+\$.+)$").unwrap()
});
static PARTS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[0-9a-f]{8}-[0-9a-f-]{27}|[A-Za-z0-9]{32,64}").unwrap());

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// Recorded values and what stands for them in this run.
#[derive(Clone, Default)]
pub struct Bindings {
    values: HashMap<String, String>,
    order: Vec<String>,
}

impl Bindings {
    fn bind(&mut self, want: &str, got: &str) {
        self.order.push(want.to_owned());
        self.values.insert(want.to_owned(), got.to_owned());
    }

    fn rewrite(&self, text: &str) -> String {
        self.order.iter().fold(text.to_owned(), |text, old| text.replace(old.as_str(), &self.values[old]))
    }

    fn equal(&mut self, want: &Value, got: &Value, path: &str) -> Result<(), String> {
        let name = path.rsplit('.').next().unwrap_or("");
        match (want, got) {
            _ if name == "description" => Ok(()),
            (Value::Object(want), Value::Object(got)) => self.members(want, got, path),
            (Value::Array(want), Value::Array(got)) if want.len() != got.len() => {
                Err(format!("{path}: {} items wanted, {} there", want.len(), got.len()))
            }
            (Value::Array(want), Value::Array(got)) if path == "body.data" => self.same_set(want, got, path),
            (Value::Array(want), Value::Array(got)) => want
                .iter()
                .zip(got)
                .enumerate()
                .try_for_each(|(at, (want, got))| self.equal(want, got, &format!("{path}[{at}]"))),
            (Value::Number(_), Value::Number(_)) if matches!(name, "created_at" | "updated_at") => Ok(()),
            (Value::Number(want), Value::Number(got)) if want.as_f64() == got.as_f64() => Ok(()),
            (Value::String(want), Value::String(got)) => self.text(want, got, path),
            _ if want == got => Ok(()),
            _ => Err(format!("{path}: wanted {want}, got {got}")),
        }
    }

    fn members(&mut self, want: &Map<String, Value>, got: &Map<String, Value>, path: &str) -> Result<(), String> {
        for (name, value) in got {
            if !want.contains_key(name) && name != "description" {
                return Err(format!("{path}.{name} unexpected: {value}"));
            }
        }
        let mut names: Vec<&String> = want.keys().collect();
        names.sort();
        for name in names {
            match got.get(name) {
                _ if name == "description" => {}
                None => return Err(format!("{path}.{name} missing")),
                Some(value) => self.equal(&want[name], value, &format!("{path}.{name}"))?,
            }
        }
        Ok(())
    }

    /// A page's order follows generated ids: any order is right.
    fn same_set(&mut self, want: &[Value], got: &[Value], path: &str) -> Result<(), String> {
        let mut left: Vec<&Value> = got.iter().collect();
        for item in want {
            let found = left.iter().position(|candidate| {
                let mut trial = self.clone();
                let same = trial.equal(item, candidate, &format!("{path}[]")).is_ok();
                if same {
                    *self = trial;
                }
                same
            });
            match found {
                Some(at) => drop(left.remove(at)),
                None => return Err(format!("{path}: nothing like {item}")),
            }
        }
        Ok(())
    }

    fn text(&mut self, want: &str, got: &str, path: &str) -> Result<(), String> {
        if want == got || self.values.get(want).is_some_and(|bound| bound == got) || self.rewrite(want) == got {
            return Ok(());
        }
        if GENERATED.is_match(want) && GENERATED.is_match(got) && !self.values.contains_key(want) {
            self.bind(want, got);
            return Ok(());
        }
        let (wants, gots): (Vec<_>, Vec<_>) = (PARTS.find_iter(want).collect(), PARTS.find_iter(got).collect());
        if wants.len() == gots.len() && PARTS.replace_all(want, "*") == PARTS.replace_all(got, "*") {
            let same = wants.iter().zip(&gots).all(|(want, got)| {
                if !self.values.contains_key(want.as_str()) {
                    self.bind(want.as_str(), got.as_str());
                }
                self.values[want.as_str()] == got.as_str()
            });
            if same {
                return Ok(());
            }
        }
        Err(format!("{path}: wanted {want:?}, got {got:?}"))
    }
}

pub struct Case {
    pub name: String,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    want: Answer,
}

fn pairs(value: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    value.as_array().unwrap().iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

impl Case {
    pub fn new(recorded: &Value, bindings: &Bindings) -> Self {
        let (request, response) = (&recorded["request"], &recorded["response"]);
        let body = bindings.rewrite(request["body"].as_str().unwrap_or(""));
        let headers = pairs(&request["headers"]).into_iter().map(|(name, value)| {
            let value = if name.eq_ignore_ascii_case("content-length") {
                body.len().to_string()
            } else {
                bindings.rewrite(&value)
            };
            (name, value)
        });
        Self {
            name: recorded["name"].as_str().unwrap().to_owned(),
            method: request["method"].as_str().unwrap().to_owned(),
            path: bindings.rewrite(request["path"].as_str().unwrap()),
            headers: headers.collect(),
            want: Answer {
                status: response["status"].as_u64().unwrap() as u16,
                headers: pairs(&response["headers"]),
                body: response["body"].as_str().unwrap_or("").to_owned(),
            },
            body,
        }
    }

    /// Compares an answer; `difference` says what is right where we mean to differ.
    pub fn compare(&self, got: &Answer, difference: Option<&Value>, bindings: &mut Bindings) -> Result<(), String> {
        if let Some(difference) = difference {
            let statuses = difference["status"].as_array().unwrap();
            let right = statuses.iter().any(|status| status.as_u64() == Some(u64::from(got.status)));
            return if right { Ok(()) } else { Err(format!("status {}, right would be {statuses:?}", got.status)) };
        }
        let want = &self.want;
        if want.status != got.status {
            return Err(format!("status {} wanted, got {}: {}", want.status, got.status, got.body));
        }
        match (serde_json::from_str::<Value>(&want.body), serde_json::from_str::<Value>(&got.body)) {
            (Ok(want), Ok(got)) => bindings.equal(&want, &got, "body")?,
            (Ok(_), Err(_)) => return Err(format!("body is no JSON: {:?}", got.body)),
            (Err(_), _) if want.body.split_whitespace().eq(got.body.split_whitespace()) => {}
            (Err(_), _) => return Err(format!("body: wanted {:?}, got {:?}", want.body, got.body)),
        }
        for name in COMPARED {
            if name == "content-type" && want.body.is_empty() {
                continue;
            }
            let find = |headers: &[(String, String)]| {
                let found = headers.iter().rev().find(|(there, _)| there.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_ascii_lowercase().replace(' ', "")).unwrap_or_default()
            };
            bindings.text(&find(&want.headers), &find(&got.headers), &format!("header {name}"))?;
        }
        Ok(())
    }
}
