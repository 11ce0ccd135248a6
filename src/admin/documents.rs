//! The endpoints that follow from the collections.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::State;
use super::answer::Answer;
use super::entities::{self, Key, Listing, Written, id_of, parse_id, reference, table};
use super::fault::Fault;
use super::paths::Action;
use super::request::{Incoming, Input};
use crate::schema;
use crate::store::{Body, Collection, Foreign, Tags};

/// Kong's page: 100 entities, at most 1000.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;

/// Answers a generated endpoint.
///
/// # Errors
/// What the client is told instead.
pub async fn answer(state: &State, request: &Incoming, action: Action) -> Result<Answer, Fault> {
    let segment = |at: usize| request.segments.get(at).map_or("", String::as_str);
    match action {
        Action::Collection(of) if request.method == Method::POST => {
            let input = input(state, request, of, None).await?;
            created(state.entities.insert(of, input).await?)
        }
        Action::Collection(of) => list(state, request, of).await,
        Action::Entity(of) => {
            let key = top_key(state, request, of, segment(1)).await?;
            one(state, request, of, &key).await
        }
        Action::Children { parent, child, foreign } => {
            let owner = existing(state, request, parent, segment(1)).await?;
            if request.method == Method::POST {
                let mut input = input(state, request, child, None).await?;
                input.insert(foreign.field.to_owned(), json!({"id": owner}));
                return created(state.entities.insert(child, input).await?);
            }
            children(state, request, parent, child, foreign, owner).await
        }
        Action::Child { parent, child, foreign } => {
            let owner = existing(state, request, parent, segment(1)).await?;
            let key = child_key(child, owner, segment(3))?;
            child_of(state, request, child, foreign, owner, &key).await
        }
        Action::Foreign { of, foreign, to } => foreign_of(state, request, of, foreign, to, segment(1)).await,
        Action::Nothing => Ok(Answer::ok(json!({"data": [], "next": null}))),
        Action::NothingEntity | Action::Fixed(_) => Err(Fault::not_found()),
    }
}

fn created(written: Written) -> Result<Answer, Fault> {
    let mut answer = Answer::json(StatusCode::CREATED, Value::Object(written.body));
    answer.revision = written.revision;
    Ok(answer)
}

fn written(written: Written) -> Answer {
    let mut answer = Answer::ok(Value::Object(written.body));
    answer.revision = written.revision;
    answer
}

fn deleted(revision: Option<i64>) -> Answer {
    let mut answer = Answer::no_content();
    answer.revision = revision;
    answer
}

/// The key of `/E/{segment}`. A certificate is also known by a name of its own.
async fn top_key(state: &State, request: &Incoming, of: &'static Collection, segment: &str) -> Result<Key, Fault> {
    if of.name != "certificates" || parse_id(segment).is_some() {
        return Key::parse(of, segment);
    }
    let snis = Collection::find("snis").ok_or_else(Fault::unexpected)?;
    let sni = state.entities.select(snis, &Key::Unique("name", segment.to_owned())).await?;
    match sni.and_then(|sni| reference(&sni, "certificate")) {
        Some(id) => Ok(Key::Id(id)),
        None if request.method == Method::PUT => Ok(Key::Id(Uuid::new_v4())),
        None => Err(Fault::plain(StatusCode::NOT_FOUND, "SNI not found")),
    }
}

/// The id of a parent that is there.
async fn existing(state: &State, request: &Incoming, of: &'static Collection, segment: &str) -> Result<Uuid, Fault> {
    let key = top_key(state, request, of, segment).await?;
    let found = state.entities.select(of, &key).await?.ok_or_else(Fault::not_found)?;
    id_of(&found).ok_or_else(Fault::not_found)
}

/// A target is known by its address within its upstream, with Kong's port where none is given.
pub fn child_key(child: &Collection, owner: Uuid, segment: &str) -> Result<Key, Fault> {
    if child.name != "targets" || parse_id(segment).is_some() {
        return Key::parse(child, segment);
    }
    let has_port = match segment.rsplit_once(':') {
        Some((host, port)) => {
            !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']'))
        }
        None => false,
    };
    let target = if has_port { segment.to_owned() } else { format!("{segment}:8000") };
    Ok(Key::Target { upstream: owner, target })
}

/// The body as a document. `named`: the entity that is changed, whose plugin tells how a form's values are read.
async fn input(state: &State, request: &Incoming, of: &'static Collection, named: Option<&Key>) -> Result<Body, Fault> {
    match &request.body {
        Input::Nothing | Input::Yaml => Ok(Body::new()),
        Input::Json(document) => Ok(document.clone()),
        Input::Form(pairs) => {
            let unnamed = of.name == "plugins" && !pairs.iter().any(|(name, _)| name == "name");
            let current = match named.filter(|_| unnamed) {
                Some(key) => state.entities.select(of, key).await?,
                None => None,
            };
            Ok(schema::from_form(table(of), pairs.clone(), current.as_ref()))
        }
    }
}

