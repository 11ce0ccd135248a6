//! `/schemas`: the tables as tools read them, and checks without a write.

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::Answer;
use super::entities::table;
use super::fault::Fault;
use super::request::{Incoming, Input};
use crate::plugins::tables::plugin_table;
use crate::schema::{self, Now, Table};
use crate::store::{Body, Collection};

fn name(request: &Incoming, at: usize) -> &str {
    request.segments.get(at).map_or("", String::as_str)
}

/// Kong lists collections with dashes, too.
fn find(name: &str) -> Option<&'static Collection> {
    Collection::find(name).or_else(|| Collection::find(&name.replace('-', "_")))
}

fn no_entity(name: &str) -> Fault {
    Fault::plain(StatusCode::NOT_FOUND, format!("No entity named '{name}'"))
}

/// `GET /schemas/{entity}`
///
/// # Errors
/// 404 for an unknown name.
pub fn of_entity(request: &Incoming) -> Result<Answer, Fault> {
    let name = name(request, 1);
    let of = find(name).ok_or_else(|| no_entity(name))?;
    let mut schema = table(of).to_json();
    if of.name == "certificates"
        && let Some(fields) = schema.get_mut("fields").and_then(Value::as_array_mut)
    {
        fields.push(json!({"snis": {"type": "set", "elements": {"type": "string"}}}));
    }
    Ok(Answer::ok(schema))
}

fn plugin(request: &Incoming) -> Result<&'static Table, Fault> {
    let name = name(request, 2);
    plugin_table(name).ok_or_else(|| Fault::plain(StatusCode::NOT_FOUND, format!("No plugin named '{name}'")))
}

/// `GET /schemas/plugins/{name}`
///
/// # Errors
/// 404 for an unknown name.
pub fn of_plugin(request: &Incoming) -> Result<Answer, Fault> {
    Ok(Answer::ok(plugin(request)?.to_json()))
}

/// `GET /plugins/schema/{name}`: the configuration alone, as Kong once had it.
///
/// # Errors
/// 404 for an unknown name.
pub fn of_plugin_config(request: &Incoming) -> Result<Answer, Fault> {
    let schema = plugin(request)?.to_json();
    let fields = schema.get("fields").and_then(Value::as_array).into_iter().flatten();
    let config = fields.filter_map(|field| field.get("config")).next().cloned().unwrap_or_default();
    Ok(Answer::ok(json!({"fields": config.get("fields").cloned().unwrap_or_default()})))
}

/// `POST /schemas/{entity}/validate`
///
/// # Errors
/// 404 for an unknown name, code 2 for what is wrong.
pub fn validate(request: &Incoming) -> Result<Answer, Fault> {
    let name = name(request, 1);
    let of = find(name).ok_or_else(|| no_entity(name))?;
    let mut input = match &request.body {
        Input::Nothing | Input::Yaml => Body::new(),
        Input::Json(document) => document.clone(),
        Input::Form(pairs) => schema::from_form(table(of), pairs.clone(), None),
    };
    super::certificates::take_snis(of, &mut input)?;
    // A reference may be given by name here as well; whether it leads anywhere is not asked.
    for foreign in of.foreign {
        let by_name = input
            .get(foreign.field)
            .and_then(Value::as_object)
            .is_some_and(|given| !given.is_empty() && !given.contains_key("id"));
        if by_name {
            input.insert(foreign.field.to_owned(), json!({"id": uuid::Uuid::nil()}));
        }
    }
    table(of).insert(input, Now::system()).map_err(Fault::schema)?;
    Ok(Answer::ok(json!({"message": "schema validation successful"})))
}
