//! Kong's matching.

use crate::diagnostic::Diagnostic;
use crate::entity;

/// Compiled routes.
#[derive(Debug, Default)]
pub struct Router;

impl Router {
    pub fn compile(_routes: &[&entity::Route], _diagnostics: &mut Vec<Diagnostic>) -> Self {
        Self
    }
}
