//! Scopes.

use super::config::Config;
use super::reply::Fault;
use crate::auth::arguments::{Argument, Arguments};

/// The scope to store for a request: the scopes asked for, each once, or `None`.
///
/// # Errors
/// A scope that is not configured, none where one is needed, or a value that is no text.
pub fn requested(config: &Config, arguments: &Arguments) -> Result<Option<Box<str>>, Fault> {
    let invalid = |description: String| Err(Fault::new("invalid_scope", description));
    let asked = match arguments.get("scope") {
        Some(Argument::Scalar | Argument::Other) => return invalid("scope must be a string".into()),
        Some(Argument::Text(scope)) => scope.as_str(),
        None => "",
    };
    let mut scopes: Vec<&str> = Vec::new();
    if let Some(allowed) = &config.scopes {
        for scope in asked.split_whitespace() {
            if !allowed.iter().any(|there| there == scope) {
                return invalid(format!("\"{scope}\" is an invalid scope"));
            }
            scopes.push(scope);
        }
    }
    match scopes.is_empty() {
        true if config.mandatory_scope => invalid("You must specify a scope".into()),
        true => Ok(None),
        false => Ok(Some(scopes.join(" ").into())),
    }
}

/// Whether a stored scope is still allowed; for a refresh.
pub fn still_allowed(config: &Config, stored: Option<&str>) -> bool {
    let allowed = |scope: &str| config.scopes.iter().flatten().any(|there| there == scope);
    stored.is_none_or(|stored| stored.split_whitespace().all(allowed))
}
