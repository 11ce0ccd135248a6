//! The environment variables that templates and vault references read: taken once, as Kong does, and settable in tests.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// A fixed set of environment variables; its values are never shown.
#[derive(Clone)]
pub struct Environment(Arc<HashMap<String, String>>);

impl Environment {
    /// The process's, as it was when this was first called. Variables that are not UTF-8 are left out.
    pub fn process() -> Self {
        static PROCESS: LazyLock<Environment> = LazyLock::new(|| {
            Environment::from_iter(
                std::env::vars_os()
                    .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
            )
        });
        PROCESS.clone()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(Arc::new(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect()))
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Environment({} variables)", self.0.len())
    }
}
