//! The OpenAPI document: from the list of paths and the schema tables, so that it cannot say anything else than they do.

use serde_json::{Map, Value, json};

use super::KONG_VERSION;
use super::entities::table;
use super::fixed::enabled_plugins;
use super::paths::{self, Action, Endpoint, Fixed, Live};
use crate::auth::Reason;
use crate::auth::trace::{Check, HintCode};
use crate::plugins::tables::plugin_table;
use crate::store::{COLLECTIONS, Collection};

/// The document; `writable`: whether entities can be written one by one.
pub fn document(writable: bool) -> Value {
    let mut list = Map::new();
    for endpoint in paths::all() {
        list.insert(endpoint.path.clone(), path_item(endpoint, writable));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis Admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!("The Admin API of Kong {KONG_VERSION}, as far as Portcullis has it."),
        },
        "paths": list,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "Kong-Admin-Token", "description": "`admin_token`, where it is set"},
            },
        },
        "security": [{}, {"token": []}],
    })
}

fn path_item(endpoint: &Endpoint, writable: bool) -> Value {
    let mut item = Map::new();
    let parameters: Vec<Value> = endpoint
        .variables()
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}))
        .collect();
    if !parameters.is_empty() {
        item.insert("parameters".into(), parameters.into());
    }
    for method in &endpoint.methods {
        item.insert(method.as_str().to_ascii_lowercase(), operation(endpoint, method.as_str(), writable));
    }
    Value::Object(item)
}

/// The collection that a request to this path sends or gets.
fn subject(action: &Action) -> Option<&'static Collection> {
    match action {
        Action::Collection(of) | Action::Entity(of) => Some(of),
        Action::Children { child, .. } | Action::Child { child, .. } => Some(child),
        Action::Foreign { to, .. } => Some(to),
        Action::Nothing | Action::NothingEntity | Action::Fixed(_) => None,
    }
}

fn is_list(action: &Action) -> bool {
    matches!(
        action,
        Action::Collection(_)
            | Action::Children { .. }
            | Action::Nothing
            | Action::Fixed(Fixed::Tags | Fixed::Tag | Fixed::UpstreamHealth | Fixed::AllTargets)
    )
}

fn operation(endpoint: &Endpoint, method: &str, writable: bool) -> Value {
    let mut operation = Map::new();
    let words: Vec<String> = endpoint
        .path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| part.trim_matches(['{', '}']).replace(['.', '-'], "_"))
        .collect();
    operation.insert("operationId".into(), format!("{}_{}", method.to_ascii_lowercase(), words.join("_")).into());
    let subject = subject(&endpoint.action);
    if let Some(of) = subject {
        operation.insert("tags".into(), json!([of.name]));
    }
    if method == "GET" && is_list(&endpoint.action) {
        operation.insert(
            "parameters".into(),
            json!([
                {"name": "size", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}},
                {"name": "offset", "in": "query", "schema": {"type": "string"}},
                {"name": "tags", "in": "query", "schema": {"type": "string"}, "description": "`a,b`: all of them; `a/b`: any"},
            ]),
        );
    }
    if let Action::Fixed(fixed) = endpoint.action {
        let parameters: Vec<Value> = arguments(fixed)
            .iter()
            .map(|(name, kind, text)| json!({"name": name, "in": "query", "schema": {"type": kind}, "description": text}))
            .collect();
        if !parameters.is_empty() {
            operation.insert("parameters".into(), parameters.into());
        }
        if let Some(text) = summary(fixed) {
            operation.insert("summary".into(), text.into());
        }
    }
    let input = match (&endpoint.action, subject) {
        (Action::Fixed(Fixed::Explain), _) => Some(json!({"$ref": "#/components/schemas/Question"})),
        (Action::Fixed(Fixed::Config | Fixed::ValidateEntity), _) => Some(json!({"type": "object"})),
        (_, Some(of)) => Some(json!({"$ref": format!("#/components/schemas/{}_input", of.name)})),
        _ => None,
    };
    if let Some(schema) = input.filter(|_| matches!(method, "POST" | "PUT" | "PATCH")) {
        let content = match endpoint.action {
            Action::Fixed(Fixed::Config) => {
                json!({"application/json": {"schema": schema}, "application/yaml": {"schema": {"type": "string"}}})
            }
            Action::Fixed(_) => json!({"application/json": {"schema": schema}}),
            _ => json!({
                "application/json": {"schema": schema},
                "application/x-www-form-urlencoded": {"schema": form()},
                "multipart/form-data": {"schema": form()},
            }),
        };
        operation.insert("requestBody".into(), json!({"content": content}));
    }
    operation.insert("responses".into(), responses(endpoint, method, subject, writable));
    Value::Object(operation)
}

