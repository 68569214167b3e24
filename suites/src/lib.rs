//! The conformance suite of netproof: claims about container-style networks, and what grades implementations on them.
//!
//! | module | what it is |
//! |---|---|
//! | [`case`] | one claim: an id, a level, a source, and how it is tried |
//! | [`suite`] | claims that belong together, and the registry of all |
//! | [`stage`] | what a case acts on: a lab, and the verbs of its implementation |
//! | [`snapshot`] | what stands in a lab at one time, and what came of it since |
//! | [`cases`] | the claims themselves, one file for each suite |
//! | [`run`] | trying cases on implementations |
//! | [`report`] | what came of it, as text, JSON, JUnit and TAP |
//! | [`deviation`] | failures that are known, with their reasons |
//! | [`compare`] | what changed between two reports |
//! | [`mutant`] | faults on purpose, to see which cases notice |
//! | [`shipped`] | the drivers that come with the command |

pub mod case;
pub mod cases;
pub mod compare;
pub mod deviation;
pub mod mutant;
pub mod report;
pub mod run;
pub mod shipped;
pub mod snapshot;
pub mod stage;
pub mod suite;

pub use crate::{
    case::{Case, Level, Start},
    snapshot::Snapshot,
    stage::Stage,
    suite::{SUITES, Suite},
};

/// The version of the suite, written into every report: it moves with the claims, not with the code.
pub const SUITE_VERSION: &str = "0.1.0";

/// Reads a file of ours; errors point at the line. `source` is what they call the file.
fn from_toml<T: serde::de::DeserializeOwned>(source: &str, text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        format!("{source}:{line}: {}", error.message().trim_end())
    })
}

#[cfg(test)]
netproof::enter!();