/// GET, PUT, PATCH and DELETE of `/E/{key}`.
async fn one(state: &State, request: &Incoming, of: &'static Collection, key: &Key) -> Result<Answer, Fault> {
    match request.method {
        Method::PUT => {
            let mut body = input(state, request, of, Some(key)).await?;
            add_own_sni(of, &mut body, request);
            Ok(written(state.entities.upsert(of, key, body).await?))
        }
        Method::PATCH => {
            // Kong looks a plugin up before it changes it, and says so differently when it is not there.
            if of.name == "plugins" && state.writable && state.entities.select(of, key).await?.is_none() {
                return Err(Fault::not_found());
            }
            let body = input(state, request, of, Some(key)).await?;
            Ok(written(state.entities.update(of, key, body).await?))
        }
        Method::DELETE => Ok(deleted(state.entities.delete(of, key).await?)),
        _ => {
            let found = state.entities.select(of, key).await?.ok_or_else(Fault::not_found)?;
            Ok(Answer::ok(Value::Object(found)))
        }
    }
}

/// PUT /certificates/{name}: the name becomes one of the certificate's.
fn add_own_sni(of: &Collection, body: &mut Body, request: &Incoming) {
    let Some(name) = request.segments.get(1).filter(|name| of.name == "certificates" && parse_id(name).is_none())
    else {
        return;
    };
    let names = match body.shift_remove("snis") {
        Some(Value::Array(mut names)) => {
            if !names.iter().any(|there| there.as_str() == Some(name)) {
                names.push(Value::from(name.as_str()));
            }
            names
        }
        Some(Value::String(one)) if one != *name => vec![Value::from(one), Value::from(name.as_str())],
        _ => vec![Value::from(name.as_str())],
    };
    body.insert("snis".to_owned(), Value::Array(names));
}

/// GET, PUT, PATCH and DELETE of `/P/{p}/E/{key}`.
async fn child_of(
    state: &State,
    request: &Incoming,
    child: &'static Collection,
    foreign: &'static Foreign,
    owner: Uuid,
    key: &Key,
) -> Result<Answer, Fault> {
    if request.method == Method::PUT {
        let mut body = input(state, request, child, Some(key)).await?;
        body.insert(foreign.field.to_owned(), json!({"id": owner}));
        return Ok(written(state.entities.upsert(child, key, body).await?));
    }
    let found = state.entities.select(child, key).await?;
    let found = found.filter(|found| reference(found, foreign.field) == Some(owner)).ok_or_else(Fault::not_found)?;
    let key = id_of(&found).map(Key::Id).ok_or_else(Fault::not_found)?;
    match request.method {
        Method::PATCH => {
            let mut body = input(state, request, child, Some(&key)).await?;
            body.entry(foreign.field.to_owned()).or_insert_with(|| json!({"id": owner}));
            Ok(written(state.entities.update(child, &key, body).await?))
        }
        Method::DELETE => Ok(deleted(state.entities.delete(child, &key).await?)),
        _ => Ok(Answer::ok(Value::Object(found))),
    }
}

/// GET, PUT, PATCH and DELETE of `/E/{key}/parent`.
async fn foreign_of(
    state: &State,
    request: &Incoming,
    of: &'static Collection,
    foreign: &'static Foreign,
    to: &'static Collection,
    segment: &str,
) -> Result<Answer, Fault> {
    let key = top_key(state, request, of, segment).await?;
    let found = state.entities.select(of, &key).await?.ok_or_else(Fault::not_found)?;
    let parent = reference(&found, foreign.field);
    if request.method == Method::PUT {
        let id = parent.unwrap_or_else(Uuid::new_v4);
        let body = input(state, request, to, Some(&Key::Id(id))).await?;
        let answer = written(state.entities.upsert(to, &Key::Id(id), body).await?);
        if parent.is_none()
            && let Some(own) = id_of(&found)
        {
            let patch = Body::from_iter([(foreign.field.to_owned(), json!({"id": id}))]);
            state.entities.update(of, &Key::Id(own), patch).await?;
        }
        return Ok(answer);
    }
    let key = Key::Id(parent.ok_or_else(Fault::not_found)?);
    match request.method {
        Method::DELETE => Err(Fault::method_not_allowed()),
        Method::PATCH => {
            let body = input(state, request, to, Some(&key)).await?;
            Ok(written(state.entities.update(to, &key, body).await?))
        }
        _ => {
            let found = state.entities.select(to, &key).await?.ok_or_else(Fault::not_found)?;
            Ok(Answer::ok(Value::Object(found)))
        }
    }
}

