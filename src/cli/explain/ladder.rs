//! The answer for people: a ladder of steps, times, hints.

use serde_json::Value;

/// Draws an answer of `POST /explain`.
pub fn draw(answer: &Value) -> String {
    let mut out = Vec::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mark = match answer["outcome"].as_str() {
        Some("allowed") => "✓",
        Some("anonymous" | "answered") => "•",
        _ => "✗",
    };
    out.push(format!("{mark} {}", text(&answer["summary"])));
    let request = &answer["request"];
    let mut head = format!(
        "  {} {}://{}:{}{}",
        text(&request["method"]),
        text(&request["scheme"]),
        text(&request["host"]),
        request["port"],
        text(&request["path"])
    );
    if answer["route"].is_object() {
        head += &format!(" → route {}", name(&answer["route"]));
        if answer["route"]["service"].is_object() {
            head += &format!(" → service {}", name(&answer["route"]["service"]));
        }
    }
    out.push(head);

    let mut plugin = Value::Null;
    for step in list(&answer["steps"]) {
        if step["plugin_id"] != plugin {
            plugin = step["plugin_id"].clone();
            let scope =
                list(&answer["plugins"]).iter().find(|there| there["id"] == plugin).map(|there| text(&there["scope"]));
            out.push(format!("\n  {} ({})", text(&step["plugin"]), scope.unwrap_or_default()));
        } else if out.len() == 2 {
            out.push(String::new());
        }
        let mark = match step["verdict"].as_str() {
            Some("passed") => "✓",
            Some("failed") => "✗",
            _ => "·",
        };
        let reason = step["reason"].as_str().map(|reason| format!("  [{reason}]")).unwrap_or_default();
        out.push(format!("  {mark} {:<32} {}{reason}", text(&step["title"]), text(&step["detail"])));
    }
    let left: Vec<String> = list(&answer["plugins"])
        .iter()
        .filter(|plugin| plugin["outcome"] == "not_reached")
        .map(|plugin| text(&plugin["name"]))
        .collect();
    if !left.is_empty() {
        out.push(format!("\n  not reached: {}", left.join(", ")));
    }

    let times = list(&answer["token"]["times"]);
    if !times.is_empty() {
        out.push(String::new());
    }
    for time in times {
        let checked = match (time["checked"].as_bool(), time["ok"].as_bool()) {
            (Some(true), Some(true)) => "✓",
            (Some(true), Some(false)) => "✗",
            _ => "· not looked at:",
        };
        let at = time["text"].as_str().map_or_else(|| time["at"].to_string(), str::to_owned);
        let away = time["from_now"].as_f64().map(|seconds| match seconds {
            s if s < 0.0 => format!(", {} ago", crate::auth::trace::span(-s)),
            s => format!(", in {}", crate::auth::trace::span(s)),
        });
        out.push(format!("  {checked} {} {at}{}", text(&time["claim"]), away.unwrap_or_default()));
    }
    if answer["answer"].is_object() {
        out.push(format!("\n  the client gets {} {}", answer["answer"]["status"], text(&answer["answer"]["body"])));
    }
    for header in list(&answer["upstream_headers"]) {
        out.push(format!("  the service gets {}: {}", text(&header[0]), text(&header[1])));
    }
    let hints = list(&answer["hints"]);
    if !hints.is_empty() {
        out.push(String::new());
    }
    for hint in hints {
        out.push(format!("  → {}", text(&hint["text"])));
    }
    let routes: Vec<String> = list(&answer["passes_on"]).iter().map(name).collect();
    if !routes.is_empty() {
        out.push(format!("  it passes on: {}", routes.join(", ")));
    }
    for warning in list(&answer["warnings"]) {
        out.push(format!("  ! {}", text(warning)));
    }
    out.join("\n")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn name(entity: &Value) -> String {
    entity["name"].as_str().or(entity["id"].as_str()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_ladder() {
        let answer = json!({
            "outcome": "refused", "summary": "refused by jwt: too late",
            "request": {"method": "GET", "scheme": "http", "host": "localhost", "port": 80, "path": "/a"},
            "route": {"name": "a", "id": "1", "service": {"name": null, "id": "s-id"}},
            "steps": [
                {"plugin": null, "plugin_id": null, "title": "Route", "verdict": "passed", "detail": "`a`", "reason": null},
                {"plugin": "jwt", "plugin_id": "p", "title": "Times and claims", "verdict": "failed", "detail": "token expired", "reason": "expired"},
            ],
            "plugins": [{"id": "p", "name": "jwt", "scope": "route", "outcome": "failed"}, {"id": "q", "name": "key-auth", "outcome": "not_reached"}],
            "token": {"times": [{"claim": "exp", "text": "1970-01-01T00:00:09Z", "from_now": -37.0, "checked": true, "ok": false}]},
            "answer": {"status": 401, "body": "{}"},
            "hints": [{"text": "get a new one"}], "passes_on": [], "warnings": [], "upstream_headers": [],
        });
        let expected = "\
✗ refused by jwt: too late
  GET http://localhost:80/a → route a → service s-id

  ✓ Route                            `a`

  jwt (route)
  ✗ Times and claims                 token expired  [expired]

  not reached: key-auth

  ✗ exp 1970-01-01T00:00:09Z, 37 s ago

  the client gets 401 {}

  → get a new one";
        assert_eq!(draw(&answer), expected);
    }
}
