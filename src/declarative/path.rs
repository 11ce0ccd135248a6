//! Paths inside a declarative document: `services[0].routes[1].paths[0]`.
//!
//! A [`Path`] is owned and kept in faults; an [`At`] is a link of a chain on the stack, so that walking a million entities
//! costs nothing until one of them is at fault.

use std::fmt;

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Key(Box<str>),
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.into())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// A path in one of the files that are being read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Path {
    /// Which source, counting from 0.
    pub file: usize,
    pub steps: Vec<Step>,
}

impl Path {
    pub fn root(file: usize) -> Self {
        Self { file, steps: Vec::new() }
    }

    pub fn then(&self, step: impl Into<Step>) -> Self {
        let mut longer = self.clone();
        longer.steps.push(step.into());
        longer
    }

    /// Extends by Kong's dotted field path; a number is an index (Kong's count from 1).
    pub fn then_field(&self, field: &str) -> Self {
        let mut longer = self.clone();
        for part in field.split('.').filter(|part| !part.is_empty() && !part.starts_with('@')) {
            longer.steps.push(match part.parse::<usize>() {
                Ok(position @ 1..) => Step::Index(position - 1),
                _ => part.into(),
            });
        }
        longer
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.steps.iter().enumerate() {
            match step {
                Step::Key(key) if n == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A place in the document while it is walked.
#[derive(Clone, Copy)]
pub enum At<'a> {
    Path(&'a Path),
    Key(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

impl At<'_> {
    pub fn to_path(self) -> Path {
        match self {
            Self::Path(path) => path.clone(),
            Self::Key(up, key) => {
                let mut path = up.to_path();
                path.steps.push(key.into());
                path
            }
            Self::Index(up, index) => {
                let mut path = up.to_path();
                path.steps.push(Step::Index(index));
                path
            }
        }
    }
}