/// Query arguments of the paths of our own.
fn arguments(fixed: Fixed) -> &'static [(&'static str, &'static str, &'static str)] {
    match fixed {
        Fixed::Effective => &[
            ("method", "string", "GET without it"),
            ("url", "string", "a path, or a whole URL"),
            ("route", "string", "a route by name or id, in place of a URL"),
            ("scheme", "string", "http or https"),
        ],
        Fixed::Live(Live::Rejects) => &[
            ("minutes", "integer", "so many minutes, 60 at most"),
            ("limit", "integer", "so many of the last ones, 200 at most"),
        ],
        Fixed::Live(Live::Expiry) => &[
            ("days", "integer", "what ends within so many days"),
            ("unused_days", "integer", "what was not used for so many days"),
        ],
        _ => &[],
    }
}

fn summary(fixed: Fixed) -> Option<&'static str> {
    Some(match fixed {
        Fixed::Explain => "Why a token or request would be refused, check by check",
        Fixed::Effective => "What applies to a URL: plugins, from where each comes, who may call",
        Fixed::Live(Live::Rejects) => "Refusals by reason and minute, and the last ones",
        Fixed::Live(Live::Verification) => "How long verifications take, by algorithm, and the cache",
        Fixed::Live(Live::Issuers) => "Identity providers and their keys",
        Fixed::Live(Live::Configuration) => {
            "The configuration in service, the last attempt to load one, and the difference to the one before"
        }
        Fixed::Live(Live::Expiry) => "What ends soon, and credentials that nobody uses",
        _ => return None,
    })
}

/// A form: names of fields, of fields of records (`a.b`) and of elements (`a[]`), with values that the schema reads.
fn form() -> Value {
    json!({"type": "object", "additionalProperties": {"type": ["string", "integer", "boolean"]}})
}

