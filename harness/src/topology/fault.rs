//! What is wrong with a topology, and where.

/// Why a topology cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}{}: {message}", .line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct Invalid {
    /// The file's name, or the topology's where there is no file.
    pub source_name: String,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl Invalid {
    pub(super) fn at(source: &str, line: Option<usize>, message: &str) -> Self {
        Self { source_name: source.into(), line, message: message.trim_end().into() }
    }
}

/// A fault, and the way to it from the root.
pub(super) struct Fault {
    pub path: Vec<Step>,
    pub message: String,
}

/// One step of the way to a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Key(&'static str),
    Index(usize),
}

impl From<&'static str> for Step {
    fn from(key: &'static str) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}
