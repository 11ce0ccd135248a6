//! `snis` of a certificate: a list of names where the entities are `snis`.

use serde_json::Value;

use super::fault::Fault;
use crate::store::{Body, Collection};

/// The names given with a certificate; `None`: none were, and those there stay.
#[derive(Debug)]
pub struct Snis(pub Option<Vec<String>>);

impl Snis {
    /// PUT without names takes all away.
    pub fn or_none(self) -> Self {
        Self(Some(self.0.unwrap_or_default()))
    }
}

/// Takes `snis` out of the input for a certificate.
///
/// # Errors
/// When it is no list of names, or names one twice.
pub fn take_snis(of: &Collection, input: &mut Body) -> Result<Snis, Fault> {
    if of.name != "certificates" {
        return Ok(Snis(None));
    }
    match input.shift_remove("snis") {
        None => Ok(Snis(None)),
        Some(Value::Null) => Ok(Snis(Some(Vec::new()))),
        Some(Value::String(name)) => Ok(Snis(Some(vec![name]))),
        Some(Value::Array(items)) => {
            let mut names = Vec::with_capacity(items.len());
            for item in items {
                let Value::String(name) = item else { return Err(Fault::field("snis", "expected a string")) };
                if names.contains(&name) {
                    return Err(Fault::field("snis", format!("{name} is duplicated")));
                }
                names.push(name);
            }
            Ok(Snis(Some(names)))
        }
        Some(_) => Err(Fault::field("snis", "expected a set")),
    }
}

/// Adds the names to a certificate's answer, sorted.
pub fn show_snis<'a>(body: &mut Body, snis: impl Iterator<Item = &'a Body>) {
    let mut names: Vec<String> = snis.filter_map(|sni| Some(sni.get("name")?.as_str()?.to_owned())).collect();
    names.sort();
    body.insert("snis".to_owned(), names.into());
}
