//! Topologies as files, with errors that point at the line.

use std::{fs, path::Path};

use toml::de::{DeTable, DeValue};

use super::{Invalid, Topology, check, fault::Step};
use crate::{Error, Result};

impl Topology {
    /// Reads and checks a topology. `source` is what messages call the text: a file's name.
    ///
    /// ```
    /// let error = netproof::Topology::parse("mine.toml", "topology = \"mine\"\n[[bridges]]\nname = \"a-name-of-16-byte\"\n");
    /// assert!(error.unwrap_err().to_string().starts_with("mine.toml:3: "));
    /// ```
    pub fn parse(source: &str, text: &str) -> Result<Self> {
        let topology: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| line_of(text, span.start));
            // What reads addresses does not say which.
            let which = error.span().and_then(|span| text.get(span)).filter(|_| error.message().contains("IP address"));
            Invalid::at(source, line, &which.into_iter().chain([error.message()]).collect::<Vec<_>>().join(": "))
        })?;
        check::check(&topology).map_err(|fault| {
            let line = span_of(text, &fault.path).map(|start| line_of(text, start));
            Invalid::at(source, line, &fault.message)
        })?;
        Ok(topology)
    }

    /// Reads and checks a topology from a file, as [`Topology::parse`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = fs::read_to_string(path)
            .map_err(|error| Error::Usage(format!("reading topology {}: {error}", path.display())))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Checks a topology made in Rust. Errors name the object, there being no line.
    pub fn check(&self) -> Result<()> {
        check::check(self).map_err(|fault| Invalid::at(&self.name, None, &fault.message).into())
    }
}

/// Where in the text the value at `path` starts, or the nearest one above it that is there.
fn span_of(text: &str, path: &[Step]) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let (mut start, mut value) = (0, DeValue::Table(root.into_inner()));
    for step in path {
        let next = match (step, value) {
            (Step::Key(key), DeValue::Table(mut table)) => table.remove(*key),
            (Step::Index(index), DeValue::Array(array)) => array.into_iter().nth(*index),
            _ => None,
        };
        let Some(next) = next else { break };
        start = next.span().start;
        value = next.into_inner();
    }
    Some(start)
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
