//! Certificates by server name.

use crate::diagnostic::Diagnostic;
use crate::entity::Dataset;

/// The certificates of a configuration.
#[derive(Debug, Default)]
pub struct Certificates;

impl Certificates {
    pub fn compile(_dataset: &Dataset, _diagnostics: &mut Vec<Diagnostic>) -> Self {
        Self
    }
}