fn responses(endpoint: &Endpoint, method: &str, subject: Option<&Collection>, writable: bool) -> Value {
    let entity = |of: &Collection| json!({"$ref": format!("#/components/schemas/{}", of.name)});
    let page = |items: Value| {
        json!({
            "type": "object",
            "required": ["data", "next"],
            "properties": {
                "data": {"type": "array", "items": items},
                "next": {"type": ["string", "null"]},
                "offset": {"type": "string"},
            },
        })
    };
    let answer = |description: &str, schema: Value| json!({"description": description, "content": {"application/json; charset=utf-8": {"schema": schema}}});
    let empty = |description: &str| json!({"description": description});
    let mut out = Map::new();
    let mut put = |status: &str, answer: Value| drop(out.insert(status.to_owned(), answer));
    match (method, &endpoint.action, subject) {
        ("GET", Action::Fixed(Fixed::Metrics), _) => {
            put(
                "200",
                json!({"description": "Prometheus metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}),
            );
        }
        ("GET", action, Some(of)) if is_list(action) => put("200", answer("a page", page(entity(of)))),
        ("GET", Action::Nothing | Action::Fixed(Fixed::Tags | Fixed::Tag | Fixed::AllTargets), _) => {
            put("200", answer("a page", page(json!({"type": "object"}))));
        }
        ("POST", Action::Fixed(Fixed::Explain), _) => {
            put("200", answer("what would become of the request", json!({"$ref": "#/components/schemas/Explanation"})));
        }
        ("GET", _, Some(of)) => put("200", answer("the entity", entity(of))),
        ("DELETE", ..) => put("204", empty("gone")),
        ("POST", Action::Fixed(Fixed::Config), _) => {
            put("201", answer("every entity of the configuration, by type and id", json!({"type": "object"})));
            put("304", empty("this configuration is in service already"));
            put("429", answer("another configuration is being loaded", json!({"$ref": "#/components/schemas/Error"})));
        }
        ("POST", _, Some(of)) => put("201", answer("the new entity", entity(of))),
        ("PUT" | "PATCH", _, Some(of)) => put("200", answer("the entity as it is now", entity(of))),
        ("POST" | "PUT", Action::Fixed(Fixed::TargetHealth), _) => put("204", empty("done")),
        _ => put("200", answer("done", json!({"type": "object"}))),
    }
    let error = || json!({"$ref": "#/components/schemas/Error"});
    let writes = method != "GET";
    let mut faults = vec![
        ("400", "not a valid request"),
        ("401", "the token is missing or wrong"),
        ("403", "not from here"),
        ("404", "not there"),
    ];
    if writes && subject.is_some() {
        faults.push(("409", "another entity has this name or key"));
    }
    if writes && !writable || matches!(endpoint.action, Action::Foreign { .. }) {
        faults.push(("405", "not possible here"));
    }
    if matches!(method, "POST" | "PUT" | "PATCH") {
        faults.push(("413", "the body is too large"));
        put("415", empty("the body is of another type"));
    }
    faults.push(match method {
        "POST" | "PUT" | "PATCH" => ("500", "the database failed, or the body is JSON but neither object nor array"),
        _ => ("500", "the database failed"),
    });
    for (status, description) in faults {
        put(status, answer(description, error()));
    }
    Value::Object(out)
}

fn schemas() -> Value {
    let mut all = Map::new();
    for of in &COLLECTIONS {
        let schema = table(of).to_json();
        let mut shown = object(&schema, false);
        let mut input = object(&schema, true);
        if of.name == "certificates" {
            for schema in [&mut shown, &mut input] {
                schema["properties"]["snis"] = json!({"type": ["array", "null"], "items": {"type": "string"}});
            }
        }
        // Shorthands and references by name are input, but no fields.
        input["additionalProperties"] = true.into();
        all.insert(of.name.to_owned(), shown);
        all.insert(format!("{}_input", of.name), input);
    }
    for name in enabled_plugins() {
        let schema = plugin_table(name).map(|table| table.to_json()).unwrap_or_default();
        let config = fields(&schema).find(|(field, _)| *field == "config").map(|(_, config)| object(config, true));
        all.insert(format!("plugin_{}", name.replace('-', "_")), config.unwrap_or_else(|| json!({"type": "object"})));
    }
    all.insert("Question".into(), question());
    all.insert("Explanation".into(), explanation());
    all.insert(
        "Error".into(),
        json!({
            "type": "object",
            "required": ["message"],
            "properties": {
                "message": {"type": "string"},
                "name": {"type": "string"},
                "code": {"type": "integer", "minimum": 1, "maximum": 21},
                "fields": {"type": "object"},
                "options": {"type": "object"},
            },
        }),
    );
    Value::Object(all)
}

/// What `POST /explain` is asked.
fn question() -> Value {
    let text = |description: &str| json!({"type": ["string", "null"], "description": description});
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "token": text("without one, only what headers and query carry is looked at"),
            "in": text("where the token is put: header:NAME, query:NAME, cookie:NAME, body:NAME; else where the route reads one"),
            "route": text("a route by name or id; the router is not asked"),
            "method": text("GET without it"),
            "url": text("a path, or a whole URL; the router finds the route"),
            "headers": {"type": "object", "description": "by name; a text, or a list of them"},
            "scheme": text("http or https, where the URL does not say"),
            "client": text("the client's address"),
            "at": {"type": ["integer", "null"], "minimum": 0, "description": "judge as of this time, in seconds since 1970"},
        },
    })
}

