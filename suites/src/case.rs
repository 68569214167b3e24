//! One claim.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::stage::Stage;

/// One claim about a network: what is true, how much it matters, who says so, and how it is tried.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// `suite/the-claim-in-words`: it never changes its meaning, and is never used again once given up.
    pub id: &'static str,
    /// How much it matters.
    pub level: Level,
    /// One sentence that is true of a good network.
    pub claim: &'static str,
    /// Who says so: a line of the article, an RFC, a kernel document, an issue.
    pub source: &'static str,
    /// What failing means for who uses the network.
    pub failing: &'static str,
    /// The topologies that it applies to.
    pub on: &'static [&'static str],
    /// What stands when it starts.
    pub start: Start,
    /// Tries it.
    pub run: fn(&mut Stage) -> netproof::Result<()>,
}

impl Case {
    /// The suite's name: what stands before the slash.
    #[must_use]
    pub fn suite(&self) -> &'static str {
        self.id.split('/').next().unwrap_or_default()
    }

    /// Whether a suite, a case's id, or first words of one mean it: `pair` and `pair/peers` mean
    /// `pair/peers-reach-each-other`, and `pa` does not.
    #[must_use]
    pub fn is_meant(&self, name: &str) -> bool {
        let name = name.trim_end_matches('/');
        self.id.strip_prefix(name).is_some_and(|rest| {
            rest.is_empty() || rest.starts_with('/') || (name.contains('/') && rest.starts_with('-'))
        })
    }
}

/// How much a claim matters, in the words of RFC 2119.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Good to have.
    May,
    /// Left out only for a reason.
    Should,
    /// Without it the network is broken.
    Must,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::May => "MAY",
            Self::Should => "SHOULD",
            Self::Must => "MUST",
        })
    }
}

/// What stands when a case starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The topology, built.
    Built,
    /// The namespaces, the sysctls and the uplink; the case says when to build.
    Prepared,
    /// As `Prepared`, and it does not matter whether the implementation claims to build the topology.
    Unclaimed,
}

#[cfg(test)]
mod tests {
    use crate::suite::all_cases;

    /// Names are whole words of ids.
    #[test]
    fn names_are_whole_words() {
        let case = all_cases().find(|case| case.id == "pair/peers-reach-each-other").unwrap();
        assert!(case.is_meant("pair"));
        assert!(case.is_meant("pair/peers"));
        assert!(!case.is_meant("pa"));
        assert!(!case.is_meant("pair/peer"));
    }
}
