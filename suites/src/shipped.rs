//! The implementations that come with the command.

use std::{path::Path, sync::Arc};

use netproof::{
    implement::Native,
    protocol::{Description, VERSION},
};

use crate::{deviation::Deviations, run::Subject};

/// The names of those that come with the command.
pub const IMPLEMENTATIONS: [&str; 1] = ["native"];

/// The built-in implementation.
#[must_use]
pub fn native() -> Subject {
    Subject { description: native_description(), implementation: Arc::new(Native::default()), driver: None }
}

/// What the built-in implementation says of itself.
#[must_use]
pub fn native_description() -> Description {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    Description {
        protocol: VERSION,
        name: "native".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        verbs: texts(&["up", "down", "add", "remove", "reload"]),
        topologies: texts(&["*"]),
        ..Description::default()
    }
}

/// An implementation that comes with the command.
pub fn implementation(name: &str) -> Result<Subject, String> {
    match name {
        "native" => Ok(native()),
        _ => Err(format!("no implementation is called `{name}`; there is native")),
    }
}

/// The implementation that a driver attaches.
pub fn driver(path: &Path) -> Result<Subject, String> {
    Err(format!("{}: not yet", path.display()))
}

/// What a shipped implementation is known to fail.
pub fn deviations(_name: &str) -> Result<Deviations, String> {
    Ok(Deviations::default())
}