/// What it answers.
fn explanation() -> Value {
    let text = || json!({"type": ["string", "null"]});
    let codes: Vec<&str> = HintCode::ALL.iter().map(|code| code.label()).collect();
    let checks: Vec<&str> = Check::ALL.iter().map(|check| check.label()).collect();
    let reasons: Vec<Value> = Reason::ALL.iter().map(|reason| reason.label().into()).chain([Value::Null]).collect();
    let hint = json!({
        "type": ["object", "null"],
        "properties": {"code": {"enum": codes}, "text": {"type": "string"}, "step": {"type": ["integer", "null"]}},
    });
    json!({
        "type": "object",
        "required": ["outcome", "summary", "steps", "hints"],
        "properties": {
            "generation": {"type": "integer"},
            "at": {"type": "integer"},
            "request": {"type": "object"},
            "route": {"type": ["object", "null"]},
            "outcome": {"enum": ["allowed", "anonymous", "refused", "answered", "no_route"]},
            "reason": {"enum": reasons},
            "status": {"type": ["integer", "null"]},
            "answer": {"type": ["object", "null"], "properties": {"status": {"type": "integer"}, "body": {"type": "string"}, "headers": {"type": "array"}}},
            "summary": {"type": "string"},
            "principal": {"type": ["object", "null"]},
            "upstream_headers": {"type": "array"},
            "token": {"type": ["object", "null"]},
            "steps": {"type": "array", "items": {"type": "object", "properties": {
                "plugin": text(), "plugin_id": text(), "check": {"enum": checks}, "title": {"type": "string"},
                "verdict": {"enum": ["passed", "failed", "noted", "skipped"]}, "detail": {"type": "string"}, "reason": text(), "hint": hint.clone(),
            }}},
            "failed": {"type": ["integer", "null"]},
            "plugins": {"type": "array"},
            "hints": {"type": "array", "items": hint},
            "passes_on": {"type": "array"},
            "warnings": {"type": "array", "items": {"type": "string"}},
        },
    })
}

/// The fields of a described record.
fn fields(described: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let list = described.get("fields").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|field| field.as_object()?.iter().next().map(|(name, field)| (name.as_str(), field)))
}

/// A described record as JSON schema.
fn object(described: &Value, input: bool) -> Value {
    let properties: Map<String, Value> =
        fields(described).map(|(name, field)| (name.to_owned(), property(field, input))).collect();
    json!({"type": "object", "properties": properties})
}

/// One described field as JSON schema; every field can be null, in what is sent and in what is answered.
fn property(field: &Value, input: bool) -> Value {
    let flag = |name: &str| field.get(name).and_then(Value::as_bool).unwrap_or(false);
    let elements = || field.get("elements").map(|elements| property(elements, input)).unwrap_or_else(|| json!({}));
    let mut schema = match field.get("type").and_then(Value::as_str).unwrap_or("") {
        "string" if flag("uuid") => json!({"type": "string", "format": "uuid"}),
        "string" if input => {
            json!({"type": "string", "minLength": field.get("len_min").and_then(Value::as_u64).unwrap_or(1)})
        }
        "string" => json!({"type": "string"}),
        "integer" => json!({"type": "integer"}),
        "number" => json!({"type": "number"}),
        "boolean" => json!({"type": "boolean"}),
        "array" | "set" => json!({"type": "array", "items": elements()}),
        "map" => {
            let values = field.get("values").map(|values| property(values, input)).unwrap_or_else(|| json!({}));
            json!({"type": "object", "additionalProperties": values})
        }
        "record" => object(field, input),
        "foreign" => json!({"type": "object", "properties": {"id": {"type": "string", "format": "uuid"}}}),
        _ => json!({}),
    };
    if let Some([low, high]) = field.get("between").and_then(Value::as_array).map(Vec::as_slice) {
        schema["minimum"] = low.clone();
        schema["maximum"] = high.clone();
    }
    if let Some(options) = field.get("one_of").and_then(Value::as_array) {
        let mut options = options.clone();
        options.push(Value::Null);
        schema["enum"] = Value::Array(options);
    }
    if let Some(default) = field.get("default") {
        schema["default"] = default.clone();
    }
    if field.get("eq").is_some_and(Value::is_null) {
        return json!({"type": "null"});
    }
    if let Some(kind) = schema.get("type").and_then(Value::as_str).map(str::to_owned) {
        schema["type"] = json!([kind, "null"]);
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_and_reference_is_there() {
        let document = document(true);
        assert_eq!(document["paths"].as_object().unwrap().len(), paths::all().len());
        let text = document.to_string();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
        assert_eq!(document["components"]["schemas"]["services_input"]["properties"]["port"]["maximum"], 65535);
    }
}
