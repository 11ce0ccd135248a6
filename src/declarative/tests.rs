//! Tests of the whole room: text in, dataset or faults out.

mod again;
mod conformance;
mod deck;
mod dumps;
mod faults;
mod formats;
mod robust;
mod scale;
mod traps;

use super::{Environment, Loaded, Options, Refused, load_text};
use crate::entity::{Dataset, Kind};
use crate::schema::Now;

fn options() -> Options {
    Options {
        environment: Environment::from_iter([("DECK_HOST", "deck.example"), ("MY_SECRET", "from-the-vault")]),
        now: Now::from_milliseconds(1_700_000_000_123),
        ..Options::default()
    }
}

fn try_load(text: &str) -> Result<Loaded, Refused> {
    load_text("kong.yml", text, &options())
}

/// Loads what must load.
fn load(text: &str) -> Loaded {
    try_load(text).unwrap_or_else(|refused| panic!("{text}\nrefused: {:#?}", refused.diagnostics))
}

/// With the version in front.
fn load3(text: &str) -> Loaded {
    load(&format!("_format_version: '3.0'\n{text}"))
}

/// The faults of what must be refused, as lines.
fn faults(text: &str) -> Vec<String> {
    match try_load(text) {
        Ok(_) => panic!("loaded: {text}"),
        Err(refused) => refused.diagnostics.iter().map(ToString::to_string).collect(),
    }
}

/// Everything in a dataset, in an order that does not depend on how it was written.
fn canonical(dataset: &Dataset) -> Vec<String> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let mut entities = Vec::new();
        super::dump::each(dataset, kind, |document| {
            entities.push(format!("{}: {}", kind.collection(), serde_json::Value::Object(document)));
        });
        entities.sort();
        all.extend(entities);
    }
    all
}
