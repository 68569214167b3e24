//! Failures that are known, with their reasons: lists that only shrink.

use std::path::Path;

use netproof::Topology;
use serde::{Deserialize, Serialize};

use crate::{
    from_toml,
    run::{Outcome, Verdict},
    suite::all_cases,
};

/// What an implementation is known to fail.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviations {
    /// Of which versions of the implementation it is known, by what they begin with: `20.10`; none: of any. Another
    /// version may have mended what is listed, which is told and fails no run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// The failures.
    #[serde(default)]
    pub known: Vec<Known>,
}

/// One known failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The case's id.
    pub case: String,
    /// The topology; none: every one on which the case is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<String>,
    /// Which of the list's versions fail it; none: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<String>,
    /// Why it fails.
    pub reason: String,
    /// Whether it fails by chance, as where two things race: then it is `known` where it passes, too, so that equal
    /// runs have equal verdicts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sometimes: bool,
    /// Where it is reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

impl Deviations {
    /// Reads a file. `source` is what messages call it.
    pub fn parse(source: &str, text: &str) -> Result<Self, String> {
        let deviations: Self = from_toml(source, text)?;
        for (place, known) in deviations.known.iter().enumerate() {
            let Some(case) = all_cases().find(|case| case.id == known.case) else {
                return Err(format!("{source}: no case has the id `{}`", known.case));
            };
            let is_tried_on = |name: &String| case.on.contains(&name.as_str()) || Topology::shipped(name).is_err();
            if let Some(odd) = known.topology.as_ref().filter(|name| !is_tried_on(name)) {
                return Err(format!("{source}: {} is not tried on `{odd}`", known.case));
            }
            if let Some(odd) = known.versions.iter().find(|version| !deviations.versions.contains(version)) {
                return Err(format!("{source}: {} fails in `{odd}`, which the list is not about", known.name()));
            }
            if deviations.known[..place].iter().any(|other| other.overlaps(known)) {
                return Err(format!("{source}: {} is listed twice", known.name()));
            }
            if known.reason.trim().is_empty() {
                return Err(format!("{source}: {} has no reason", known.name()));
            }
        }
        Ok(deviations)
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("reading deviations {}: {error}", path.display()))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// A list of all that failed: what a new implementation starts from. One line for a case that failed wherever it was
    /// tried, else one for each topology; the reasons are the causes that were found.
    #[must_use]
    pub fn of(version: &str, outcomes: &[Outcome]) -> Self {
        let failed = |outcome: &&Outcome| matches!(outcome.verdict, Verdict::Fail | Verdict::Known);
        let mut known: Vec<Known> = Vec::new();
        for outcome in outcomes.iter().filter(failed) {
            let of_case = || outcomes.iter().filter(|other| other.id == outcome.id);
            let everywhere = is_whole(&outcome.id, outcomes)
                && of_case().filter(|other| other.verdict != Verdict::Unsupported).all(|other| failed(&other));
            if everywhere && known.iter().any(|line| line.case == outcome.id) {
                continue;
            }
            // Whoever listed it has looked into it.
            let listed = outcome.reason.as_ref().filter(|_| outcome.verdict == Verdict::Known);
            let why =
                listed.or(outcome.cause.as_ref()).or(outcome.reason.as_ref()).and_then(|text| text.lines().next());
            known.push(Known {
                case: outcome.id.clone(),
                topology: (!everywhere).then(|| outcome.topology.clone()),
                reason: match (why, outcome.evidence.as_ref().and_then(|text| text.lines().nth(1))) {
                    (Some(why), Some(more)) if why.ends_with(':') => format!("{why} {}", more.trim()),
                    (why, _) => why.unwrap_or("not looked into yet").to_owned(),
                },
                versions: Vec::new(),
                sometimes: false,
                link: None,
            });
        }
        let versions = Some(version.to_owned()).into_iter().filter(|version| !version.is_empty());
        Self { versions: versions.collect(), known }
    }

    /// Whether the list is about this version.
    #[must_use]
    pub fn is_about(&self, version: &str) -> bool {
        is_one_of(&self.versions, version)
    }

    /// What of the list is about this version; all of it, where the list is about others.
    #[must_use]
    pub fn of_version(mut self, version: &str) -> Self {
        if self.is_about(version) {
            self.known.retain(|known| is_one_of(&known.versions, version));
        }
        self
    }

    /// Turns listed failures into `known`.
    pub fn apply(&self, outcomes: &mut [Outcome]) {
        for known in &self.known {
            for outcome in outcomes.iter_mut().filter(|outcome| known.is_about(outcome)) {
                if outcome.verdict == Verdict::Fail || known.sometimes && outcome.verdict == Verdict::Pass {
                    outcome.verdict = Verdict::Known;
                    let link = known.link.as_ref().map(|link| format!(" ({link})")).unwrap_or_default();
                    let chance = if known.sometimes { "by chance: " } else { "" };
                    outcome.reason = Some(format!("{chance}{}{link}", known.reason));
                }
            }
        }
    }

    /// The lines whose cases were tried, wherever they are about, and pass: they are to go. What this kernel cannot run
    /// proves nothing.
    #[must_use]
    pub fn unused<'a>(&'a self, outcomes: &[Outcome]) -> Vec<&'a Known> {
        let is_unused = |known: &&Known| {
            let of_line = outcomes.iter().filter(|outcome| known.is_about(outcome));
            let mut tried = of_line.filter(|outcome| outcome.verdict != Verdict::Unsupported).peekable();
            tried.peek().is_some()
                && tried.all(|outcome| outcome.verdict == Verdict::Pass)
                && known.is_covered(outcomes)
        };
        self.known.iter().filter(is_unused).collect()
    }
}

impl Known {
    fn is_about(&self, outcome: &Outcome) -> bool {
        self.case == outcome.id && self.topology.as_ref().is_none_or(|topology| *topology == outcome.topology)
    }

    /// Whether something is about both lines.
    fn overlaps(&self, other: &Self) -> bool {
        let either = self.topology.is_none() || other.topology.is_none();
        let any = self.versions.is_empty() || other.versions.is_empty();
        self.case == other.case
            && (either || self.topology == other.topology)
            && (any || self.versions.iter().any(|version| other.versions.contains(version)))
    }

    /// Whether everything that the line is about was selected: on what was left out, the case may fail.
    fn is_covered(&self, outcomes: &[Outcome]) -> bool {
        self.topology.is_some() || is_whole(&self.case, outcomes)
    }

    /// The case, and the topology where it is only one.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.topology {
            Some(topology) => format!("{} on {topology}", self.case),
            None => self.case.clone(),
        }
    }
}

/// Whether the case was selected on every topology that it is tried on.
fn is_whole(case: &str, outcomes: &[Outcome]) -> bool {
    let on = all_cases().filter(|known| known.id == case).flat_map(|known| known.on);
    on.copied().all(|name| outcomes.iter().any(|outcome| outcome.id == case && outcome.topology == name))
}

/// Whether a version is one of these, by what they begin with (whole numbers: 1.14 is no 1.1), or they say nothing of
/// versions.
fn is_one_of(versions: &[String], version: &str) -> bool {
    let begins_with = |known: &String| {
        let number = |end: Option<char>| end.is_some_and(|end| end.is_ascii_digit());
        version
            .strip_prefix(known.as_str())
            .is_some_and(|rest| !(number(known.chars().last()) && number(rest.chars().next())))
    };
    versions.is_empty() || versions.iter().any(begins_with)
}
