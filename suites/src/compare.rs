//! What changed between two reports.

use std::{collections::BTreeMap, fmt};

use crate::{
    report::Report,
    run::{Outcome, Verdict},
};

/// What changed for one case.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// `native: pair/peers-reach-each-other on pair`
    pub name: String,
    /// What kind of change.
    pub kind: ChangeKind,
    /// How it was, and how it is.
    pub text: String,
}

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It passed, and does not any more.
    Worse,
    /// It was tried, and is not any more.
    Vanished,
    /// It did not pass, and does now.
    Better,
    /// It was not there.
    New,
    /// It takes more than twice the time, and more than 500 ms more.
    Slower,
}

impl ChangeKind {
    /// Whether it is one that a pipeline should stop at.
    #[must_use]
    pub fn is_regression(self) -> bool {
        matches!(self, Self::Worse | Self::Vanished)
    }
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Worse => "worse",
            Self::Vanished => "vanished",
            Self::Better => "better",
            Self::New => "new",
            Self::Slower => "slower",
        })
    }
}

/// What changed from `old` to `new`, regressions first.
#[must_use]
pub fn compare(old: &Report, new: &Report) -> Vec<Change> {
    let (before, after) = (by_name(old), by_name(new));
    let mut changes: Vec<Change> = Vec::new();
    for (name, was) in &before {
        let change = match after.get(name) {
            None => Some((ChangeKind::Vanished, format!("was {}", word(was)))),
            Some(is) => changed(was, is),
        };
        changes.extend(change.map(|(kind, text)| Change { name: name.clone(), kind, text }));
    }
    for (name, is) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
        // What is new and fails is no regression of anything, but is to be seen.
        changes.push(Change { name: name.clone(), kind: ChangeKind::New, text: format!("is {}", word(is)) });
    }
    changes.sort_by(|one, other| one.kind.cmp(&other.kind).then_with(|| one.name.cmp(&other.name)));
    changes
}

fn by_name(report: &Report) -> BTreeMap<String, &Outcome> {
    let mut named = BTreeMap::new();
    for (place, graded) in report.implementations.iter().enumerate() {
        let before = report.implementations[..place].iter().filter(|other| other.name == graded.name).count();
        let name = if before == 0 { graded.name.clone() } else { format!("{} ({})", graded.name, before + 1) };
        named.extend(graded.cases.iter().map(|case| (format!("{name}: {} on {}", case.id, case.topology), case)));
    }
    named
}

fn changed(was: &Outcome, is: &Outcome) -> Option<(ChangeKind, String)> {
    let text = || format!("was {}, is {}", word(was), word(is));
    if rank(is.verdict) > rank(was.verdict) {
        let reason = is.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        return Some((ChangeKind::Worse, text() + &reason));
    }
    if rank(is.verdict) < rank(was.verdict) {
        return Some((ChangeKind::Better, text()));
    }
    // A report that was stored without its times (`netproof matrix --bare`) has zeros.
    let slower = was.ms > 0.0 && is.ms > 2.0 * was.ms && is.ms > was.ms + 500.0;
    slower.then(|| (ChangeKind::Slower, format!("took {:.0} ms, takes {:.0} ms", was.ms, is.ms)))
}

/// How bad a verdict is. A claim that is not tried any more is worse than one that holds.
fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Pass => 0,
        Verdict::Unsupported => 1,
        Verdict::Known => 2,
        Verdict::Fail => 3,
        Verdict::Error => 4,
    }
}

fn word(outcome: &Outcome) -> String {
    format!("{:?}", outcome.verdict).to_lowercase()
}