async fn list(state: &State, request: &Incoming, of: &'static Collection) -> Result<Answer, Fault> {
    let only = request
        .argument("custom_id")
        .filter(|_| of.name == "consumers")
        .filter(|value| !value.is_empty())
        .map(|value| ("custom_id", value.to_owned()));
    let listing = Listing { size: size(request)?, after: offset(request)?, tags: tags(request)?, parent: None, only };
    let listed = state.entities.list(of, &listing).await?;
    let mut extra = String::new();
    if let Some(tags) = request.argument("tags") {
        extra = format!("&tags={}", escaped(tags));
    }
    if let Some(size) = request.argument("size") {
        extra = format!("{extra}&size={}", escaped(size));
    }
    page(&format!("/{}", of.path), listed, &extra)
}

/// A nested list: Kong heeds neither tags nor keeps the size in `next`.
async fn children(
    state: &State,
    request: &Incoming,
    parent: &'static Collection,
    child: &'static Collection,
    foreign: &'static Foreign,
    owner: Uuid,
) -> Result<Answer, Fault> {
    let listing = Listing {
        size: size(request)?,
        after: offset(request)?,
        tags: None,
        parent: Some(entities::parent(foreign, owner)),
        only: None,
    };
    let listed = state.entities.list(child, &listing).await?;
    let named = request.segments.get(1).map(|segment| escaped(segment)).unwrap_or_default();
    page(&format!("/{}/{named}/{}", parent.path, child.nested), listed, "")
}

/// A page as JSON text: stored documents are passed on as they are.
fn page(path: &str, listed: entities::Listed, extra: &str) -> Result<Answer, Fault> {
    let mut text = String::from("{\"data\":[");
    for (index, entity) in listed.data.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        entity.write(&mut text)?;
    }
    match listed.next {
        None => text.push_str("],\"next\":null}"),
        Some(last) => {
            let offset = write_offset(&json!([last.to_string()]));
            let next = Value::from(format!("{path}?offset={offset}{extra}"));
            text.push_str(&format!("],\"next\":{next},\"offset\":{}}}", Value::from(offset)));
        }
    }
    Ok(Answer::text(StatusCode::OK, Answer::JSON, text))
}

fn escaped(text: &str) -> String {
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, PLAIN).to_string()
}

/// The page size asked for.
///
/// # Errors
/// Code 9.
pub fn size(request: &Incoming) -> Result<usize, Fault> {
    let Some(text) = request.argument("size") else { return Ok(PAGE) };
    let number: f64 = text.trim().parse().map_err(|_| Fault::invalid_size("size must be a number"))?;
    if number.fract() != 0.0 || !(1.0..=LARGEST_PAGE as f64).contains(&number) {
        return Err(Fault::invalid_size("size must be an integer between 1 and 1000"));
    }
    text.trim().parse::<f64>().map(|number| number as usize).map_err(|_| Fault::invalid_size("size must be a number"))
}

/// An offset: base64url of a JSON array, as Kong's.
pub fn write_offset(parts: &Value) -> String {
    URL_SAFE_NO_PAD.encode(parts.to_string())
}

/// Reads an offset back.
///
/// # Errors
/// Code 7.
pub fn read_offset(request: &Incoming) -> Result<Option<Vec<String>>, Fault> {
    let Some(text) = request.argument("offset").filter(|text| !text.is_empty()) else { return Ok(None) };
    let bytes = URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .map_err(|_| Fault::invalid_offset(text, "bad base64 encoding"))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|_| Fault::invalid_offset(text, "bad json array"))
}

fn offset(request: &Incoming) -> Result<Option<Uuid>, Fault> {
    let Some(parts) = read_offset(request)? else { return Ok(None) };
    let text = request.argument("offset").unwrap_or_default();
    let id = parts.first().and_then(|id| parse_id(id));
    id.map(Some).ok_or_else(|| Fault::invalid_offset(text, "unexpected value"))
}

/// The tags asked for.
///
/// # Errors
/// Code 11.
fn tags(request: &Incoming) -> Result<Option<Tags>, Fault> {
    const MOST: usize = 5;
    let Some(text) = request.argument("tags") else { return Ok(None) };
    if text.is_empty() {
        return Err(Fault::invalid_tags("cannot be null"));
    }
    let printable = |tag: &str| {
        !tag.is_empty() && tag.chars().all(|letter| letter >= ' ' && letter != '\u{7f}' && letter != '\u{fffd}')
    };
    let split = |separator: char| -> Vec<String> {
        let text = text.strip_suffix(separator).unwrap_or(text);
        text.split(separator).map(str::to_owned).collect()
    };
    let (tags, any) = match (text.contains(','), text.contains('/')) {
        (true, true) => return Err(Fault::invalid_tags("invalid filter syntax")),
        (false, true) => (split('/'), true),
        _ => (split(','), false),
    };
    if !tags.iter().all(|tag| printable(tag)) {
        return Err(Fault::invalid_tags("invalid filter syntax"));
    }
    if tags.len() > MOST {
        return Err(Fault::invalid_tags("cannot query more than 5 tags"));
    }
    Ok(Some(if any { Tags::Any(tags) } else { Tags::All(tags) }))
}
